"""A small residual network of bottleneck blocks, for small grey images."""

from __future__ import annotations

from minigrad import nn


def bottleneck(*, in_channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Four ResNet bottlenecks (He et al. 2015), (N, 28, 28, in_channels) -> (N, classes).

    54,378 parameters.
    """
    return nn.Sequential(
        nn.conv_block(in_channels, 32, 3),
        nn.MaxPool2d(2),
        nn.Bottleneck(32, 16, 64),
        nn.Bottleneck(64, 16, 64),
        nn.Bottleneck(64, 32, 128, stride=2),
        nn.Bottleneck(128, 32, 128),
        nn.GlobalAvgPool2d(),
        nn.Linear(128, classes),
    )
