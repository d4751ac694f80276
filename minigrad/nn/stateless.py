"""Layers without parameters: an op together with its configuration."""

from __future__ import annotations

import math

import numpy as np

import minigrad.functional as F
from minigrad.engine import Tensor
from minigrad.nn.layers import Pair
from minigrad.nn.module import Module


class ReLU(Module):
    """`max(x, 0)`. After a convolution or batch norm their `activation="relu"` is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(x)


class Flatten(Module):
    """Make one axis of all but the first."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, the product of the others)."""
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the others by 1 - p.

    Draws from `minigrad.random.default_rng()`, or from `rng`. (Srivastava et al. 2014.)
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p expects a probability from 0 to 1, got {p}")
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.dropout(x, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The configuration."""
        return f"p={self.p}"


class _Pool2d(Module):
    """The configuration of a window that moves over an image; by default without overlap."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        *,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """The configuration."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The largest number in each window.

    Args:
        kernel_size: height and width of the window: one number for both, or a pair.
        stride: steps between windows; left out, the kernel size.
        padding: rows and columns of -Inf around the image, fewer than the kernel has.
        ceil_mode: whether a window may reach over the lower and right edge.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, OH, OW, C)."""
        return F.max_pool2d(
            x,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
        )


class AvgPool2d(_Pool2d):
    """The mean of each window.

    Arguments are those of `MaxPool2d`, padding being zeros here.

    Args:
        count_include_pad: whether these zeros count in the mean.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        *,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, OH, OW, C)."""
        return F.avg_pool2d(
            x,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )


class GlobalAvgPool2d(Module):
    """The mean of each channel over the whole image (Lin et al. 2013, section 3.2)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, C)."""
        return F.global_avg_pool2d(x)
