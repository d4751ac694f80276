"""Softmax cross-entropy; see loss.pyx."""

import numpy as np
from numpy.typing import NDArray

from ._checks import Array

# fmt: off
def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], *, label_smoothing: float, ignore_index: int
) -> Array: ...
def softmax_cross_entropy_grad(
    g: Array, logits: Array, labels: NDArray[np.int64], *,
    label_smoothing: float, ignore_index: int,
) -> Array: ...
