"""Train a small network of bottleneck blocks (He et al. 2015) to read digits.

    python examples/train_bottleneck.py

A bottleneck squeezes the channels by a 1x1 convolution, looks around by a 3x3 convolution where
they are few, expands them by another 1x1 convolution, and adds what came in.
"""

from __future__ import annotations

from training import options, run, train

import minigrad as mg
from minigrad import models


def main(arguments: list[str] | None = None) -> float:
    """Train as the options say; returns the test accuracy."""
    parser = options("Train a network of bottlenecks to read digits.", "bottleneck")
    args = parser.parse_args(arguments)
    mg.manual_seed(args.seed)
    return train(models.bottleneck(), args)


if __name__ == "__main__":
    run(main)
