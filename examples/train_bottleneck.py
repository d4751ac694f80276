"""Train a small network of bottleneck blocks (He et al. 2015) to read digits.

    python examples/train_bottleneck.py

A bottleneck squeezes the channels by a 1x1 convolution, looks around by a 3x3 convolution where
they are few, expands them by another 1x1 convolution, and adds what came in.

Ctrl-C saves and stops; the same command with --resume goes on.
"""

from __future__ import annotations

import argparse

import minigrad as mg
from minigrad import models
from minigrad.training import recipe


def main(arguments: list[str] | None = None) -> float:
    """Train as the options say; returns the test accuracy."""
    parser = argparse.ArgumentParser(description="Train a network of bottlenecks to read digits.")
    recipe.add_options(parser)
    args = parser.parse_args(arguments)
    mg.manual_seed(args.seed)
    return recipe.train(models.bottleneck(), args, name="bottleneck", options={})


if __name__ == "__main__":
    recipe.run(main)
