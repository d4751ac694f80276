"""Clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minigrad.engine import Tensor


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients down, together, so that their norm is at most `max_norm`, in place.

    The norm is that of all gradients as one vector, summed in float64. Call it between `backward`
    and `step`. (Pascanu et al. 2013, algorithm 1.)

    Args:
        parameters: whose gradients; those without one do not count.
        max_norm: the largest norm that is left alone.
        error_if_nonfinite: raise if the norm is NaN or Inf. Otherwise, as in PyTorch, a NaN makes
            all gradients NaN, and an Inf all finite gradients 0.

    Returns:
        The norm before.

    Raises:
        ValueError: `max_norm` is negative or NaN.
        RuntimeError: the norm is NaN or Inf, and `error_if_nonfinite` is set.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm: max_norm expects a number >= 0, got {max_norm}")
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.sum(np.square(g.data, dtype=np.float64))) for g in grads))
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(
            f"clip_grad_norm: expected a finite norm of the gradients, got {norm}; look for its "
            "source with detect_anomaly()"
        )
    scale = max_norm / (norm + 1e-6)  # PyTorch's guard against a norm of 0
    if not scale >= 1:  # a NaN scales, too
        for g in grads:
            with np.errstate(invalid="ignore"):  # Inf * 0
                g.data *= scale
            g.bump_version()
    return norm
