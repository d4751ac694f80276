"""Max pooling; see max_pool.pyx."""

import numpy as np
from numpy.typing import NDArray

from ._checks import Array
from .geometry import Pair, Shape

_Index = NDArray[np.uint8] | NDArray[np.int32]

# fmt: off
def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, _Index]: ...
def max_pool2d_grad(
    g: Array, index: _Index, *, input_shape: Shape, kernel_size: Pair, stride: Pair,
    padding: Pair, ceil_mode: bool,
) -> Array: ...
def max_pool2d_gather(
    x: Array, index: _Index, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Array: ...
