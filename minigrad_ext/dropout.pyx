"""Dropout without a mask: each number's fate follows from the seed and its place.

So backward finds again what forward drew, and it does not matter which thread asks for which
block. What is drawn is in reference/dropout.py; 16 generators side by side fill vector registers.
"""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport uint32_t, uint64_t

from .allocator import new_array

from .parallel cimport threads_for
from .simd cimport avx2_void

cdef enum:
    BLOCK = 8192  # numbers that have generators of their own; a thread's work
    LANES = 16    # generators of a block, which draw in turn
    BATCH = 512   # numbers to draw at a time, which stay in the cache
    WORK = 2      # how many times as long as a relu a dropout takes, about


def dropout(x, *, double p, uint64_t seed):
    y = new_array(x.shape, x.dtype)
    if y.size:
        _dropout(x.ravel(), y.ravel(), p, seed)
    return y


def _dropout(const floating[::1] x, floating[::1] y, double p, uint64_t seed):
    cdef Py_ssize_t size = x.shape[0], start
    cdef int threads = threads_for(WORK * size)
    with nogil:
        if threads == 1:
            _drop(&x[0], &y[0], 0, size, p, seed)
        else:
            for start in prange(0, size, BLOCK, num_threads=threads):
                _drop(&x[0], &y[0], start, min(start + BLOCK, size), p, seed)


cdef void _drop(
    const floating* x, floating* y, Py_ssize_t start, Py_ssize_t stop, double p, uint64_t seed
) noexcept nogil:
    """Numbers start to stop, a block at a time."""
    while start < stop:
        _drop_block(&x[start], &y[start], min(BLOCK, stop - start), p, seed, start // BLOCK)
        start += BLOCK


cdef avx2_void _drop_block(
    const floating* x, floating* y, Py_ssize_t size, double p, uint64_t seed, uint64_t block
) noexcept nogil:
    cdef uint32_t state[4 * LANES]
    cdef uint32_t drawn[BATCH]
    cdef floating factor = 0 if p == 1 else <floating> (1 / (1 - p))
    cdef uint32_t threshold = <uint32_t> min(p * 4294967296.0 + 0.5, 4294967295.0)
    cdef Py_ssize_t i, first = 0
    for i in range(4 * LANES):
        state[i] = <uint32_t> (_splitmix64(seed, block * 4 * LANES + i) >> 32)
    while first < size:
        _draw(state, drawn)
        for i in range(min(BATCH, size - first)):
            y[first + i] = x[first + i] * (factor if drawn[i] >= threshold else 0)
        first += BATCH


cdef inline void _draw(uint32_t* state, uint32_t* drawn) noexcept nogil:
    """Draw a batch with xoshiro128++."""
    cdef uint32_t a, b, c, d, shifted
    cdef Py_ssize_t turn, lane
    for turn in range(BATCH // LANES):
        for lane in range(LANES):
            a, b = state[lane], state[LANES + lane]
            c, d = state[2 * LANES + lane], state[3 * LANES + lane]
            drawn[turn * LANES + lane] = _rotated(a + d, 7) + a
            shifted = b << 9
            c ^= a
            d ^= b
            state[lane], state[LANES + lane] = a ^ d, b ^ c
            state[2 * LANES + lane], state[3 * LANES + lane] = c ^ shifted, _rotated(d, 11)


cdef inline uint32_t _rotated(uint32_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (32 - bits))


cdef inline uint64_t _splitmix64(uint64_t seed, uint64_t i) noexcept nogil:
    cdef uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15ULL
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)
