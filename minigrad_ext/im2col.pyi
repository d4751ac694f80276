"""The loops of a convolution by BLAS; see im2col.pyx."""

from ._checks import Array
from .geometry import Pair

# fmt: off
def correlate(
    x: Array, w: Array, b: Array | None, y: Array, *,
    stride: Pair, start: Pair, step: Pair, groups: int, relu: bool,
) -> None: ...
def weight_grad(
    g: Array, x: Array, parts: Array, *, stride: Pair, start: Pair, step: Pair, groups: int
) -> None: ...
