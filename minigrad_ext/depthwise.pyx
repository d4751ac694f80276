"""Depthwise convolution: for each tap, a product channel by channel.

With one channel in and one out to a group there are no matrices to multiply, and nothing to gather:
a pixel of an NHWC image is a vector of channels as it lies. (With a depth multiplier there are, if
narrow ones, and they are faster than loops: direct.pyx and im2col.pyx do it.)

Where there is a vector of channels in float32, the sums of some outputs, or taps, stay in registers
(depthwise.h). Else each row of outputs is written once for each tap.
"""

from cython cimport floating
from libc.string cimport memcpy, memset

from .isa cimport MOST_TAPS, Depthwise, DepthwiseRow, Run, kernels
from .simd cimport avx2_void
from .window cimport Axis, Tile, Window


cdef void correlate(
    const Window* window, const Tile* tile, const floating* x, const floating* w,
    const floating* b, bint relu, floating* y, Py_ssize_t y_row, Py_ssize_t y_pixel,
) noexcept nogil:
    """y[i,j,c] = b[c] + sum over taps u,v of  x[i's u, j's v, c] w[u,v,c],  max with 0 if relu.

    For the pixels of a tile. x points to the image, y to the tile. No b is NULL.
    """
    cdef Py_ssize_t C = window.groups, k, h, u
    cdef Depthwise row
    if floating is float and fits_registers(window):
        row.bias, row.relu, row.y, row.y_row, row.y_pixel = b, relu, y, y_row, y_pixel
        in_registers(
            window, tile, x, w, &row, kernels().depthwise[stride_of_run(&window.columns) - 1]
        )
        return
    for k in range(tile.rows):
        begin_row(tile.columns, C, b, y + k * y_row, y_pixel)
        for u in range(window.rows.taps):
            h = input_of(&window.rows, tile.i + k, u)
            if 0 <= h < window.rows.inputs:
                correlate_row(
                    window, tile, x + h * window.columns.inputs * C,
                    w + u * window.columns.taps * C, y + k * y_row, y_pixel,
                )
        if relu:
            relu_row(tile.columns, C, y + k * y_row, y_pixel)


cdef void begin_row(
    Py_ssize_t columns, Py_ssize_t C, const floating* b, floating* y, Py_ssize_t y_pixel
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(columns):
        if b == NULL:
            memset(y + j * y_pixel, 0, C * sizeof(floating))
        else:
            memcpy(y + j * y_pixel, b, C * sizeof(floating))


cdef avx2_void relu_row(
    Py_ssize_t columns, Py_ssize_t C, floating* y, Py_ssize_t y_pixel
) noexcept nogil:
    cdef Py_ssize_t j, c
    cdef floating* out
    for j in range(columns):
        out = y + j * y_pixel
        for c in range(C):
            out[c] = 0 if out[c] < 0 else out[c]


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
    cdef Depthwise row
    if floating is float and fits_registers(window):
        row.y, row.y_row, row.y_pixel = <float*> g, window.columns.outputs * C, C
        in_registers(
            window, tile, x, dw, &row,
            kernels().depthwise_weight_grad[stride_of_run(&window.columns) - 1],
        )
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
    RUNS = 64  # windows with more of them take the loops above


cdef inline bint fits_registers(const Window* window) noexcept nogil:
    cdef int lanes = kernels().lanes
    return (
        lanes and window.groups >= lanes
        and window.rows.taps * (window.columns.taps // taps_of_run(&window.columns)) <= RUNS
    )


cdef inline Py_ssize_t taps_of_run(const Axis* axis) noexcept nogil:
    """How many taps make a run (depthwise.h), so that whole runs make a row of the kernel."""
    cdef Py_ssize_t taps
    if axis.stride <= 2 and axis.step == 1:
        for taps in range(MOST_TAPS, 1, -1):
            if axis.taps % taps == 0:
                return taps
    return 1


cdef inline Py_ssize_t stride_of_run(const Axis* axis) noexcept nogil:
    """The stride that a kernel has to know; for runs of one tap it is told."""
    return axis.stride if taps_of_run(axis) > 1 else 1


cdef void in_registers(
    const Window* window, const Tile* tile, const float* x, const float* w, Depthwise* row,
    const DepthwiseRow* by_taps,
) noexcept nogil:
    """Give a kernel each row of the tile; row says which bias, ReLU and outputs."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t taps = taps_of_run(axis), end = tile.j + tile.columns, k
    cdef Run[RUNS] runs
    row.channels, row.width, row.stride, row.run = window.groups, axis.inputs, axis.stride, runs
    see_all_taps(axis, tile.j, end, &row.inside, &row.beyond)
    row.y -= tile.j * row.y_pixel
    for k in range(tile.rows):
        row.runs = runs_seen(window, tile.i + k, taps, x, w, runs)
        by_taps[taps - 1](row, tile.j, end)
        row.y += row.y_row


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


cdef Py_ssize_t runs_seen(
    const Window* window, Py_ssize_t i, Py_ssize_t taps, const float* x, const float* w, Run* runs
) noexcept nogil:
    """Describe the runs that outputs of row i see; how many they are."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t C = window.groups, count = 0, u, v, h
    for u in range(window.rows.taps):
        h = input_of(&window.rows, i, u)
        if 0 <= h < window.rows.inputs:
            for v in range(axis.taps // taps):
                runs[count].column = input_of(axis, 0, v * taps)
                runs[count].x = x + (h * axis.inputs + runs[count].column) * C
                runs[count].w = <float*> w + (u * axis.taps + v * taps) * C
                count += 1
    return count
