"""The taps of a window, and padding: what convolution and pooling share."""

from collections.abc import Iterator

import numpy as np

from minigrad_ext._checks import Array
from minigrad_ext.geometry import Padding, Shape


def taps(
    kernel_size: Shape, stride: Shape, dilation: Shape, output_size: Shape
) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Yield each tap (u, v) with the padded pixels it meets: one for each output pixel."""
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            rows, cols = (
                slice(tap * d, tap * d + s * (size - 1) + 1, s)
                for tap, d, s, size in zip((u, v), dilation, stride, output_size, strict=True)
            )
            yield u, v, (slice(None), rows, cols)


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """The image within its padding, which has this value."""
    return np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def crop(x: Array, padding: Padding, shape: Shape) -> Array:
    """Undo `pad`: the pixels of the image, without its padding."""
    (top, _), (left, _) = padding
    return np.ascontiguousarray(x[:, top : top + shape[1], left : left + shape[2]])


def padded_shape(shape: Shape, padding: Padding) -> Shape:
    """The shape of what `pad` returns."""
    N, H, W, C = shape
    (top, bottom), (left, right) = padding
    return N, top + H + bottom, left + W + right, C
