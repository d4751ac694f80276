"""Max and average pooling, channels-last; what they compute is in reference.py.

A window's taps are whole pixels, so every inner loop runs over the channels of one pixel, which lie
together. A row of output pixels, or an image where windows write to shared pixels, is one thread's.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from ._checks import index_values
from .allocator import new_array
from .geometry import pool_output_size

from .parallel cimport threads_for
from .simd cimport avx2_void


# Sizes of the image (H, W) and the output (OH, OW), channels, window, stride and padding.
cdef struct Geometry:
    Py_ssize_t H, W, OH, OW, C, kh, kw, sh, sw, ph, pw


# The taps of one window: rows top to bottom, columns left to right, as cut by the image, and the
# number of pixels it is averaged over.
cdef struct Window:
    Py_ssize_t top, bottom, left, right, divisor


cdef Geometry geometry(
    Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, kernel_size, stride, padding, bint ceil_mode
) except *:
    cdef Geometry geo
    geo.H, geo.W, geo.C = H, W, C
    geo.kh, geo.kw = kernel_size
    geo.sh, geo.sw = stride
    geo.ph, geo.pw = padding
    geo.OH = pool_output_size(geo.H, geo.kh, geo.sh, geo.ph, ceil_mode)
    geo.OW = pool_output_size(geo.W, geo.kw, geo.sw, geo.pw, ceil_mode)
    return geo


cdef inline Window window(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, bint count_include_pad
) noexcept nogil:
    cdef Window win
    cdef Py_ssize_t top = i * geo.sh - geo.ph, bottom = min(top + geo.kh, geo.H + geo.ph)
    cdef Py_ssize_t left = j * geo.sw - geo.pw, right = min(left + geo.kw, geo.W + geo.pw)
    win.top, win.bottom = max(top, 0), min(bottom, geo.H)
    win.left, win.right = max(left, 0), min(right, geo.W)
    if count_include_pad:
        win.divisor = (bottom - top) * (right - left)
    else:
        win.divisor = (win.bottom - win.top) * (win.right - win.left)
    return win


# ------------------------------------------------------------------------------------ max pooling


def max_pool2d(
    const floating[:, :, :, ::1] x, *, kernel_size, stride, padding, bint ceil_mode
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3]
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    shape = (N, geo.OH, geo.OW, C)
    y_array = new_array(shape, np.float32 if floating is float else np.float64)
    index_array = new_array(shape, np.int32)
    cdef floating[:, :, :, ::1] y = y_array
    cdef int[:, :, :, ::1] index = index_array
    cdef Py_ssize_t rows = N * geo.OH, row
    cdef int threads = threads_for(N * H * W * C)
    if N == 0 or C == 0:
        return y_array, index_array
    with nogil:
        if threads == 1:
            _max_rows(&geo, 0, rows, &x[0, 0, 0, 0], &y[0, 0, 0, 0], &index[0, 0, 0, 0])
        else:
            for row in prange(rows, num_threads=threads):
                _max_rows(&geo, row, row + 1, &x[0, 0, 0, 0], &y[0, 0, 0, 0], &index[0, 0, 0, 0])
    return y_array, index_array


cdef avx2_void _max_rows(
    const Geometry* geo, Py_ssize_t first, Py_ssize_t stop,
    const floating* x, floating* y, int* index,
) noexcept nogil:
    """Rows of the output, those of all images counted together."""
    cdef Py_ssize_t C = geo.C, row, j, h, w, c, place, pixel, corner
    cdef const floating* image
    cdef Window win
    for row in range(first, stop):
        image = x + row // geo.OH * geo.H * geo.W * C
        for j in range(geo.OW):
            win = window(geo, row % geo.OH, j, False)
            place = (row * geo.OW + j) * C
            corner = win.top * geo.W + win.left
            memcpy(&y[place], &image[corner * C], C * sizeof(floating))
            for c in range(C):
                index[place + c] = <int> corner
            for h in range(win.top, win.bottom):
                for w in range(win.left, win.right):
                    pixel = h * geo.W + w
                    if pixel == corner:
                        continue
                    _take_larger(&image[pixel * C], <int> pixel, &y[place], &index[place], C)


cdef inline void _take_larger(
    const floating* x, int pixel, floating* y, int* index, Py_ssize_t C
) noexcept nogil:
    cdef Py_ssize_t c
    cdef bint larger
    for c in range(C):
        # Larger or NaN, but the first NaN stays; without branches, so that it can be vectorised.
        larger = (not x[c] <= y[c]) & (y[c] == y[c])
        y[c] = x[c] if larger else y[c]
        index[c] = pixel if larger else index[c]


def max_pool2d_grad(
    const floating[:, :, :, ::1] g, const int[:, :, :, ::1] index, *, input_shape
):
    cdef Py_ssize_t N = g.shape[0], P = g.shape[1] * g.shape[2], C = g.shape[3]
    cdef Py_ssize_t HW = input_shape[1] * input_shape[2], n, bad = 0
    cdef int threads = threads_for(N * HW * C)
    if N * P * C == 0 or HW == 0:
        index_values("max_pool2d_grad", np.asarray(index), HW)
        return np.zeros(input_shape, np.float32 if floating is float else np.float64)
    dx_array = new_array(input_shape, np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] dx = dx_array
    with nogil:
        if threads == 1:
            bad = _scatter(0, N, P, HW, C, &g[0, 0, 0, 0], &index[0, 0, 0, 0], &dx[0, 0, 0, 0])
        else:
            for n in prange(N, num_threads=threads):
                bad += _scatter(
                    n, n + 1, P, HW, C, &g[0, 0, 0, 0], &index[0, 0, 0, 0], &dx[0, 0, 0, 0]
                )
    if bad:
        index_values("max_pool2d_grad", np.asarray(index), HW)
    return dx_array


cdef Py_ssize_t _scatter(
    Py_ssize_t first, Py_ssize_t stop, Py_ssize_t P, Py_ssize_t HW, Py_ssize_t C,
    const floating* g, const int* index, floating* dx,
) noexcept nogil:
    """Add the gradients of P windows to HW pixels, image by image; how many indices were bad."""
    cdef Py_ssize_t n, p, c, pixel, bad = 0
    for n in range(first, stop):
        memset(&dx[n * HW * C], 0, HW * C * sizeof(floating))
        for p in range(n * P, (n + 1) * P):
            for c in range(C):
                pixel = index[p * C + c]
                if 0 <= pixel < HW:
                    dx[(n * HW + pixel) * C + c] += g[p * C + c]
                else:
                    bad += 1
    return bad


def max_pool2d_gather(const floating[:, :, :, ::1] x, const int[:, :, :, ::1] index):
    cdef Py_ssize_t N = x.shape[0], HW = x.shape[1] * x.shape[2], C = x.shape[3]
    cdef Py_ssize_t P = index.shape[1] * index.shape[2], n, bad = 0
    cdef int threads = threads_for(N * P * C)
    y_array = new_array(
        (N, index.shape[1], index.shape[2], C), np.float32 if floating is float else np.float64
    )
    cdef floating[:, :, :, ::1] y = y_array
    if N * P * C == 0 or HW == 0:
        index_values("max_pool2d_gather", np.asarray(index), HW)
        return y_array
    with nogil:
        if threads == 1:
            bad = _gather(0, N, P, HW, C, &x[0, 0, 0, 0], &index[0, 0, 0, 0], &y[0, 0, 0, 0])
        else:
            for n in prange(N, num_threads=threads):
                bad += _gather(
                    n, n + 1, P, HW, C, &x[0, 0, 0, 0], &index[0, 0, 0, 0], &y[0, 0, 0, 0]
                )
    if bad:
        index_values("max_pool2d_gather", np.asarray(index), HW)
    return y_array


cdef Py_ssize_t _gather(
    Py_ssize_t first, Py_ssize_t stop, Py_ssize_t P, Py_ssize_t HW, Py_ssize_t C,
    const floating* x, const int* index, floating* y,
) noexcept nogil:
    """Look up P windows in HW pixels, image by image; how many indices were bad."""
    cdef Py_ssize_t n, p, c, pixel, bad = 0
    for n in range(first, stop):
        for p in range(n * P, (n + 1) * P):
            for c in range(C):
                pixel = index[p * C + c]
                if 0 <= pixel < HW:
                    y[p * C + c] = x[(n * HW + pixel) * C + c]
                else:
                    bad += 1
    return bad


# -------------------------------------------------------------------------------- average pooling


def avg_pool2d(
    const floating[:, :, :, ::1] x,
    *,
    kernel_size,
    stride,
    padding,
    bint ceil_mode,
    bint count_include_pad,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3]
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    y_array = new_array((N, geo.OH, geo.OW, C), np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] y = y_array
    cdef Py_ssize_t rows = N * geo.OH, row
    cdef int threads = threads_for(N * H * W * C)
    if N == 0 or C == 0:
        return y_array
    with nogil:
        if threads == 1:
            _average_rows(&geo, count_include_pad, 0, rows, &x[0, 0, 0, 0], &y[0, 0, 0, 0])
        else:
            for row in prange(rows, num_threads=threads):
                _average_rows(
                    &geo, count_include_pad, row, row + 1, &x[0, 0, 0, 0], &y[0, 0, 0, 0]
                )
    return y_array


cdef avx2_void _average_rows(
    const Geometry* geo, bint count_include_pad, Py_ssize_t first, Py_ssize_t stop,
    const floating* x, floating* y,
) noexcept nogil:
    """Rows of the output, those of all images counted together."""
    cdef Py_ssize_t C = geo.C, row, j, h, w, c
    cdef const floating* image
    cdef const floating* pixel
    cdef floating* average
    cdef Window win
    for row in range(first, stop):
        image = x + row // geo.OH * geo.H * geo.W * C
        for j in range(geo.OW):
            win = window(geo, row % geo.OH, j, count_include_pad)
            average = y + (row * geo.OW + j) * C
            memset(average, 0, C * sizeof(floating))
            for h in range(win.top, win.bottom):
                for w in range(win.left, win.right):
                    pixel = image + (h * geo.W + w) * C
                    for c in range(C):
                        average[c] += pixel[c]
            for c in range(C):
                average[c] /= <floating> win.divisor


def avg_pool2d_grad(
    const floating[:, :, :, ::1] g,
    *,
    input_shape,
    kernel_size,
    stride,
    padding,
    bint ceil_mode,
    bint count_include_pad,
):
    cdef Py_ssize_t N, H, W, C, n
    cdef int threads
    N, H, W, C = input_shape
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    dx_array = new_array(input_shape, np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] dx = dx_array
    threads = threads_for(N * H * W * C)
    if N == 0 or C == 0:
        return dx_array
    with nogil:
        if threads == 1:
            _spread(&geo, count_include_pad, 0, N, &g[0, 0, 0, 0], &dx[0, 0, 0, 0])
        else:
            for n in prange(N, num_threads=threads):
                _spread(&geo, count_include_pad, n, n + 1, &g[0, 0, 0, 0], &dx[0, 0, 0, 0])
    return dx_array


cdef avx2_void _spread(
    const Geometry* geo, bint count_include_pad, Py_ssize_t first, Py_ssize_t stop,
    const floating* g, floating* dx,
) noexcept nogil:
    """Add each window's share to its pixels, image by image."""
    cdef Py_ssize_t C = geo.C, n, i, j, h, w, c
    cdef const floating* grad = g + first * geo.OH * geo.OW * C
    cdef floating* image
    cdef floating* pixel
    cdef floating share
    cdef Window win
    for n in range(first, stop):
        image = dx + n * geo.H * geo.W * C
        memset(image, 0, geo.H * geo.W * C * sizeof(floating))
        for i in range(geo.OH):
            for j in range(geo.OW):
                win = window(geo, i, j, count_include_pad)
                share = 1 / <floating> win.divisor
                for h in range(win.top, win.bottom):
                    for w in range(win.left, win.right):
                        pixel = image + (h * geo.W + w) * C
                        for c in range(C):
                            pixel[c] += grad[c] * share
                grad += C
