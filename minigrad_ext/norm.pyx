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
    mean, var = _statistics(_pixels(x))
    return mean.astype(x.dtype), var.astype(x.dtype)


def _statistics(const floating[:, ::1] x):
    """Return mean and variance in float64, (2, C)."""
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], chunks = chunk_count(P), k, start
    result_array = np.zeros((2, C))
    if P == 0 or C == 0:
        return result_array
    cdef double[:, ::1] result = result_array
    cdef double[:, :, :, ::1] part = np.zeros((chunks, 2, 2, C))
    cdef floating[:, :, ::1] scratch = np.empty((chunks, 3, C), np.asarray(x).dtype)
    for k in prange(chunks, nogil=True, num_threads=threads_for(P * C)):
        _chunk_statistics(
            &x[0, 0], k, P, C, &scratch[k, 0, 0], &part[k, 0, 0, 0], &part[k, 1, 0, 0]
        )
    for k in range(chunks):
        start = first_pixel(k, P)
        _merge(start, &result[0, 0], first_pixel(k + 1, P) - start, &part[k, 0, 0, 0], C)
    result_array[1] /= P
    return result_array


cdef void _chunk_statistics(
    const floating* x, Py_ssize_t k, Py_ssize_t P, Py_ssize_t C,
    floating* scratch, double* statistics, double* block,
) noexcept nogil:
    """Means and sums of squared deviations in chunk k; scratch and block are room to compute."""
    cdef Py_ssize_t start = first_pixel(k, P), stop = first_pixel(k + 1, P), first = start
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
    y = np.empty(x.shape, x.dtype)
    _normalize(_pixels(x), mean, inv_std * weight, bias, _pixels(y), relu)
    return y


def _normalize(
    const floating[:, ::1] x, const floating[::1] mean, const floating[::1] scale,
    const floating[::1] bias, floating[:, ::1] y, bint relu,
):
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], first
    if C == 0:
        return
    for first in prange(0, P, PIXELS, nogil=True, num_threads=threads_for(P * C)):
        _normalize_block(
            &x[first, 0], &mean[0], &scale[0], &bias[0], &y[first, 0],
            min(PIXELS, P - first), C, relu,
        )


cdef avx2_void _normalize_block(
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
    sums = _sums(_pixels(g), _pixels(x), mean)
    sums[1] *= inv_std
    return sums.astype(x.dtype)


def _sums(const floating[:, ::1] g, const floating[:, ::1] x, const floating[::1] mean):
    """Sums of g and of g * (x - mean)."""
    cdef Py_ssize_t P = x.shape[0], C = x.shape[1], chunks = chunk_count(P), k
    if C == 0 or P == 0:
        return np.zeros((2, C))
    part_array = np.zeros((chunks, 2, C))
    cdef double[:, :, ::1] part = part_array
    cdef floating[:, :, ::1] block = np.empty((chunks, 2, C), np.asarray(x).dtype)
    for k in prange(chunks, nogil=True, num_threads=threads_for(P * C)):
        _chunk_sums(&g[0, 0], &x[0, 0], &mean[0], k, P, C, &block[k, 0, 0], &part[k, 0, 0])
    return part_array.sum(axis=0)


cdef avx2_void _chunk_sums(
    const floating* g, const floating* x, const floating* mean,
    Py_ssize_t k, Py_ssize_t P, Py_ssize_t C, floating* block, double* sums,
) noexcept nogil:
    cdef Py_ssize_t stop = first_pixel(k + 1, P), first = first_pixel(k, P), p, c
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
    dx = np.empty(x.shape, x.dtype)
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
    if C == 0:
        return
    for first in prange(0, P, PIXELS, nogil=True, num_threads=threads_for(P * C)):
        _input_grad_block(
            &g[first, 0], &x[first, 0], &mean[0], &scale[0], &slope[0], &offset[0],
            &dx[first, 0], min(PIXELS, P - first), C,
        )


cdef avx2_void _input_grad_block(
    const floating* g, const floating* x, const floating* mean, const floating* scale,
    const floating* slope, const floating* offset, floating* dx, Py_ssize_t pixels, Py_ssize_t C,
) noexcept nogil:
    cdef Py_ssize_t p, c
    for p in range(pixels):
        for c in range(C):
            dx[p * C + c] = (
                scale[c] * g[p * C + c] + slope[c] * (x[p * C + c] - mean[c]) + offset[c]
            )
