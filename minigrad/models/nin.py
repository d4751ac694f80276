"""Network in Network for small grey images."""

from __future__ import annotations

from minigrad import nn


def nin(
    batch_norm: bool = False, *, in_channels: int = 1, classes: int = 10, dropout: float = 0.3
) -> nn.Sequential:
    """Network in Network (Lin, Chen, Yan 2013), (N, 28, 28, in_channels) -> (N, classes).

    There is no dense layer: the last 1×1 convolution makes one map per class, and the mean of a
    map is the logit of its class. 70,986 parameters; with batch norm before every ReLU, 71,402.
    """
    return nn.Sequential(
        nn.MLPConv(in_channels, 32, 32, 3, batch_norm=batch_norm),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.MLPConv(32, 64, 64, 3, batch_norm=batch_norm),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.conv_block(64, 64, 3, batch_norm=batch_norm),
        nn.conv_block(64, 64, batch_norm=batch_norm),
        nn.Conv2d(64, classes, 1),
        nn.GlobalAvgPool2d(),
    )
