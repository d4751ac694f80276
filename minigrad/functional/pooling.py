"""Pooling of images (N, H, W, C): the largest or the mean number under a sliding window."""

from __future__ import annotations

import numpy as np

import minigrad_ext as ext
from minigrad.engine import op
from minigrad.functional.convolution import pair
from minigrad.functional.elementwise import COMPILED_DTYPES
from minigrad.functional.reductions import mean
from minigrad.functional.shapes import reshape

# `windows` holds kernel_size, stride, padding and ceil_mode, as `_windows` makes them.


@op(residuals=("index",))
def _max_pool2d(x, *, windows):
    # `index` is the tap of its window that found each maximum
    return ext.max_pool2d(x, **windows)


_max_pool2d.vjp(
    x=lambda g, x_shape, index, windows: _put_back(
        g, index=index, input_shape=x_shape, windows=windows
    )
)


@op
def _put_back(dy, *, index, input_shape, windows):
    # each number added to the pixel that its window took it from
    return ext.max_pool2d_grad(dy, index, input_shape=input_shape, **windows)


_put_back.vjp(dy=lambda g, index, windows: _take(g, index=index, windows=windows))


@op
def _take(x, *, index, windows):
    # the number at the pixel that each window's index names
    return ext.max_pool2d_gather(x, index, **windows)


_take.vjp(
    x=lambda g, x_shape, index, windows: _put_back(
        g, index=index, input_shape=x_shape, windows=windows
    )
)


def max_pool2d(x, *, kernel_size, stride=None, padding=0, ceil_mode=False):
    """The largest number under each window, channel by channel.

    Of equal ones the first (in row-major order) gets the gradient, and NaN counts as the largest.

    Args:
        x: (N, H, W, C), float32 or float64.
        kernel_size, stride, padding: an int, or a pair for height and width; the stride is the
            kernel size by default; the padding acts as -Inf and is less than the kernel.
        ceil_mode: whether a last window that overlaps the border counts.

    Returns:
        (N, OH, OW, C), with OH = (H + 2 padding - kernel) // stride + 1, rounded up in ceil_mode.
    """
    windows = _windows("max_pool2d", kernel_size, stride, padding, ceil_mode)
    return _max_pool2d(x, windows=windows)


@op
def _avg_pool2d(x, *, windows, count_include_pad):
    # y = the sum under each window, divided by how many of its places count
    return ext.avg_pool2d(x, **windows, count_include_pad=count_include_pad)


_avg_pool2d.vjp(
    x=lambda g, x_shape, windows, count_include_pad: _avg_pool2d_grad(
        g, input_shape=x_shape, windows=windows, count_include_pad=count_include_pad
    )
)


@op
def _avg_pool2d_grad(dy, *, input_shape, windows, count_include_pad):
    # each number divided by its window's count, and added to every pixel under it
    return ext.avg_pool2d_grad(
        dy, input_shape=input_shape, **windows, count_include_pad=count_include_pad
    )


_avg_pool2d_grad.vjp(
    dy=lambda g, windows, count_include_pad: _avg_pool2d(
        g, windows=windows, count_include_pad=count_include_pad
    )
)


def avg_pool2d(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean under each window, channel by channel.

    Arguments and result as of `max_pool2d`; the padding acts as zeros. With `count_include_pad`
    they count in the mean; without it the mean is over what lies in the image.
    """
    windows = _windows("avg_pool2d", kernel_size, stride, padding, ceil_mode)
    return _avg_pool2d(x, windows=windows, count_include_pad=bool(count_include_pad))


def global_avg_pool2d(x):
    """The mean of each channel over all pixels: (N, H, W, C) -> (N, C) (Lin et al. 2013)."""
    if np.ndim(x) != 4:
        raise ValueError(f"global_avg_pool2d: expected x of shape (N, H, W, C), got {np.shape(x)}")
    N, H, W, C = np.shape(x)
    if H * W == 0 or x.dtype not in COMPILED_DTYPES:
        return mean(x, axis=(1, 2))
    windows = {"kernel_size": (H, W), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False}
    return reshape(_avg_pool2d(x, windows=windows, count_include_pad=True), shape=(N, C))


def _windows(name, kernel_size, stride, padding, ceil_mode):
    """The arguments as the kernels want them: pairs."""
    kernel_size = pair(name, "kernel_size", kernel_size)
    return {
        "kernel_size": kernel_size,
        "stride": kernel_size if stride is None else pair(name, "stride", stride),
        "padding": pair(name, "padding", padding, least=0),
        "ceil_mode": bool(ceil_mode),
    }
