"""The loops of a convolution by BLAS; see im2col.pyx."""

from typing import Any

from numpy.typing import NDArray

from .geometry import Pair

Array = NDArray[Any]

# fmt: off
def correlate(
    x: Array, w: Array, b: Array | None, y: Array, *,
    stride: Pair, start: Pair, step: Pair, groups: int, relu: bool,
) -> None: ...
def weight_grad(
    g: Array, x: Array, parts: Array, *, stride: Pair, start: Pair, step: Pair, groups: int
) -> None: ...
