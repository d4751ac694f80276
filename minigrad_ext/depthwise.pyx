"""Depthwise convolution: for each tap, a product channel by channel.

With one channel in and one out to a group there are no matrices to multiply, and nothing to gather:
a pixel of an NHWC image is a vector of channels as it lies. (With a depth multiplier there are, if
narrow ones, and they are faster than loops: direct.pyx and im2col.pyx do it.)
"""

from cython cimport floating
from libc.string cimport memset

from .simd cimport avx2_void
from .window cimport Axis, Tile, Window


cdef void correlate(
    const Window* window, const Tile* tile, const floating* x, const floating* w,
    floating* y, Py_ssize_t y_row, Py_ssize_t y_pixel,
) noexcept nogil:
    """y[i,j,c] = sum over taps u,v of  x[i's u, j's v, c] w[u,v,c],  for the pixels of a tile.

    x points to the image, y to the tile.
    """
    cdef Py_ssize_t C = window.groups, k, j, h, u
    for k in range(tile.rows):
        for j in range(tile.columns):
            memset(y + k * y_row + j * y_pixel, 0, C * sizeof(floating))
        for u in range(window.rows.taps):
            h = input_of(&window.rows, tile.i + k, u)
            if 0 <= h < window.rows.inputs:
                correlate_row(
                    window, tile, x + h * window.columns.inputs * C,
                    w + u * window.columns.taps * C, y + k * y_row, y_pixel,
                )


cdef avx2_void correlate_row(
    const Window* window, const Tile* tile, const floating* x, const floating* w,
    floating* y, Py_ssize_t y_pixel,
) noexcept nogil:
    """y[j,c] += sum over v of  x[j's v, c] w[v,c],  for one row of the tile, image and kernel."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t C = window.groups, v, j, c
    cdef const floating* pixel
    cdef floating* out
    for v in range(axis.taps):
        for j in range(first_inside(axis, v, tile.j), end_inside(axis, v, tile.j + tile.columns)):
            pixel = x + input_of(axis, j, v) * C
            out = y + (j - tile.j) * y_pixel
            for c in range(C):
                out[c] += pixel[c] * w[v * C + c]


cdef void weight_grad(
    const Window* window, const Tile* tile, const floating* x, const floating* g,
    floating* dw, floating* sums,
) noexcept nogil:
    """dw[u,v,c] += sum over i,j of  x[i's u, j's v, c] g[i,j,c],  for the pixels of a tile.

    x points to the image, g to the tile. sums has room for C numbers.
    """
    cdef Py_ssize_t C = window.groups, k, h, u
    for k in range(tile.rows):
        for u in range(window.rows.taps):
            h = input_of(&window.rows, tile.i + k, u)
            if 0 <= h < window.rows.inputs:
                weight_grad_row(
                    window, tile, x + h * window.columns.inputs * C,
                    g + k * window.columns.outputs * C, dw + u * window.columns.taps * C, sums,
                )


cdef avx2_void weight_grad_row(
    const Window* window, const Tile* tile, const floating* x, const floating* g,
    floating* dw, floating* sums,
) noexcept nogil:
    """dw[v,c] += sum over j of  x[j's v, c] g[j,c],  for one row of the tile, image and kernel.

    A row is summed by itself before it is added, which keeps rounding errors small.
    """
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t C = window.groups, v, j, c
    cdef const floating* pixel
    cdef const floating* grad
    for v in range(axis.taps):
        memset(sums, 0, C * sizeof(floating))
        for j in range(first_inside(axis, v, tile.j), end_inside(axis, v, tile.j + tile.columns)):
            pixel = x + input_of(axis, j, v) * C
            grad = g + (j - tile.j) * C
            for c in range(C):
                sums[c] += pixel[c] * grad[c]
        for c in range(C):
            dw[v * C + c] += sums[c]


cdef inline Py_ssize_t input_of(const Axis* axis, Py_ssize_t output, Py_ssize_t tap) noexcept nogil:
    return output * axis.stride + axis.start + tap * axis.step


cdef inline Py_ssize_t first_inside(
    const Axis* axis, Py_ssize_t tap, Py_ssize_t first
) noexcept nogil:
    """The first output, at least the given one, whose tap does not lie before the image."""
    cdef Py_ssize_t before = -input_of(axis, 0, tap)
    return first if before <= 0 else max(first, (before + axis.stride - 1) // axis.stride)


cdef inline Py_ssize_t end_inside(const Axis* axis, Py_ssize_t tap, Py_ssize_t end) noexcept nogil:
    """The first output, at most the given one, whose tap lies beyond the image."""
    cdef Py_ssize_t room = axis.inputs - input_of(axis, 0, tap)
    return 0 if room <= 0 else min(end, (room + axis.stride - 1) // axis.stride)
