"""Convolution as matrix products: gather a tile of windows, multiply, finish while it is in cache.

A tile is some output rows of one image. Each of its pixels sees kh rows of kw * C_in numbers, one
for each row u of the kernel, and w[u] is a (kw * C_in, C_out) matrix as it lies. So

    forward           y_tile = sum over u of  rows[u] @ w[u],  then bias and ReLU
    weight gradient   dw[u] += rows[u].T @ g_tile

where rows[u] holds one matrix row for each pixel. It is gathered once for all u where the windows
of neighbouring output rows share it: a 3x3 kernel copies 3 C_in numbers for a pixel, not 9 C_in.
A 1x1 convolution copies nothing, the pixels in place are its rows.

Tiles are a function of the sizes of image and kernel, and each lies within one image: so neither
the number of threads nor the way in which a batch is cut changes a single bit.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from . cimport depthwise
from .blas cimport gemm, preferred_rows, threads_for_sums
from .simd cimport avx2_void
from .window cimport (
    Axis, Tile, Window, ceil_div, even_part, make_window, products, same_pixels, sums,
)

from .allocator import new_array
from .blas import check_dimensions

cdef enum:
    # Bytes to gather for a kernel row of a tile. Of an L2 cache of 1 MiB this is half; with 256 KiB
    # a 3x3 convolution of 256 channels is 3 % slower, with 1 MiB 2 % faster (Zen 4).
    SCRATCH = 512 * 1024
    FEWEST_PIXELS = 16    # in a tile, however many channels they have


cdef struct Tiling:
    Py_ssize_t across   # tiles of an image side by side
    Py_ssize_t count    # tiles of an image
    Py_ssize_t rows     # output rows of a tile
    Py_ssize_t columns  # output columns of a tile: all of them, or rows = 1
    bint depthwise      # no matrices at all
    bint in_place       # the pixels are the matrix rows
    bint shared         # gathered once for all kernel rows,
    Py_ssize_t hop      # one of which then follows another by so many gathered image rows
    Py_ssize_t scratch  # numbers that a thread gathers at most


# --------------------------------------------------------------------------- the loops over tiles


def correlate(x, w, b, y, **config):
    _correlate(x, np.ascontiguousarray(w), b, y, **config)


def _correlate(
    const floating[:, :, :, ::1] x, const floating[:, :, :, ::1] w, const floating[::1] b,
    floating[:, :, :, :] y, *, stride, start, step, Py_ssize_t groups, bint relu,
):
    """y = the windows of x times w, + b unless it is None, then max(y, 0) if relu.

    y may be a view of every n-th row and column of an array, but its channels lie together.
    """
    cdef Window window = make_window(x.shape, w.shape, y.shape, stride, start, step, groups)
    cdef Py_ssize_t y_row = y.strides[1] // y.itemsize, y_pixel = y.strides[2] // y.itemsize
    cdef bint dense = y_row == y.shape[2] * y_pixel
    check_dimensions("conv2d", C_in=x.shape[3], kw_C_in=w.shape[1] * w.shape[2], sw_C_out=y_pixel)
    cdef Tiling tiling = make_tiling(&window, dense, sizeof(floating))
    cdef Py_ssize_t tiles = x.shape[0] * tiling.count, tile
    cdef const floating* bias = NULL
    if b is not None:
        bias = &b[0]
    cdef int threads = threads_for_sums(sums(&window, x.shape[0]), products(&window))
    cdef floating[:, ::1] scratch = new_array((threads, tiling.scratch), f"f{sizeof(floating)}")
    for tile in prange(tiles, nogil=True, num_threads=threads):
        correlate_tile(
            &window, &tiling, tile % tiling.count, &x[tile // tiling.count, 0, 0, 0],
            &w[0, 0, 0, 0], bias, relu, &y[tile // tiling.count, 0, 0, 0], y_row, y_pixel,
            &scratch[threadid(), 0],
        )


def weight_grad(
    const floating[:, :, :, ::1] g, const floating[:, :, :, ::1] x,
    floating[:, :, :, :, ::1] parts, *, stride, start, step, Py_ssize_t groups,
):
    """parts[block] += what the images of this block add to the weight gradient, in their order."""
    cdef Window window = make_window(x.shape, parts.shape + 1, g.shape, stride, start, step, groups)
    check_dimensions(
        "conv2d", C_in=x.shape[3], kw_C_in=parts.shape[2] * parts.shape[3], C_out=g.shape[3]
    )
    cdef Tiling tiling = make_tiling(&window, True, sizeof(floating))
    cdef Py_ssize_t N = x.shape[0], blocks = parts.shape[0], block, n, tile
    cdef int threads = threads_for_sums(sums(&window, N), products(&window))
    cdef floating[:, ::1] scratch = new_array((threads, tiling.scratch), f"f{sizeof(floating)}")
    for block in prange(blocks, nogil=True, num_threads=threads):
        for n in range(N * block // blocks, N * (block + 1) // blocks):
            for tile in range(tiling.count):
                weight_grad_tile(
                    &window, &tiling, tile, &x[n, 0, 0, 0], &g[n, 0, 0, 0],
                    &parts[block, 0, 0, 0, 0], &scratch[threadid(), 0],
                )


# -------------------------------------------------------------------------------- tiles of windows


cdef Tiling make_tiling(Window* window, bint dense, Py_ssize_t itemsize) noexcept nogil:
    """Choose tiles for which the matrix products are fast and the gathered rows stay in cache.

    A tile's outputs lie at equal distances in memory: where they are not dense, on one row.
    """
    cdef Axis* rows = &window.rows
    cdef Axis* columns = &window.columns
    cdef Tiling tiling
    tiling.depthwise = window.groups > 1 and window.C_in == 1 and window.C_out == 1
    tiling.in_place = same_pixels(rows) and same_pixels(columns)
    if tiling.in_place and dense:
        # Where a row of pixels ends makes no difference: take the image as one long row.
        columns.inputs *= rows.inputs
        columns.outputs = columns.inputs
        rows.inputs = rows.outputs = 1

    cdef Py_ssize_t K = columns.taps * window.C_in  # numbers to gather for a pixel and kernel row
    cdef Py_ssize_t pixels = preferred_rows(window.C_out, K)
    if not (tiling.depthwise or tiling.in_place):
        pixels = min(pixels, max(SCRATCH // (K * itemsize), FEWEST_PIXELS))
    tiling.columns = min(pixels, columns.outputs)
    tiling.rows = max(pixels // columns.outputs, 1) if dense else 1
    tiling.rows = even_part(rows.outputs, tiling.rows)
    tiling.across = ceil_div(columns.outputs, tiling.columns)
    tiling.count = tiling.across * ceil_div(rows.outputs, tiling.rows)

    cdef Py_ssize_t overlap = (rows.taps - 1) * rows.step // rows.stride
    tiling.hop = rows.step // rows.stride
    tiling.shared = (
        rows.step % rows.stride == 0 and tiling.rows + overlap < tiling.rows * rows.taps
    )
    if tiling.depthwise:
        tiling.scratch = window.groups
    elif tiling.in_place:
        tiling.scratch = 1
    else:
        tiling.scratch = (tiling.rows + overlap * tiling.shared) * tiling.columns * K
    return tiling


cdef Tile make_tile(const Window* window, const Tiling* tiling, Py_ssize_t index) noexcept nogil:
    cdef Tile tile
    tile.i = index // tiling.across * tiling.rows
    tile.j = index % tiling.across * tiling.columns
    tile.rows = min(tiling.rows, window.rows.outputs - tile.i)
    tile.columns = min(tiling.columns, window.columns.outputs - tile.j)
    return tile


cdef void correlate_tile(
    const Window* window, const Tiling* tiling, Py_ssize_t index, const floating* x,
    const floating* w, const floating* b, bint relu, floating* y,
    Py_ssize_t y_row, Py_ssize_t y_pixel, floating* scratch,
) noexcept nogil:
    """y_tile = sum over u of  rows[u] @ w[u],  + b, max with 0: for a tile of image x."""
    cdef Tile tile = make_tile(window, tiling, index)
    cdef Py_ssize_t K = window.columns.taps * window.C_in, N = window.C_out
    cdef Py_ssize_t C_in = window.groups * window.C_in, C_out = window.groups * N
    cdef Py_ssize_t pixels = tile.rows * tile.columns, group, u
    cdef const floating* rows
    y += tile.i * y_row + tile.j * y_pixel
    if tiling.depthwise:
        depthwise.correlate(window, &tile, x, w, b, relu, y, y_row, y_pixel)
        return
    for group in range(window.groups):
        for u in range(window.rows.taps):
            rows = matrix_rows(window, tiling, &tile, x, group, u, scratch)
            gemm(
                False, False, pixels, N, K,
                <floating> 1, rows, C_in if tiling.in_place else K,
                w + u * K * C_out + group * N, C_out,
                <floating> (u > 0), y + group * N, y_pixel,
            )
    finish(y, pixels, y_pixel, C_out, b, relu)


cdef void weight_grad_tile(
    const Window* window, const Tiling* tiling, Py_ssize_t index, const floating* x,
    const floating* g, floating* dw, floating* scratch,
) noexcept nogil:
    """dw[u] += rows[u].T @ g_tile, for a tile of image x."""
    cdef Tile tile = make_tile(window, tiling, index)
    cdef Py_ssize_t K = window.columns.taps * window.C_in, N = window.C_out
    cdef Py_ssize_t C_in = window.groups * window.C_in, C_out = window.groups * N
    cdef Py_ssize_t pixels = tile.rows * tile.columns, group, u
    cdef const floating* rows
    g += (tile.i * window.columns.outputs + tile.j) * C_out
    if tiling.depthwise:
        depthwise.weight_grad(window, &tile, x, g, dw, scratch)
        return
    for group in range(window.groups):
        for u in range(window.rows.taps):
            rows = matrix_rows(window, tiling, &tile, x, group, u, scratch)
            gemm(
                True, False, K, N, pixels,
                <floating> 1, rows, C_in if tiling.in_place else K,
                g + group * N, C_out,
                <floating> 1, dw + u * K * C_out + group * N, C_out,
            )


cdef const floating* matrix_rows(
    const Window* window, const Tiling* tiling, const Tile* tile, const floating* x,
    Py_ssize_t group, Py_ssize_t u, floating* scratch,
) noexcept nogil:
    """Return rows[u] of a tile, as a matrix with a row for each pixel."""
    cdef const Axis* axis = &window.rows
    cdef Py_ssize_t h = tile.i * axis.stride + axis.start  # image row that the first tap meets
    cdef Py_ssize_t K = window.columns.taps * window.C_in, pixel
    if tiling.in_place:
        pixel = tile.i * window.columns.inputs + tile.j
        return x + (pixel * window.groups + group) * window.C_in
    if not tiling.shared:
        gather(window, x, group, h + u * axis.step, tile.rows, tile, scratch)
        return scratch
    if u == 0:
        gather(window, x, group, h, tile.rows + (axis.taps - 1) * tiling.hop, tile, scratch)
    return scratch + u * tiling.hop * tile.columns * K


cdef void gather(
    const Window* window, const floating* x, Py_ssize_t group, Py_ssize_t h, Py_ssize_t count,
    const Tile* tile, floating* out,
) noexcept nogil:
    """out[k,j,v,c] = what tap v of pixel j meets in image row h + k * stride: 0 outside of x."""
    cdef const Axis* axis = &window.columns
    cdef Py_ssize_t C = window.C_in, pixel = window.groups * C, K = axis.taps * C
    cdef Py_ssize_t k, j, v, row, left, column
    cdef bint adjacent = axis.step == 1 and window.groups == 1
    for k in range(count):
        row = h + k * window.rows.stride
        if row < 0 or row >= window.rows.inputs:
            memset(out, 0, tile.columns * K * sizeof(floating))
            out += tile.columns * K
            continue
        for j in range(tile.j, tile.j + tile.columns):
            left = j * axis.stride + axis.start
            if adjacent and 0 <= left <= axis.inputs - axis.taps:
                memcpy(out, x + (row * axis.inputs + left) * C, K * sizeof(floating))
                out += K
                continue
            for v in range(axis.taps):
                column = left + v * axis.step
                if 0 <= column < axis.inputs:
                    memcpy(
                        out, x + (row * axis.inputs + column) * pixel + group * C,
                        C * sizeof(floating),
                    )
                else:
                    memset(out, 0, C * sizeof(floating))
                out += C


cdef avx2_void finish(
    floating* y, Py_ssize_t pixels, Py_ssize_t y_pixel, Py_ssize_t C, const floating* b, bint relu,
) noexcept nogil:
    """y = max(y + b, 0) in place: without b if it is NULL, without max if not relu; NaN stays."""
    cdef Py_ssize_t pixel, o
    cdef floating* out
    for pixel in range(pixels):
        out = y + pixel * y_pixel
        if b != NULL:
            for o in range(C):
                out[o] += b[o]
        if relu:
            for o in range(C):
                out[o] = 0 if out[o] < 0 else out[o]
