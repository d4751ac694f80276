"""Arrays as they are written down: what they are like as a whole, and exact numbers of a part."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Axes = list[list[int]]
Cut = Callable[[Shape], Axes]

SMALL = 2048  # numbers up to which an array is written whole
LARGE = 32768  # numbers of an image, or of weights, where products are to be followed
LESS = 8192  # numbers of others


class Arrays:
    """The table of arrays of a trace: each is written once, however often it is met."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self._places: dict[tuple[int, Cut], int] = {}
        self._alive: list[Any] = []  # so that no other array gets the same id

    def add(self, value: Any, cut: Cut) -> int:
        """The place of an array, or a number, in the table."""
        key = id(value), cut
        if key not in self._places:
            self._places[key] = len(self.table)
            self._alive.append(value)
            self.table.append(described(np.asarray(value), cut))
        return self._places[key]


def described(array: np.ndarray, cut: Cut) -> dict[str, Any]:
    """Shape, statistics over all finite numbers (in float64), and a sample, as JSON holds them."""
    finite = array[np.isfinite(array)].astype(np.float64)
    some = finite.size > 0
    axes = [list(range(n)) for n in array.shape] if array.size <= SMALL else cut(array.shape)
    part = array[np.ix_(*axes)] if array.ndim else array
    floats = "<f8" if array.dtype.itemsize > 4 else "<f4"
    part = part.astype(floats if array.dtype.kind == "f" else "<i8")
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": float(finite.min()) if some else None,
        "max": float(finite.max()) if some else None,
        "mean": float(finite.mean()) if some else None,
        "std": float(finite.std()) if some else None,
        "zeros": float(np.count_nonzero(array == 0) / max(array.size, 1)),
        "nan": int(np.count_nonzero(np.isnan(array))),
        "inf": int(np.count_nonzero(np.isinf(array))),
        "sample": {
            "axes": axes,
            "data": base64.b64encode(part.tobytes()).decode("ascii"),
            "dtype": part.dtype.newbyteorder("<").str,
        },
    }


# Which indices of each axis of a large array are written down.


def pixels(shape: Shape) -> Axes:
    """All channels of the first image, or where that is too much, of the middle of it.

    The dot products of convolutions are made of whole channels of neighbours.
    """
    if len(shape) != 4 or math.prod(shape[1:]) <= LARGE:
        return maps(shape, LARGE)
    channels = min(shape[3], LARGE // 9)
    side = math.isqrt(LARGE // channels)
    height, width = (
        list(range(max((n - side) // 2, 0), min((n - side) // 2 + side, n))) for n in shape[1:3]
    )
    return [[0], height, width, list(range(channels))]


def maps(shape: Shape, most: int = LESS) -> Axes:
    """The whole first image in its first channels; the first rows of anything else."""
    if len(shape) == 4:
        return [[0], *_first(shape[1:], (0, 1, 2), most)]
    return _first(shape, range(len(shape) - 1, -1, -1), most)


def taps(shape: Shape) -> Axes:
    """Of weights (kh, kw, C_in, C_out) all that makes the first outputs."""
    return _first(shape, range(len(shape)), LARGE)


def _first(shape: Shape, order: Iterable[int], most: int) -> Axes:
    """The first indices of each axis; in this order they are kept whole as far as it goes."""
    axes: Axes = [[0]] * len(shape)
    for axis in order:
        axes[axis] = list(range(min(shape[axis], max(most, 1))))
        most //= len(axes[axis])
    return axes
