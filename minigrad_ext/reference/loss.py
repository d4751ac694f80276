"""Softmax cross-entropy."""

import numpy as np
from numpy.typing import NDArray

from minigrad_ext._checks import Array, label_values


def _log_softmax(logits: Array) -> Array:
    """Subtracting the row's maximum first changes nothing but keeps exp from overflowing."""
    with np.errstate(invalid="ignore"):  # a row of -inf only, or one with +inf, is NaN
        shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], *, label_smoothing: float, ignore_index: int
) -> Array:
    """Return each row's loss; 0 where the label is ignore_index.

        losses[r] = -sum over c of t[r,c] log softmax(logits[r])[c]

    logits are (M, C), labels (M,). The target t is 1 - label_smoothing at the label, and then
    label_smoothing / C more everywhere (Szegedy et al., 2015, arXiv:1512.00567, section 7).
    """
    label_values("softmax_cross_entropy", labels, logits.shape[1], ignore_index)
    log_p = _log_softmax(logits)
    kept = labels != ignore_index
    losses = -log_p[np.arange(len(labels)), np.where(kept, labels, 0)]
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_p.mean(axis=1)
    return np.where(kept, losses, np.zeros_like(losses))


def softmax_cross_entropy_grad(
    g: Array,
    logits: Array,
    labels: NDArray[np.int64],
    *,
    label_smoothing: float,
    ignore_index: int,
) -> Array:
    """Return the gradient of the logits from g, that of each row's loss.

    dlogits[r,c] = g[r] (softmax(logits[r])[c] - t[r,c]), or 0 where the label is ignored
    """
    C = logits.shape[1]
    label_values("softmax_cross_entropy_grad", labels, C, ignore_index)
    dlogits: Array = np.exp(_log_softmax(logits)) - label_smoothing / C
    kept = np.flatnonzero(labels != ignore_index)
    dlogits[kept, labels[kept]] -= 1 - label_smoothing
    dlogits *= g[:, np.newaxis]
    dlogits[labels == ignore_index] = 0
    return dlogits
