"""Depthwise convolution: for each tap, a product channel by channel.

With one channel in and one out to a group there are no matrices to multiply, and nothing to gather:
a pixel of an NHWC image is a vector of channels as it lies. (With a depth multiplier there are, if
narrow ones, and they are faster than loops: direct.pyx and im2col.pyx do it.)

Where the channels are whole vectors of float32, the sums of some outputs, or taps, stay in
registers (depthwise.h). Else each row of outputs is written once for each tap.
"""

from cython cimport floating
from libc.string cimport memset

from .isa cimport Depthwise, kernels
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
    if floating is float and fits_registers(window):
        correlate_in_registers(window, tile, x, w, y, y_row, y_pixel)
        return
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
    if floating is float and fits_registers(window):
        weight_grad_in_registers(window, tile, x, g, dw)
        return
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


# ------------------------------------------------------------------------------------ in registers

cdef enum:
    TAPS = 64  # larger windows take the loops above


cdef inline bint fits_registers(const Window* window) noexcept nogil:
    """Whether the channels are whole vectors; with a rest, the loops above are faster."""
    cdef int lanes = kernels().lanes
    return lanes and window.groups % lanes == 0 and window.rows.taps * window.columns.taps <= TAPS


cdef void see_all_taps(
    const Axis* axis, Py_ssize_t first, Py_ssize_t end, Py_ssize_t* inside, Py_ssize_t* beyond
) noexcept nogil:
    """Which outputs of first to end do: inside to beyond, none where these are equal."""
    cdef Py_ssize_t v
    inside[0], beyond[0] = first, end
    for v in range(axis.taps):
        inside[0] = max(inside[0], first_inside(axis, v, first))
        beyond[0] = min(beyond[0], end_inside(axis, v, end))
    beyond[0] = max(inside[0], beyond[0])


cdef void correlate_in_registers(
    const Window* window, const Tile* tile, const float* x, const float* w,
    float* y, Py_ssize_t y_row, Py_ssize_t y_pixel,
) noexcept nogil:
    """What `correlate` does. Outputs that see beyond the image are computed one by one."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t k, j, end = tile.j + tile.columns
    cdef Py_ssize_t inside, beyond, count
    see_all_taps(axis, tile.j, end, &inside, &beyond)
    for k in range(tile.rows):
        j = tile.j
        while j < end:
            count = beyond - j if inside <= j < beyond else 1
            correlate_outputs(window, tile.i + k, j, count, x, w, y, y_pixel)
            y += count * y_pixel
            j += count
        y += y_row - tile.columns * y_pixel


cdef void correlate_outputs(
    const Window* window, Py_ssize_t i, Py_ssize_t j, Py_ssize_t count,
    const float* x, const float* w, float* y, Py_ssize_t y_pixel,
) noexcept nogil:
    """Outputs j and following of row i, which see the same taps."""
    cdef Py_ssize_t C = window.groups, u, v, h, across
    cdef Py_ssize_t[TAPS] pixel
    cdef Py_ssize_t[TAPS] weight
    cdef Depthwise outputs
    outputs.taps, outputs.channels = 0, C
    outputs.x_step, outputs.y_step = window.columns.stride * C, y_pixel
    outputs.pixel, outputs.weight = pixel, weight
    outputs.x, outputs.w, outputs.y = x, <float*> w, y
    for u in range(window.rows.taps):
        h = input_of(&window.rows, i, u)
        if not 0 <= h < window.rows.inputs:
            continue
        for v in range(window.columns.taps):
            across = input_of(&window.columns, j, v)
            if 0 <= across < window.columns.inputs:
                pixel[outputs.taps] = (h * window.columns.inputs + across) * C
                weight[outputs.taps] = (u * window.columns.taps + v) * C
                outputs.taps += 1
    kernels().depthwise(&outputs, count)


cdef void weight_grad_in_registers(
    const Window* window, const Tile* tile, const float* x, const float* g, float* dw
) noexcept nogil:
    """What `weight_grad` does."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t C = window.groups, end = tile.j + tile.columns, k, u, v, h, first, stop
    cdef Py_ssize_t inside, beyond
    cdef const float* row
    see_all_taps(axis, tile.j, end, &inside, &beyond)
    for k in range(tile.rows):
        for u in range(window.rows.taps):
            h = input_of(&window.rows, tile.i + k, u)
            if 0 <= h < window.rows.inputs:
                row = x + h * axis.inputs * C
                add_taps(window, u, 0, axis.taps, tile.j, inside, beyond, row, g, dw)
                for v in range(axis.taps):
                    first, stop = first_inside(axis, v, tile.j), end_inside(axis, v, end)
                    add_taps(window, u, v, 1, tile.j, first, min(stop, inside), row, g, dw)
                    add_taps(window, u, v, 1, tile.j, max(first, beyond), stop, row, g, dw)
        g += axis.outputs * C


cdef void add_taps(
    const Window* window, Py_ssize_t u, Py_ssize_t v, Py_ssize_t taps,
    Py_ssize_t origin, Py_ssize_t first, Py_ssize_t stop,
    const float* row, const float* g, float* dw,
) noexcept nogil:
    """Add to taps v and following of kernel row u what outputs first to stop of a row say."""
    cdef Py_ssize_t C = window.groups, t
    cdef Py_ssize_t[TAPS] pixel
    cdef Py_ssize_t[TAPS] weight
    cdef Depthwise outputs
    if first >= stop:
        return
    for t in range(taps):
        pixel[t] = input_of(&window.columns, first, v + t) * C
        weight[t] = (u * window.columns.taps + v + t) * C
    outputs.taps, outputs.channels = taps, C
    outputs.x_step, outputs.y_step = window.columns.stride * C, C
    outputs.pixel, outputs.weight = pixel, weight
    outputs.x, outputs.w, outputs.y = row, dw, <float*> g + (first - origin) * C
    kernels().depthwise_weight_grad(&outputs, stop - first)
