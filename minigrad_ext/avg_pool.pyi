"""Average pooling; see avg_pool.pyx."""

from ._checks import Array
from .geometry import Pair, Shape

# fmt: off
def avg_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool,
    count_include_pad: bool,
) -> Array: ...
def avg_pool2d_grad(
    g: Array, *, input_shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair,
    ceil_mode: bool, count_include_pad: bool,
) -> Array: ...
