"""Layers and networks: modules that hold parameters, as in PyTorch, but images are NHWC.

`module.py` is the idea, in one class; `layers.py` what learns, `stateless.py` what does not;
`blocks.py` the building blocks of well-known networks.
"""

from minigrad.nn import init
from minigrad.nn.blocks import Bottleneck, DepthwiseSeparable, Inception, MLPConv, conv_block
from minigrad.nn.container import Sequential
from minigrad.nn.layers import BatchNorm2d, Conv2d, Linear
from minigrad.nn.module import Module, Parameter
from minigrad.nn.serialization import load, save
from minigrad.nn.stateless import (
    AvgPool2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    ReLU,
)

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Bottleneck",
    "Conv2d",
    "DepthwiseSeparable",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Inception",
    "Linear",
    "MLPConv",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "conv_block",
    "init",
    "load",
    "save",
]
