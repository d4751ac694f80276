"""Max and average pooling, channels-last; what they compute is in reference.py.

A window's taps are whole pixels, so every inner loop runs over the channels of one pixel, which lie
together. A row of output pixels, or an image where windows write to shared pixels, is one thread's.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from ._checks import index_values
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
    y_array = np.empty(shape, np.float32 if floating is float else np.float64)
    index_array = np.empty(shape, np.int32)
    cdef floating[:, :, :, ::1] y = y_array
    cdef int[:, :, :, ::1] index = index_array
    cdef Py_ssize_t row, n, i
    if N > 0 and C > 0:
        for row in prange(N * geo.OH, nogil=True, num_threads=threads_for(N * H * W * C)):
            n, i = row // geo.OH, row % geo.OH
            _max_row(&geo, i, &x[n, 0, 0, 0], &y[n, i, 0, 0], &index[n, i, 0, 0])
    return y_array, index_array


cdef avx2_void _max_row(
    const Geometry* geo, Py_ssize_t i, const floating* x, floating* y, int* index
) noexcept nogil:
    cdef Py_ssize_t C = geo.C, j, h, w, c, first
    cdef Window win
    for j in range(geo.OW):
        win = window(geo, i, j, False)
        first = win.top * geo.W + win.left
        memcpy(y, &x[first * C], C * sizeof(floating))
        for c in range(C):
            index[c] = <int> first
        for h in range(win.top, win.bottom):
            for w in range(win.left, win.right):
                _take_larger(&x[(h * geo.W + w) * C], <int> (h * geo.W + w), y, index, C)
        y += C
        index += C


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
    cdef Py_ssize_t N = g.shape[0], P = g.shape[1] * g.shape[2], C = g.shape[3], n, bad = 0
    cdef Py_ssize_t HW = input_shape[1] * input_shape[2]
    if N * P * C == 0 or HW == 0:
        index_values("max_pool2d_grad", np.asarray(index), HW)
        return np.zeros(input_shape, np.float32 if floating is float else np.float64)
    dx_array = np.empty(input_shape, np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] dx = dx_array
    for n in prange(N, nogil=True, num_threads=threads_for(N * HW * C)):
        bad += _scatter(&g[n, 0, 0, 0], &index[n, 0, 0, 0], &dx[n, 0, 0, 0], P, HW, C)
    if bad:
        index_values("max_pool2d_grad", np.asarray(index), HW)
    return dx_array


cdef Py_ssize_t _scatter(
    const floating* g, const int* index, floating* dx, Py_ssize_t P, Py_ssize_t HW, Py_ssize_t C
) noexcept nogil:
    """Add the gradients of one image's P windows to its HW pixels; how many indices were bad."""
    cdef Py_ssize_t p, c, pixel, bad = 0
    memset(dx, 0, HW * C * sizeof(floating))
    for p in range(P):
        for c in range(C):
            pixel = index[p * C + c]
            if 0 <= pixel < HW:
                dx[pixel * C + c] += g[p * C + c]
            else:
                bad += 1
    return bad


def max_pool2d_gather(const floating[:, :, :, ::1] x, const int[:, :, :, ::1] index):
    cdef Py_ssize_t N = x.shape[0], HW = x.shape[1] * x.shape[2], C = x.shape[3]
    cdef Py_ssize_t OH = index.shape[1], OW = index.shape[2], row, n, i, bad = 0
    y_array = np.empty((N, OH, OW, C), np.float32 if floating is float else np.float64)
    if N * OH * OW * C == 0 or HW == 0:
        index_values("max_pool2d_gather", np.asarray(index), HW)
        return y_array
    cdef floating[:, :, :, ::1] y = y_array
    for row in prange(N * OH, nogil=True, num_threads=threads_for(N * OH * OW * C)):
        n, i = row // OH, row % OH
        bad += _gather(&x[n, 0, 0, 0], &index[n, i, 0, 0], &y[n, i, 0, 0], OW, HW, C)
    if bad:
        index_values("max_pool2d_gather", np.asarray(index), HW)
    return y_array


cdef Py_ssize_t _gather(
    const floating* x, const int* index, floating* y, Py_ssize_t P, Py_ssize_t HW, Py_ssize_t C
) noexcept nogil:
    """Look up P windows in one image of HW pixels; how many indices were bad."""
    cdef Py_ssize_t p, c, pixel, bad = 0
    for p in range(P):
        for c in range(C):
            pixel = index[p * C + c]
            if 0 <= pixel < HW:
                y[p * C + c] = x[pixel * C + c]
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
    y_array = np.empty((N, geo.OH, geo.OW, C), np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] y = y_array
    cdef Py_ssize_t row, n, i
    if N > 0 and C > 0:
        for row in prange(N * geo.OH, nogil=True, num_threads=threads_for(N * H * W * C)):
            n, i = row // geo.OH, row % geo.OH
            _average_row(&geo, i, count_include_pad, &x[n, 0, 0, 0], &y[n, i, 0, 0])
    return y_array


cdef avx2_void _average_row(
    const Geometry* geo, Py_ssize_t i, bint count_include_pad, const floating* x, floating* y
) noexcept nogil:
    cdef Py_ssize_t C = geo.C, j, h, w, c
    cdef const floating* pixel
    cdef Window win
    for j in range(geo.OW):
        win = window(geo, i, j, count_include_pad)
        memset(y, 0, C * sizeof(floating))
        for h in range(win.top, win.bottom):
            for w in range(win.left, win.right):
                pixel = &x[(h * geo.W + w) * C]
                for c in range(C):
                    y[c] += pixel[c]
        for c in range(C):
            y[c] /= <floating> win.divisor
        y += C


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
    N, H, W, C = input_shape
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    dx_array = np.empty(input_shape, np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] dx = dx_array
    if N > 0 and C > 0:
        for n in prange(N, nogil=True, num_threads=threads_for(N * H * W * C)):
            _spread_image(&geo, count_include_pad, &g[n, 0, 0, 0], &dx[n, 0, 0, 0])
    return dx_array


cdef avx2_void _spread_image(
    const Geometry* geo, bint count_include_pad, const floating* g, floating* dx
) noexcept nogil:
    cdef Py_ssize_t C = geo.C, i, j, h, w, c
    cdef floating* pixel
    cdef floating share
    cdef Window win
    memset(dx, 0, geo.H * geo.W * C * sizeof(floating))
    for i in range(geo.OH):
        for j in range(geo.OW):
            win = window(geo, i, j, count_include_pad)
            share = 1 / <floating> win.divisor
            for h in range(win.top, win.bottom):
                for w in range(win.left, win.right):
                    pixel = &dx[(h * geo.W + w) * C]
                    for c in range(C):
                        pixel[c] += g[c] * share
            g += C
