"""Dropout, and the random numbers of its own that it draws."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigrad_ext._checks import Array


def dropout(x: Array, *, p: float, seed: int) -> Array:
    """Set numbers to 0 with probability p and divide the others by 1 - p.

        y[i] = x[i] / (1 - p)    where random[i] >= p 2**32, else x[i] * 0

    The random numbers depend on the seed and the place alone, so the gradient is the dropout of the
    output's gradient by the same seed. Each block of 8192 numbers has 16 generators, seeded by
    numbers of splitmix64, that draw in turn.
    """
    blocks = -(-x.size // 8192)
    state = splitmix64(seed, np.arange(blocks * 4 * 16)).reshape(blocks, 4, 16) >> 32
    turns = xoshiro128(state.astype(np.uint32).swapaxes(0, 1), 8192 // 16)
    random = np.stack(turns, axis=1).reshape(-1)[: x.size].reshape(x.shape)
    threshold = min(int(p * 2**32 + 0.5), 2**32 - 1)
    factors = np.where(random >= threshold, 1 / (1 - p) if p < 1 else 0, 0)
    return np.asarray(x * factors.astype(x.dtype))


def splitmix64(seed: int, i: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Return the i-th numbers that splitmix64 draws (Steele, Lea and Flood, 2014, figure 13)."""
    z: Any = np.uint64(seed) + (i.astype(np.uint64) + 1) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return np.asarray(z ^ (z >> 31))


def xoshiro128(state: NDArray[np.uint32], n: int) -> list[NDArray[np.uint32]]:
    """Draw n times with generators xoshiro128++, whose states are (4, ...).

    Blackman and Vigna, 2021, "Scrambled Linear Pseudorandom Number Generators", figure 5.
    """
    a, b, c, d = state
    drawn = []
    for _ in range(n):
        drawn.append(_rotated(a + d, 7) + a)
        shifted = b << 9
        c, d = c ^ a, d ^ b
        a, b, c, d = a ^ d, b ^ c, c ^ shifted, _rotated(d, 11)
    return drawn


def _rotated(words: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return np.asarray((words << bits) | (words >> (32 - bits)))
