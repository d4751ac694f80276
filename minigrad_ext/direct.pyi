"""The loops of a convolution by register tiles; see direct.pyx."""

from .im2col import correlate as correlate
from .im2col import weight_grad as weight_grad

LANES: int  # floats to a vector; 0 if there are no kernels
AVAILABLE: bool
