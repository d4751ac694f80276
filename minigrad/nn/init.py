"""Where weights start: random arrays whose spread keeps signals alive from layer to layer.

A layer's output is a sum over `fan_in` inputs, so its variance is `fan_in` times the weights'; the
same holds for gradients with `fan_out`. Kaiming initialisation keeps the one or the other constant
behind a ReLU, Xavier compromises between both for layers without.

All functions take a shape and return a new float32 array, drawn from `minigrad.random.default_rng`
(which `manual_seed` seeds) or from `rng`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from minigrad.random import default_rng


def fans(shape: Sequence[int], *, groups: int = 1) -> tuple[int, int]:
    """How many inputs an output is made from, and how many outputs an input goes to.

    Args:
        shape: (in, out), or (kh, kw, C_in // groups, C_out) of a convolution.
        groups: of the convolution. An output sees only its own group, and so does an input.

    Raises:
        ValueError: fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(
            f"fans: shape expects (in, out) or (kh, kw, in, out), got {tuple(shape)}; "
            "biases have no fans, use zeros"
        )
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1] // groups


def kaiming_normal(
    shape: Sequence[int],
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    gain: float = math.sqrt(2),
    groups: int = 1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Normal with standard deviation `gain / sqrt(fan)` (He et al. 2015, equations 10 and 14).

    `fan_in` keeps the variance of signals, `fan_out` that of gradients; sqrt(2) is ReLU's gain.
    """
    return _normal(shape, gain / math.sqrt(_fan(shape, mode, groups)), rng)


def kaiming_uniform(
    shape: Sequence[int],
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    gain: float = math.sqrt(2),
    groups: int = 1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Uniform with the standard deviation of `kaiming_normal`, so within sqrt(3) of it."""
    return _uniform(shape, gain / math.sqrt(_fan(shape, mode, groups)), rng)


def xavier_normal(
    shape: Sequence[int],
    *,
    gain: float = 1.0,
    groups: int = 1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Normal with variance `gain**2 * 2 / (fan_in + fan_out)` (Glorot, Bengio 2010, eq. 12)."""
    return _normal(shape, gain * math.sqrt(2 / sum(fans(shape, groups=groups))), rng)


def xavier_uniform(
    shape: Sequence[int],
    *,
    gain: float = 1.0,
    groups: int = 1,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Uniform with the standard deviation of `xavier_normal` (Glorot, Bengio 2010, eq. 16)."""
    return _uniform(shape, gain * math.sqrt(2 / sum(fans(shape, groups=groups))), rng)


def _fan(shape: Sequence[int], mode: str, groups: int) -> int:
    modes = ("fan_in", "fan_out")
    if mode not in modes:
        raise ValueError(f"kaiming: mode expects 'fan_in' or 'fan_out', got {mode!r}")
    return fans(shape, groups=groups)[modes.index(mode)]


def _normal(shape: Sequence[int], std: float, rng: np.random.Generator | None) -> np.ndarray:
    values = (rng or default_rng()).standard_normal(shape, dtype=np.float32)
    values *= std
    return values


def _uniform(shape: Sequence[int], std: float, rng: np.random.Generator | None) -> np.ndarray:
    values = (rng or default_rng()).random(shape, dtype=np.float32)
    values -= 0.5
    values *= math.sqrt(12) * std  # a uniform distribution of width 1 has variance 1/12
    return values
