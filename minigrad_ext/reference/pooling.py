"""Max and average pooling."""

import numpy as np

from minigrad_ext._checks import Array, index_pixels
from minigrad_ext.geometry import Padding, Pair, Shape, pool_output_size, tap_dtype

from .windows import crop, pad, padded_shape, taps


def _pool_windows(
    shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Shape, Padding]:
    """The output size, and the padding that gives every window, hanging over or not, its room."""
    sizes, margins = [], []
    for size, kernel, s, before in zip(shape[1:3], kernel_size, stride, padding, strict=True):
        count = pool_output_size(size, kernel, s, before, ceil_mode)
        margins.append((before, max((count - 1) * s + kernel - before - size, 0)))
        sizes.append(count)
    return tuple(sizes), (margins[0], margins[1])


def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """Return the largest number in each window, and the tap that found it.

        y[n,i,j,c] = max over u,v of x[n,h,w,c],    index[n,i,j,c] = u * kw + v of that maximum

    x is (N, H, W, C), y and index (N, OH, OW, C); index is uint8, int32 for a window of more than
    256 taps. The first of equals wins, and the first NaN wins over every number. With ceil_mode,
    the last window may hang over the far edge.
    """
    N, H, W, C = x.shape
    output_size, margins = _pool_windows(x.shape, kernel_size, stride, padding, ceil_mode)
    padded, inside = pad(x, margins), pad(np.ones((1, H, W, 1)), margins) > 0
    y = np.full((N, *output_size, C), -np.inf, x.dtype)
    index = np.full(y.shape, -1, np.int32)
    for u, v, seen in taps(kernel_size, stride, (1, 1), output_size):
        value = padded[seen]
        better = (index < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y))
        better &= inside[seen]
        y, index = np.where(better, value, y), np.where(better, u * kernel_size[1] + v, index)
    return y, index.astype(tap_dtype(kernel_size))


def max_pool2d_grad(
    g: Array,
    index: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,  # noqa: ARG001 - the index has as many windows
) -> Array:
    """Return the gradient of a max pooling's input from g, that of its output.

    dx[n,h,w,c] += g[n,i,j,c]    for all i,j, with u * kw + v = index[n,i,j,c]
    """
    h, w = index_pixels("max_pool2d_grad", index, input_shape, kernel_size, stride, padding)
    dx = np.zeros(input_shape, g.dtype)
    image, channel = np.arange(len(dx)).reshape(-1, 1, 1, 1), np.arange(dx.shape[3])
    np.add.at(dx, (image, h, w, channel), g)
    return dx


def max_pool2d_gather(
    x: Array,
    index: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,  # noqa: ARG001 - as above
) -> Array:
    """Look up the pixels that an index names: the adjoint of `max_pool2d_grad`.

    y[n,i,j,c] = x[n,h,w,c]    with u * kw + v = index[n,i,j,c]
    """
    h, w = index_pixels("max_pool2d_gather", index, x.shape, kernel_size, stride, padding)
    image, channel = np.arange(len(x)).reshape(-1, 1, 1, 1), np.arange(x.shape[3])
    return np.asarray(x[image, h, w, channel])


def _divisors(
    shape: Shape,
    output_size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Array:
    """How many pixels each window is averaged over, (OH, OW, 1)."""
    counts = []
    for size, count, kernel, s, p in zip(
        shape[1:3], output_size, kernel_size, stride, padding, strict=True
    ):
        start = np.arange(count) * s - p
        end = np.minimum(start + kernel, size + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        counts.append(end - start)
    return np.multiply.outer(counts[0], counts[1])[:, :, np.newaxis]


def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return the average of each window.

        y[n,i,j,c] = sum over u,v of x[n,h,w,c] / divisor[i,j]

    The divisor is the number of pixels in the window: with count_include_pad those of the padding
    too, but never what ceil_mode lets hang over the padding.
    """
    output_size, margins = _pool_windows(x.shape, kernel_size, stride, padding, ceil_mode)
    padded = pad(x, margins)
    y = np.zeros((len(x), *output_size, x.shape[3]), x.dtype)
    for _, _, seen in taps(kernel_size, stride, (1, 1), output_size):
        y += padded[seen]
    divisors = _divisors(x.shape, output_size, kernel_size, stride, padding, count_include_pad)
    return np.asarray(y / divisors.astype(x.dtype))


def avg_pool2d_grad(
    g: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return the gradient of an average pooling's input from g, that of its output.

    dx[n,h,w,c] += g[n,i,j,c] / divisor[i,j]    for all i,j,u,v
    """
    output_size, margins = _pool_windows(input_shape, kernel_size, stride, padding, ceil_mode)
    divisors = _divisors(input_shape, output_size, kernel_size, stride, padding, count_include_pad)
    share = g / divisors.astype(g.dtype)
    dx = np.zeros(padded_shape(input_shape, margins), g.dtype)
    for _, _, seen in taps(kernel_size, stride, (1, 1), output_size):
        dx[seen] += share
    return crop(dx, margins, input_shape)
