"""The blocks that 1×1 convolutions made possible. All take (N, H, W, in_channels).

The 1×1 convolution, one matrix multiplication over all pixels, mixes channels where the larger
ones look around: NiN thinks with it, bottlenecks and Inception save work with it, and
depthwise-separable blocks leave all mixing to it. Every convolution here keeps the size of the
image, or divides it by the stride.
"""

from __future__ import annotations

from typing import Any

import minigrad.functional as F
from minigrad.engine import Tensor
from minigrad.functional.elementwise import add_relu
from minigrad.modes import recording
from minigrad.nn.container import Sequential
from minigrad.nn.layers import Activation, BatchNorm2d, Conv2d
from minigrad.nn.module import Module
from minigrad.nn.stateless import MaxPool2d


class ConvNorm(Sequential):
    """A convolution without bias, and the batch norm after it.

    In evaluation batch norm scales and shifts each channel, no more. So where no gradient is being
    recorded either, the convolution does that on its way: its weights are scaled first. That saves
    a pass over the image, and changes results by rounding errors only.
    """

    layers: list[Any]  # a Conv2d, a BatchNorm2d

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, H, W, in_channels) -> (N, OH, OW, out_channels), as is a residual to be added."""
        conv, norm = self.layers
        if norm.training or recording.get():
            return norm(conv(x), residual)
        scale, shift = norm.scale_and_shift()
        activation = norm.activation if residual is None else None
        y = conv.convolve(x, conv.weight.data * scale, shift, activation)
        if residual is None:
            return y
        return add_relu(y, residual) if norm.activation == "relu" else y + residual


def conv_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    batch_norm: bool = True,
    activation: Activation = "relu",
) -> Sequential:
    """Convolution, batch norm and ReLU, padded so that stride 1 keeps the image's size.

    Where there is batch norm the convolution has no bias: the mean is subtracted, and it with it.

    Raises:
        ValueError: an even kernel size, which has no middle.
    """
    if kernel_size % 2 == 0:
        raise ValueError(
            f"conv_block: kernel_size expects an odd number, got {kernel_size}; an even one cannot "
            "be padded equally on both sides"
        )
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=not batch_norm,
        activation=None if batch_norm else activation,
    )
    if not batch_norm:
        return Sequential(conv)
    return ConvNorm(conv, BatchNorm2d(out_channels, activation=activation))


class MLPConv(Sequential):
    """A small network for every place of the image: k×k convolution, then two 1×1, each with ReLU.

    The first two have `channels` outputs, the last has `out_channels`. With `batch_norm`, one
    stands before every ReLU. (Lin, Chen, Yan 2013, "Network in Network", section 3.1.)
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(
            conv_block(in_channels, channels, kernel_size, batch_norm=batch_norm),
            conv_block(channels, channels, batch_norm=batch_norm),
            conv_block(channels, out_channels, batch_norm=batch_norm),
        )


class Bottleneck(Module):
    """`relu(residual(x) + shortcut(x))`, the residual 1×1 (narrow), 3×3, 1×1 (widen).

    Each convolution is followed by batch norm. The shortcut is x itself, or where shapes differ a
    1×1 convolution of it. (He et al. 2015, "Deep Residual Learning", figure 5 right; the stride is
    on the 3×3, which sees every pixel, as in torchvision.)
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, *, stride: int = 1
    ) -> None:
        self.residual = Sequential(
            conv_block(in_channels, mid_channels),
            conv_block(mid_channels, mid_channels, 3, stride=stride),
            conv_block(mid_channels, out_channels),
        )
        self.shortcut = (
            None
            if in_channels == out_channels and stride == 1
            else conv_block(in_channels, out_channels, stride=stride, activation=None)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, in_channels) -> (N, H / stride, W / stride, out_channels), rounded up."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        narrow, look, widen = self.residual
        return widen(look(narrow(x)), shortcut)  # its batch norm adds it, before its ReLU


class Inception(Module):
    """Four views of the same image side by side: 1×1, 3×3, 5×5 and max-pooled.

    1×1 convolutions make the input of the large ones narrow, and the pooled view too. Channels out:
    `ch1x1 + ch3x3 + ch5x5 + pool_proj`, in this order. (Szegedy et al. 2014, "Going Deeper with
    Convolutions", figure 2b; arguments in the order of its table 1.)

    Args:
        in_channels: channels of the input.
        ch1x1: outputs of the 1×1 convolution.
        ch3x3red: what the input is narrowed to before the 3×3.
        ch3x3: outputs of the 3×3.
        ch5x5red: what the input is narrowed to before the 5×5.
        ch5x5: outputs of the 5×5.
        pool_proj: outputs of the 1×1 after the pooling.
        batch_norm: whether there is one before every ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        *,
        batch_norm: bool = False,
    ) -> None:
        self.branches = [
            conv_block(in_channels, ch1x1, batch_norm=batch_norm),
            Sequential(
                conv_block(in_channels, ch3x3red, batch_norm=batch_norm),
                conv_block(ch3x3red, ch3x3, 3, batch_norm=batch_norm),
            ),
            Sequential(
                conv_block(in_channels, ch5x5red, batch_norm=batch_norm),
                conv_block(ch5x5red, ch5x5, 5, batch_norm=batch_norm),
            ),
            Sequential(
                MaxPool2d(3, 1, padding=1),
                conv_block(in_channels, pool_proj, batch_norm=batch_norm),
            ),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, in_channels) -> (N, H, W, the sum of all outputs)."""
        return F.concatenate([branch(x) for branch in self.branches], axis=-1)


class DepthwiseSeparable(Sequential):
    """A k×k convolution in each channel alone, then a 1×1 that mixes them, both with batch norm.

    Costs `k*k + out_channels` multiplications per channel and pixel where a full convolution costs
    `k*k * out_channels`. (Howard et al. 2017, "MobileNets", section 3.1.)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1
    ) -> None:
        super().__init__(
            conv_block(in_channels, in_channels, kernel_size, stride=stride, groups=in_channels),
            conv_block(in_channels, out_channels),
        )
