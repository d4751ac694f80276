"""Train Network in Network (Lin, Chen & Yan 2013) to read digits.

    python examples/train_nin.py

After each 3x3 convolution two 1x1 convolutions mix the channels of each pixel by a small network
of their own; at the end a 1x1 convolution makes ten channels, and their means over the image are
the scores of the ten digits. There is no dense layer.

Ctrl-C saves and stops; the same command with --resume goes on.
"""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad import models
from minigrad.training import recipe


def main(arguments: list[str] | None = None) -> float:
    """Train as the options say; returns the test accuracy."""
    parser = argparse.ArgumentParser(description="Train Network in Network to read digits.")
    recipe.add_options(parser)
    parser.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="normalise after each convolution, as the paper did not (without: --lr 0.02)",
    )
    args = parser.parse_args(arguments)
    if args.lr is None and not args.batch_norm:
        args.lr = 0.02  # at 0.1 the plain network does not begin to learn
    mg.manual_seed(args.seed)
    options = {"batch_norm": args.batch_norm}
    return recipe.train(models.nin(**options), args, name="nin", options=options)


if __name__ == "__main__":
    recipe.run(main)
