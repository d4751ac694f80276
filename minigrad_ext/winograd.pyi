"""The loops of a convolution by Winograd; see winograd.pyx."""

from .im2col import correlate as correlate
from .im2col import weight_grad as weight_grad

AVAILABLE: bool
