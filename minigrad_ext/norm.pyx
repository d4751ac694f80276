"""Batch norm over pixels whose channels lie together; what it computes is in reference.py.

Sums run over blocks of PIXELS pixels in the arrays' precision, over blocks in float64. A thread
takes a chunk, some blocks in a row; there are at most CHUNKS, which bounds the memory for partial
sums. All cuts depend on the shape alone and all sums have a fixed order: the results are the same
bits for any number of threads.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memset

from .allocator import new_array

from .parallel cimport threads_for
from .simd cimport avx2_void

cdef enum:
    PIXELS = 64
    CHUNKS = 64


cdef inline Py_ssize_t chunk_count(Py_ssize_t P) noexcept nogil:
    return min((P + PIXELS - 1) // PIXELS, CHUNKS)


cdef inline Py_ssize_t first_pixel(Py_ssize_t chunk, Py_ssize_t P) noexcept nogil:
    """Where a chunk of the P pixels begins, and the one before it ends."""
    cdef Py_ssize_t blocks = (P + PIXELS - 1) // PIXELS
    return min(blocks * chunk // chunk_count(P) * PIXELS, P)


def _pixels(x):
    """Return x as (P, C)."""
    C = x.shape[x.ndim - 1]
    return x.reshape(x.size // C if C else 0, C)


# ------------------------------------------------------------------------------------- statistics


def batch_norm_statistics(x):
    return _statistics(_pixels(x))


def _statistics(const floating[:, ::1] x):
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], chunks = chunk_count(P), k, start, c
    cdef int threads = threads_for(P * C)
    results = np.zeros((2, C), np.float32 if floating is float else np.float64)
    if P == 0 or C == 0:
        return results[0], results[1]
    cdef floating[:, ::1] result = results
    # For each chunk: its statistics, those of a block, and room for three numbers per channel.
    cdef double[:, :, ::1] part = np.zeros((chunks, 7, C))
    with nogil:
        if threads == 1:
            for k in range(chunks):
                _chunk_statistics(&x[0, 0], k, P, C, &part[k, 0, 0])
        else:
            for k in prange(chunks, num_threads=threads):
                _chunk_statistics(&x[0, 0], k, P, C, &part[k, 0, 0])
    for k in range(1, chunks):
        start = first_pixel(k, P)
        _merge(start, &part[0, 0, 0], first_pixel(k + 1, P) - start, &part[k, 0, 0], C)
    for c in range(C):
        result[0, c] = <floating> part[0, 0, c]
        result[1, c] = <floating> (part[0, 1, c] / P)
    return results[0], results[1]


cdef void _chunk_statistics(
    const floating* x, Py_ssize_t k, Py_ssize_t P, Py_ssize_t C, double* statistics
) noexcept nogil:
    """Means and sums of squared deviations in chunk k."""
    cdef Py_ssize_t start = first_pixel(k, P), stop = first_pixel(k + 1, P), first = start
    cdef double* block = statistics + 2 * C
    cdef floating* scratch = <floating*> (statistics + 4 * C)
    while first < stop:
        _block_statistics(x + first * C, min(PIXELS, stop - first), C, scratch, block)
        _merge(first - start, statistics, min(PIXELS, stop - first), block, C)
        first += PIXELS


cdef avx2_void _block_statistics(
    const floating* x, Py_ssize_t pixels, Py_ssize_t C, floating* scratch, double* statistics
) noexcept nogil:
    # Differences from the first pixel, because the sum of large numbers would lose small ones.
    cdef floating* differences = scratch
    cdef floating* middle = scratch + C
    cdef floating* squares = scratch + 2 * C
    cdef Py_ssize_t p, c
    memset(scratch, 0, 3 * C * sizeof(floating))
    for p in range(1, pixels):
        for c in range(C):
            differences[c] += x[p * C + c] - x[c]
    for c in range(C):
        statistics[c] = x[c] + <double> differences[c] / pixels
        middle[c] = <floating> statistics[c]
    # Once more over the same pixels, which are in the cache now.
    for p in range(pixels):
        for c in range(C):
            squares[c] += (x[p * C + c] - middle[c]) * (x[p * C + c] - middle[c])
    for c in range(C):
        statistics[C + c] = squares[c]


cdef avx2_void _merge(
    double n, double* statistics, double more, const double* others, Py_ssize_t C
) noexcept nogil:
    """Add the statistics of more pixels to those of n (Chan, Golub and LeVeque, 1979)."""
    cdef double weight = more / (n + more), difference
    cdef Py_ssize_t c
    for c in range(C):
        difference = others[c] - statistics[c]
        statistics[c] += difference * weight
        statistics[C + c] += others[C + c] + difference * (difference * (n * weight))


# ---------------------------------------------------------------------------------------- forward


def batch_norm(x, mean, inv_std, weight, bias, *, bint relu):
    y = new_array(x.shape, x.dtype)
    _normalize(_pixels(x), mean, inv_std * weight, bias, _pixels(y), relu)
    return y


def _normalize(
    const floating[:, ::1] x, const floating[::1] mean, const floating[::1] scale,
    const floating[::1] bias, floating[:, ::1] y, bint relu,
):
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], first
    cdef int threads = threads_for(P * C)
    if P == 0 or C == 0:
        return
    with nogil:
        if threads == 1:
            _normalize_pixels(&x[0, 0], &mean[0], &scale[0], &bias[0], &y[0, 0], P, C, relu)
        else:
            for first in prange(0, P, PIXELS, num_threads=threads):
                _normalize_pixels(
                    &x[first, 0], &mean[0], &scale[0], &bias[0], &y[first, 0],
                    min(PIXELS, P - first), C, relu,
                )


cdef avx2_void _normalize_pixels(
    const floating* x, const floating* mean, const floating* scale, const floating* bias,
    floating* y, Py_ssize_t pixels, Py_ssize_t C, bint relu,
) noexcept nogil:
    cdef Py_ssize_t p, c
    cdef floating value
    for p in range(pixels):
        for c in range(C):
            value = (x[p * C + c] - mean[c]) * scale[c] + bias[c]
            y[p * C + c] = 0 if relu and value < 0 else value


# --------------------------------------------------------------------------------------- backward


def batch_norm_sums(g, x, mean, inv_std):
    return _sums(_pixels(g), _pixels(x), mean, inv_std)


def _sums(
    const floating[:, ::1] g, const floating[:, ::1] x, const floating[::1] mean,
    const floating[::1] inv_std,
):
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], chunks = chunk_count(P), k, c
    cdef int threads = threads_for(P * C)
    results = np.zeros((2, C), np.float32 if floating is float else np.float64)
    if P == 0 or C == 0:
        return results
    cdef floating[:, ::1] result = results
    # For each chunk: its two sums, and room for those of a block.
    cdef double[:, :, ::1] part = np.zeros((chunks, 4, C))
    with nogil:
        if threads == 1:
            for k in range(chunks):
                _chunk_sums(&g[0, 0], &x[0, 0], &mean[0], k, P, C, &part[k, 0, 0])
        else:
            for k in prange(chunks, num_threads=threads):
                _chunk_sums(&g[0, 0], &x[0, 0], &mean[0], k, P, C, &part[k, 0, 0])
    for k in range(1, chunks):
        for c in range(C):
            part[0, 0, c] += part[k, 0, c]
            part[0, 1, c] += part[k, 1, c]
    for c in range(C):
        result[0, c] = <floating> part[0, 0, c]
        result[1, c] = <floating> (part[0, 1, c] * inv_std[c])
    return results


cdef avx2_void _chunk_sums(
    const floating* g, const floating* x, const floating* mean,
    Py_ssize_t k, Py_ssize_t P, Py_ssize_t C, double* sums,
) noexcept nogil:
    """Sums of g and of g * (x - mean) in chunk k."""
    cdef Py_ssize_t stop = first_pixel(k + 1, P), first = first_pixel(k, P), p, c
    cdef floating* block = <floating*> (sums + 2 * C)
    while first < stop:
        memset(block, 0, 2 * C * sizeof(floating))
        for p in range(first, min(first + PIXELS, stop)):
            for c in range(C):
                block[c] += g[p * C + c]
                block[C + c] += g[p * C + c] * (x[p * C + c] - mean[c])
        for c in range(2 * C):
            sums[c] += block[c]
        first += PIXELS


def batch_norm_input_grad(g, x, mean, inv_std, weight, sums):
    dx = new_array(x.shape, x.dtype)
    pixels = _pixels(x)
    # The terms that depend on the channel alone: dx = scale * g + slope * (x - mean) + offset.
    scale = weight * inv_std
    offset, slope = -scale / max(len(pixels), 1) * sums
    _input_grad(_pixels(g), pixels, mean, scale, slope * inv_std, offset, _pixels(dx))
    return dx


def _input_grad(
    const floating[:, ::1] g, const floating[:, ::1] x, const floating[::1] mean,
    const floating[::1] scale, const floating[::1] slope, const floating[::1] offset,
    floating[:, ::1] dx,
):
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], first
    cdef int threads = threads_for(P * C)
    if P == 0 or C == 0:
        return
    with nogil:
        if threads == 1:
            _input_grad_pixels(
                &g[0, 0], &x[0, 0], &mean[0], &scale[0], &slope[0], &offset[0], &dx[0, 0], P, C
            )
        else:
            for first in prange(0, P, PIXELS, num_threads=threads):
                _input_grad_pixels(
                    &g[first, 0], &x[first, 0], &mean[0], &scale[0], &slope[0], &offset[0],
                    &dx[first, 0], min(PIXELS, P - first), C,
                )


cdef avx2_void _input_grad_pixels(
    const floating* g, const floating* x, const floating* mean, const floating* scale,
    const floating* slope, const floating* offset, floating* dx, Py_ssize_t pixels, Py_ssize_t C,
) noexcept nogil:
    cdef Py_ssize_t p, c
    for p in range(pixels):
        for c in range(C):
            dx[p * C + c] = (
                scale[c] * g[p * C + c] + slope[c] * (x[p * C + c] - mean[c]) + offset[c]
            )
