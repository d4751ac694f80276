"""Average pooling, channels-last; what it computes is in reference/pooling.py.

The loops are those of max_pool.pyx.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memset

from .allocator import new_array

from .parallel cimport threads_for
from .pool cimport Geometry, Window, geometry, window
from .simd cimport avx2_void


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
