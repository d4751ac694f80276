"""Dropout; see dropout.pyx."""

from ._checks import Array

def dropout(x: Array, *, p: float, seed: int) -> Array: ...
