"""Batch norm over pixels whose channels lie together; its twin is in reference/normalization.py.

Pixels are taken a row at a time: as many as have about WIDTH numbers, with what belongs to a
channel repeated below them. So the innermost loops are long and without a remainder, even where
there are 3 channels. Column by column, a block of ROWS rows is summed in the arrays' precision;
columns and blocks are summed in float64. A thread takes a chunk, some blocks in a row; there are at
most CHUNKS, which bounds the memory for partial sums. All cuts depend on the shape alone and all
sums have a fixed order: the results are the same bits for any number of threads.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from .allocator import new_array

from .parallel cimport threads_for
from .simd cimport avx2_void

cdef enum:
    WIDTH = 256
    ROWS = 32
    CHUNKS = 64

# Where the numbers of an array are cut; a block is counted in numbers, too.
cdef struct Cut:
    Py_ssize_t size, channels, width, block, chunks


cdef Cut cut_of(Py_ssize_t size, Py_ssize_t channels) noexcept nogil:
    cdef Cut cut
    cut.size, cut.channels = size, channels
    cut.width = channels * max(1, WIDTH // channels)
    cut.block = ROWS * cut.width
    cut.chunks = min((size + cut.block - 1) // cut.block, CHUNKS)
    return cut


cdef inline Py_ssize_t first_of(Py_ssize_t chunk, Cut cut) noexcept nogil:
    """Where a chunk begins, and the one before it ends."""
    cdef Py_ssize_t blocks = (cut.size + cut.block - 1) // cut.block
    return min(blocks * chunk // cut.chunks * cut.block, cut.size)


def _columns(x, *vectors):
    """Repeat numbers for each channel until they are a row: (how many vectors, width)."""
    C = x.shape[x.ndim - 1]
    rows = np.empty((len(vectors), max(1, WIDTH // C), C), x.dtype)
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = vector
    return rows.reshape(len(vectors), rows[0].size)


# ------------------------------------------------------------------------------------- statistics


def batch_norm_statistics(x):
    results = np.zeros((2, x.shape[x.ndim - 1]), x.dtype)
    if x.size:
        _statistics(x.ravel(), results)
    return results[0], results[1]


def _statistics(const floating[::1] x, floating[:, ::1] results):
    cdef Py_ssize_t C = results.shape[1], k, start, c
    cdef Cut cut = cut_of(x.shape[0], C)
    cdef int threads = threads_for(cut.size)
    # For each chunk: its statistics, and those of a block.
    cdef double[:, :, ::1] part = np.zeros((cut.chunks, 4, C))
    with nogil:
        if threads == 1:
            for k in range(cut.chunks):
                _chunk_statistics(&x[0], k, cut, &part[k, 0, 0])
        else:
            for k in prange(cut.chunks, num_threads=threads):
                _chunk_statistics(&x[0], k, cut, &part[k, 0, 0])
    for k in range(1, cut.chunks):
        start = first_of(k, cut)
        _merge(start, &part[0, 0, 0], first_of(k + 1, cut) - start, &part[k, 0, 0], C)
    for c in range(C):
        results[0, c] = <floating> part[0, 0, c]
        results[1, c] = <floating> (part[0, 1, c] / (cut.size // C))


cdef void _chunk_statistics(
    const floating* x, Py_ssize_t k, Cut cut, double* statistics
) noexcept nogil:
    """Means and sums of squared deviations in chunk k."""
    cdef Py_ssize_t begin = first_of(k, cut), stop = first_of(k + 1, cut), first = begin, size
    cdef double* block = statistics + 2 * cut.channels
    while first < stop:
        size = min(cut.block, stop - first)
        _block_statistics(x + first, size, cut, block)
        _merge(first - begin, statistics, size, block, cut.channels)
        first += size


cdef avx2_void _block_statistics(
    const floating* x, Py_ssize_t size, Cut cut, double* statistics
) noexcept nogil:
    # By differences from the mean of the first row, because sums of large numbers lose small ones.
    # Of n pixels these are r: so (that mean - the mean)^2 <= var n / r, and n / r is at most ROWS.
    cdef Py_ssize_t start = 0, first, width, channels, j, c
    cdef double* means = statistics
    cdef double* squares = statistics + cut.channels
    cdef double m = size // cut.channels, row_pixels
    cdef floating[WIDTH] middle
    cdef floating[WIDTH] sums
    cdef floating[WIDTH] products
    cdef floating difference
    memset(statistics, 0, 2 * cut.channels * sizeof(double))
    while start < cut.width:
        width = min(WIDTH, cut.width - start)
        channels = min(cut.channels, width)
        row_pixels = min(width, size - start) // channels
        _fold(x + start, min(width, size - start), channels, means + start)
        for c in range(channels):
            middle[c] = <floating> (means[start + c] / row_pixels)
            means[start + c] = 0
        _repeat(middle, width, channels)
        memset(sums, 0, sizeof(sums))
        memset(products, 0, sizeof(products))
        first = start
        while first < size:
            for j in range(min(width, size - first)):
                difference = x[first + j] - middle[j]
                sums[j] += difference
                products[j] += difference * difference
            first += cut.width
        _fold(sums, width, channels, means + start)
        _fold(products, width, channels, squares + start)
        for c in range(channels):
            squares[start + c] -= means[start + c] * means[start + c] / m
            means[start + c] = middle[c] + means[start + c] / m
        start += WIDTH


cdef inline void _repeat(floating* row, Py_ssize_t width, Py_ssize_t channels) noexcept nogil:
    """Fill a row with its first pixel."""
    cdef Py_ssize_t pixel
    for pixel in range(1, width // channels):
        memcpy(row + pixel * channels, row, channels * sizeof(floating))


cdef inline void _fold(
    const floating* row, Py_ssize_t width, Py_ssize_t channels, double* sums
) noexcept nogil:
    """Add the numbers of each channel in a row to its sum."""
    cdef Py_ssize_t pixel, c
    for pixel in range(width // channels):
        for c in range(channels):
            sums[c] += row[pixel * channels + c]


cdef avx2_void _merge(
    double n, double* statistics, double more, const double* others, Py_ssize_t C
) noexcept nogil:
    """Add the statistics of more numbers to those of n (Chan, Golub and LeVeque, 1979)."""
    cdef double weight = more / (n + more), difference
    cdef Py_ssize_t c
    for c in range(C):
        difference = others[c] - statistics[c]
        statistics[c] += difference * weight
        statistics[C + c] += others[C + c] + difference * (difference * (n / C * weight))


# ---------------------------------------------------------------------------------------- forward

# Shared with the backward pass, which so finds the ReLU at work exactly where it was.
cdef inline floating _normalized(
    floating x, floating mean, floating scale, floating bias
) noexcept nogil:
    return (x - mean) * scale + bias


def batch_norm(x, mean, inv_std, weight, bias, residual, *, bint relu):
    y = new_array(x.shape, x.dtype)
    if x.size:
        columns = _columns(x, mean, inv_std * weight, bias)
        add = residual is not None
        _normalize(x.ravel(), columns, (residual if add else x).ravel(), add, relu, y.ravel())
    return y


def _normalize(
    const floating[::1] x, const floating[:, ::1] columns, const floating[::1] residual,
    bint add, bint relu, floating[::1] y,
):
    cdef Py_ssize_t size = x.shape[0], width = columns.shape[1], block = ROWS * width, first
    cdef int threads = threads_for(size)
    with nogil:
        if threads == 1:
            _normalize_rows(
                &x[0], &columns[0, 0], width, &residual[0], add, relu, &y[0], size
            )
        else:
            for first in prange(0, size, block, num_threads=threads):
                _normalize_rows(
                    &x[first], &columns[0, 0], width, &residual[first], add, relu, &y[first],
                    min(block, size - first),
                )


cdef avx2_void _normalize_rows(
    const floating* x, const floating* columns, Py_ssize_t width, const floating* residual,
    bint add, bint relu, floating* y, Py_ssize_t size,
) noexcept nogil:
    cdef const floating* mean = columns
    cdef const floating* scale = columns + width
    cdef const floating* bias = columns + 2 * width
    cdef Py_ssize_t first = 0, j
    cdef floating value
    while first < size:
        for j in range(min(width, size - first)):
            value = _normalized(x[first + j], mean[j], scale[j], bias[j])
            if add:
                value = value + residual[first + j]
            y[first + j] = 0 if relu and value < 0 else value  # this way round NaN stays
        first += width


# --------------------------------------------------------------------------------------- backward


cdef inline floating _masked(floating grad, floating value) noexcept nogil:
    """The gradient that passes a ReLU of this value; at NaN it does."""
    return 0 if value <= 0 else grad


def batch_norm_sums(g, x, mean, inv_std, weight, bias, *, bint relu):
    sums = np.zeros((2, x.shape[x.ndim - 1]), x.dtype)
    if x.size:
        columns = _columns(x, mean, inv_std * weight, bias)
        _sums(g.ravel(), x.ravel(), columns, relu, sums)
        sums[1] *= inv_std
    return sums


def _sums(
    const floating[::1] g, const floating[::1] x, const floating[:, ::1] columns, bint relu,
    floating[:, ::1] results,
):
    cdef Py_ssize_t C = results.shape[1], k, c
    cdef Cut cut = cut_of(x.shape[0], C)
    cdef int threads = threads_for(cut.size)
    cdef double[:, :, ::1] part = np.zeros((cut.chunks, 2, C))
    with nogil:
        if threads == 1:
            for k in range(cut.chunks):
                _chunk_sums(&g[0], &x[0], &columns[0, 0], relu, k, cut, &part[k, 0, 0])
        else:
            for k in prange(cut.chunks, num_threads=threads):
                _chunk_sums(&g[0], &x[0], &columns[0, 0], relu, k, cut, &part[k, 0, 0])
    for k in range(1, cut.chunks):
        for c in range(C):
            part[0, 0, c] += part[k, 0, c]
            part[0, 1, c] += part[k, 1, c]
    for c in range(C):
        results[0, c] = <floating> part[0, 0, c]
        results[1, c] = <floating> part[0, 1, c]


cdef void _chunk_sums(
    const floating* g, const floating* x, const floating* columns, bint relu,
    Py_ssize_t k, Cut cut, double* sums,
) noexcept nogil:
    """Sums of g and of g * (x - mean) in chunk k."""
    cdef Py_ssize_t stop = first_of(k + 1, cut), first = first_of(k, cut), size
    while first < stop:
        size = min(cut.block, stop - first)
        _block_sums(g + first, x + first, columns, relu, size, cut, sums)
        first += size


cdef avx2_void _block_sums(
    const floating* g, const floating* x, const floating* columns, bint relu,
    Py_ssize_t size, Cut cut, double* sums,
) noexcept nogil:
    cdef Py_ssize_t start = 0, first, width, channels, j
    cdef floating[WIDTH] mean
    cdef floating[WIDTH] scale
    cdef floating[WIDTH] bias
    cdef floating[WIDTH] grads
    cdef floating[WIDTH] products
    cdef floating grad
    while start < cut.width:
        width = min(WIDTH, cut.width - start)
        channels = min(cut.channels, width)
        memcpy(mean, columns + start, width * sizeof(floating))
        memcpy(scale, columns + cut.width + start, width * sizeof(floating))
        memcpy(bias, columns + 2 * cut.width + start, width * sizeof(floating))
        memset(grads, 0, sizeof(grads))
        memset(products, 0, sizeof(products))
        first = start
        while first < size:
            for j in range(min(width, size - first)):
                grad = g[first + j]
                if relu:
                    grad = _masked(grad, _normalized(x[first + j], mean[j], scale[j], bias[j]))
                grads[j] += grad
                products[j] += grad * (x[first + j] - mean[j])
            first += cut.width
        _fold(grads, width, channels, sums + start)
        _fold(products, width, channels, sums + cut.channels + start)
        start += WIDTH


def batch_norm_input_grad(g, x, mean, inv_std, weight, bias, sums, *, bint relu):
    dx = new_array(x.shape, x.dtype)
    if x.size:
        # The terms of the channel alone: dx = scale * g + slope * (x - mean) + offset.
        scale = inv_std * weight
        offset, slope = -scale * x.shape[x.ndim - 1] / x.size * sums
        columns = _columns(x, mean, scale, bias, slope * inv_std, offset)
        _input_grad(g.ravel(), x.ravel(), columns, relu, dx.ravel())
    return dx


def _input_grad(
    const floating[::1] g, const floating[::1] x, const floating[:, ::1] columns, bint relu,
    floating[::1] dx,
):
    cdef Py_ssize_t size = x.shape[0], width = columns.shape[1], block = ROWS * width, first
    cdef int threads = threads_for(size)
    with nogil:
        if threads == 1:
            _input_grad_rows(&g[0], &x[0], &columns[0, 0], width, relu, &dx[0], size)
        else:
            for first in prange(0, size, block, num_threads=threads):
                _input_grad_rows(
                    &g[first], &x[first], &columns[0, 0], width, relu, &dx[first],
                    min(block, size - first),
                )


cdef avx2_void _input_grad_rows(
    const floating* g, const floating* x, const floating* columns, Py_ssize_t width, bint relu,
    floating* dx, Py_ssize_t size,
) noexcept nogil:
    cdef const floating* mean = columns
    cdef const floating* scale = columns + width
    cdef const floating* bias = columns + 2 * width
    cdef const floating* slope = columns + 3 * width
    cdef const floating* offset = columns + 4 * width
    cdef Py_ssize_t first = 0, j
    cdef floating grad
    while first < size:
        for j in range(min(width, size - first)):
            grad = g[first + j]
            if relu:
                grad = _masked(grad, _normalized(x[first + j], mean[j], scale[j], bias[j]))
            dx[first + j] = scale[j] * grad + slope[j] * (x[first + j] - mean[j]) + offset[j]
        first += width
