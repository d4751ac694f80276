"""How many windows fit along one axis, by PyTorch's rounding rules, and how their taps count."""

from typing import Any, TypeAlias

import numpy as np

Pair: TypeAlias = tuple[int, int]  # rows, columns
Padding: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))
Shape: TypeAlias = tuple[int, ...]


def conv_output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """Return how many windows of `kernel` taps, `dilation` apart, fit the padded axis."""
    return (size + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1


def pool_output_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Return how many windows fit the padded axis; with `ceil_mode` the last may hang over its end.

    It must still start inside the image or the padding before it, else it would see nothing.
    """
    spare = size + 2 * padding - kernel
    if not ceil_mode:
        return spare // stride + 1
    last = -(-spare // stride)
    return last if last * stride >= size + padding else last + 1


def tap_dtype(kernel_size: Pair) -> np.dtype[Any]:
    """Return the smallest integers that number the taps of a max pooling's window."""
    return np.dtype(np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
