"""Convolution in registers: the tile of tile.h reads the windows where they lie.

Each output is one sum over taps and channels, in this order, whatever tile it is computed in. So
the results are the same bits for any number of threads and any way of cutting a batch.

A tile of outputs (see window.pxd) is small enough that what it sees of the image stays in the L2
cache. Only where its windows leave the image is this copied, with zeros around it. The weights are
packed before: columns o in panels as wide as a register tile, with zeros beyond the last.
"""

import numpy as np

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

from .blas cimport threads_for_sums
from .isa cimport Product, kernels
from .window cimport (
    Axis, Tile, Window, ceil_div, even_part, make_window, products, same_pixels, sums,
)

from .allocator import new_array

cdef enum:
    # Bytes of input and output that a tile has, about: half of an L2 cache of 1 MiB.
    BYTES = 512 * 1024
    # Pixels of more channels are fetched ahead: 256 -> 64 channels 15 % faster, 64 -> 32 8 % slower
    # (Zen 4), where the processor sees by itself what comes next.
    FEW_CHANNELS = 64

LANES = kernels().lanes
AVAILABLE = LANES > 0


# How the windows of a convolution are walked over.
cdef struct Walk:
    Py_ssize_t rows, columns, across, count  # outputs of a tile; tiles side by side, of an image
    bint inside        # no window leaves the image
    Py_ssize_t pixel   # floats from a pixel to the next,
    Py_ssize_t pitch   # from a row to the next, of what a tile sees
    Py_ssize_t seen    # floats that a tile sees, if they are copied
    Py_ssize_t taps    # runs of numbers in a window that lie together,
    Py_ssize_t K       # so many each
    Py_ssize_t panels  # floats of a row of the packed weights


# ----------------------------------------------------------------------------------- the two loops


def correlate(
    const float[:, :, :, ::1] x, const float[:, :, :, :] w, const float[::1] b,
    float[:, :, :, :] y, *, stride, start, step, Py_ssize_t groups, bint relu,
):
    """y = the windows of x times w, + b unless it is None, then max(y, 0) if relu.

    y may be a view of every n-th row and column of an array, but its channels lie together.
    """
    cdef Window window = make_window(x.shape, w.shape, y.shape, stride, start, step, groups)
    cdef Py_ssize_t N = x.shape[0], y_image = y.strides[0] // sizeof(float)
    cdef Py_ssize_t y_row = y.strides[1] // sizeof(float), y_pixel = y.strides[2] // sizeof(float)
    cdef int threads = threads_for_sums(sums(&window, N), products(&window))
    if same_pixels(&window.rows) and same_pixels(&window.columns) and y.is_c_contig():
        one_long_row(&window, N)
        N = 1
    cdef Walk walk = make_walk(&window, pieces(N, threads))
    cdef Py_ssize_t[::1] taps = tap_offsets(&window, &walk)
    # One array for all of it: making one takes as long as 10,000 multiplications.
    cdef Py_ssize_t tiles = N * walk.count, tile
    threads = min(threads, <int> tiles)
    cdef Py_ssize_t weights = groups * walk.panels * walk.taps * walk.K
    cdef Py_ssize_t size = weights + groups * walk.panels + threads * walk.seen
    cdef float[::1] memory = new_array((size,), np.float32)
    cdef float* packed = &memory[0]
    cdef float* bias = packed + weights
    cdef float* scratch = bias + groups * walk.panels
    pack(w, groups, packed)
    cdef Product product = no_product()
    product.taps, product.K, product.offset = walk.taps, walk.K, &taps[0]
    product.a_row, product.a_step = window.columns.stride * walk.pixel, 1
    product.B, product.c_row, product.relu = packed, y_pixel, relu
    product.ahead = walk.inside and walk.taps == 1 and walk.K > FEW_CHANNELS
    if b is not None:
        pad_channels(&b[0], 1, groups, window.C_out, walk.panels, bias)
        product.bias = bias
    cdef const float* images = &x[0, 0, 0, 0]
    cdef float* out = &y[0, 0, 0, 0]
    with nogil:
        if threads == 1:
            for tile in range(tiles):
                correlate_tile(&window, &walk, product, tile, images, out, y_image, y_row, scratch)
        else:
            for tile in prange(tiles, num_threads=threads):
                correlate_tile(
                    &window, &walk, product, tile, images, out, y_image, y_row,
                    scratch + threadid() * walk.seen,
                )


def weight_grad(
    const float[:, :, :, ::1] g, const float[:, :, :, ::1] x, float[:, :, :, :, ::1] parts,
    *, stride, start, step, Py_ssize_t groups,
):
    """parts[part] += what its share of all tiles adds to the weight gradient, in their order."""
    cdef Window window = make_window(x.shape, parts.shape + 1, g.shape, stride, start, step, groups)
    cdef Py_ssize_t N = x.shape[0], count = parts.shape[0], part, n, tile, tiles
    cdef int threads = threads_for_sums(sums(&window, N), products(&window))
    if same_pixels(&window.rows) and same_pixels(&window.columns):
        one_long_row(&window, N)
        N = 1
    cdef Walk walk = make_walk(&window, 1)
    cdef Py_ssize_t[::1] taps = tap_offsets(&window, &walk)
    cdef Py_ssize_t[::1] rows = np.arange(walk.rows) * (window.rows.stride * walk.pitch)
    cdef Py_ssize_t width = groups * walk.panels  # of a row of g, with all its panels full
    cdef Py_ssize_t padded = walk.rows * walk.columns * width if width != g.shape[3] else 0
    cdef Product product = no_product()
    product.offset, product.a_row, product.a_step = &rows[0], 1, window.columns.stride * walk.pixel
    product.b_step, product.c_row, product.accumulate = width, g.shape[3], True
    cdef float[:, ::1] scratch = new_array((threads, walk.seen + padded), np.float32)
    tiles = N * walk.count
    for part in prange(count, nogil=True, num_threads=threads):
        for tile in range(tiles * part // count, tiles * (part + 1) // count):
            n = tile // walk.count
            weight_grad_tile(
                &window, &walk, product, tile % walk.count,
                &x[0, 0, 0, 0] + n * image_size(&window), &g[n, 0, 0, 0], &taps[0],
                &parts[part, 0, 0, 0, 0], &scratch[threadid(), 0],
            )


# -------------------------------------------------------------------------------- tiles of windows


cdef void one_long_row(Window* window, Py_ssize_t images) noexcept nogil:
    """Take all pixels of all images as one row, where it makes no difference that rows end."""
    window.columns.inputs *= images * window.rows.inputs
    window.columns.outputs = window.columns.inputs
    window.rows.inputs = window.rows.outputs = 1


cdef Py_ssize_t image_size(const Window* window) noexcept nogil:
    return window.rows.inputs * window.columns.inputs * window.groups * window.C_in


cdef bint stays_inside(const Axis* axis) noexcept nogil:
    cdef Py_ssize_t last = axis.start + (axis.outputs - 1) * axis.stride
    return axis.start >= 0 and last + (axis.taps - 1) * axis.step < axis.inputs


cdef Py_ssize_t seen_by(const Axis* axis, Py_ssize_t outputs) noexcept nogil:
    """How many inputs lie from the first to the last that so many neighbouring outputs read."""
    return (outputs - 1) * axis.stride + (axis.taps - 1) * axis.step + 1


cdef Py_ssize_t pieces(Py_ssize_t images, Py_ssize_t threads) noexcept nogil:
    """Into how many pieces to cut an image, so that of few images each thread has as much."""
    cdef Py_ssize_t count = 1
    while images < 4 * threads and images * count % threads:
        count += 1
    return count


cdef Walk make_walk(const Window* window, Py_ssize_t least) noexcept nogil:
    """Choose tiles of about BYTES bytes: some rows of an image, or of one row; at least so many."""
    cdef const Axis* rows = &window.rows
    cdef const Axis* columns = &window.columns
    cdef int lanes = kernels().lanes
    cdef Walk walk
    walk.pixel = window.groups * window.C_in
    cdef Py_ssize_t numbers = walk.pixel * rows.stride * columns.stride
    numbers += window.groups * window.C_out
    cdef Py_ssize_t outputs = BYTES // (numbers * sizeof(float))
    if rows.outputs == 1:
        outputs = min(outputs, ceil_div(columns.outputs, least))
    else:
        outputs = min(outputs, ceil_div(rows.outputs, least) * columns.outputs)
    cdef Py_ssize_t most = kernels().rows[panel_vectors(window.C_out) - 1]
    if columns.outputs <= outputs:
        walk.columns = columns.outputs
    else:
        walk.columns = min(ceil_div(outputs + 1, most) * most, columns.outputs)
    walk.rows = even_part(rows.outputs, max(outputs // walk.columns, 1))
    walk.across = ceil_div(columns.outputs, walk.columns)
    walk.count = walk.across * ceil_div(rows.outputs, walk.rows)

    walk.inside = stays_inside(rows) and stays_inside(columns)
    walk.pitch = walk.pixel * (columns.inputs if walk.inside else seen_by(columns, walk.columns))
    walk.seen = 0 if walk.inside else seen_by(rows, walk.rows) * walk.pitch
    walk.taps, walk.K = rows.taps, window.C_in
    if columns.step == 1 and window.groups == 1:
        walk.K *= columns.taps
    else:
        walk.taps *= columns.taps
    walk.panels = ceil_div(window.C_out, lanes) * lanes
    return walk


cdef tap_offsets(const Window* window, const Walk* walk):
    """Where each run of numbers of a window lies, from the first."""
    offsets = new_array((walk.taps,), np.intp)
    cdef Py_ssize_t[::1] offset = offsets
    cdef Py_ssize_t across = walk.taps // window.rows.taps, tap
    for tap in range(walk.taps):
        offset[tap] = tap // across * window.rows.step * walk.pitch
        offset[tap] += tap % across * window.columns.step * walk.pixel
    return offsets


cdef void pack(const float[:, :, :, :] w, Py_ssize_t groups, float* out) noexcept nogil:
    """Write w (kh, kw, c, groups * o) as panels (group, panel, kh * kw * c, columns of a panel)."""
    cdef Py_ssize_t N = w.shape[3] // groups, group, first, columns, u, v, c, o
    for group in range(groups):
        first = 0
        while first < N:
            columns = panel_vectors(N - first) * kernels().lanes
            for u in range(w.shape[0]):
                for v in range(w.shape[1]):
                    for c in range(w.shape[2]):
                        copy_strided(
                            &w[u, v, c, group * N + first], w.strides[3] // sizeof(float),
                            min(columns, N - first), out,
                        )
                        for o in range(N - first, columns):
                            out[o] = 0
                        out += columns
            first += columns


cdef void copy_strided(
    const float* from_, Py_ssize_t step, Py_ssize_t count, float* to
) noexcept nogil:
    """Copy numbers that lie `step` apart; a row that lies together in one go."""
    cdef Py_ssize_t i
    if step == 1:
        memcpy(to, from_, count * sizeof(float))
        return
    for i in range(count):
        to[i] = from_[i * step]


cdef Py_ssize_t panel_vectors(Py_ssize_t columns) noexcept nogil:
    """How many vectors wide the first of the panels of so many columns is."""
    cdef Py_ssize_t vectors = ceil_div(columns, kernels().lanes)
    return even_part(vectors, kernels().widest)


cdef Tile make_tile(const Window* window, const Walk* walk, Py_ssize_t index) noexcept nogil:
    cdef Tile tile
    tile.i = index // walk.across * walk.rows
    tile.j = index % walk.across * walk.columns
    tile.rows = min(walk.rows, window.rows.outputs - tile.i)
    tile.columns = min(walk.columns, window.columns.outputs - tile.j)
    return tile


cdef const float* see(
    const Window* window, const Walk* walk, const Tile* tile, const float* x, float* scratch
) noexcept nogil:
    """Return where the first tap of the tile's first output reads; zeros lie outside of x."""
    cdef Py_ssize_t top = tile.i * window.rows.stride + window.rows.start
    cdef Py_ssize_t left = tile.j * window.columns.stride + window.columns.start
    cdef Py_ssize_t width = seen_by(&window.columns, tile.columns), pixel = walk.pixel, row, h
    cdef Py_ssize_t before = min(max(-left, 0), width)
    cdef Py_ssize_t kept = max(min(width, window.columns.inputs - left) - before, 0)
    cdef float* out
    if walk.inside:
        return x + top * walk.pitch + left * pixel
    for row in range(seen_by(&window.rows, tile.rows)):
        out, h = scratch + row * walk.pitch, top + row
        if h < 0 or h >= window.rows.inputs or kept == 0:
            memset(out, 0, width * pixel * sizeof(float))
            continue
        memset(out, 0, before * pixel * sizeof(float))
        memcpy(
            out + before * pixel, x + (h * window.columns.inputs + left + before) * pixel,
            kept * pixel * sizeof(float),
        )
        memset(
            out + (before + kept) * pixel, 0, (width - before - kept) * pixel * sizeof(float)
        )
    return scratch


cdef void correlate_tile(
    const Window* window, const Walk* walk, Product product, Py_ssize_t index, const float* x,
    float* y, Py_ssize_t y_image, Py_ssize_t y_row, float* scratch,
) noexcept nogil:
    """y_tile = sum over t of  pixels[t] @ w[t],  + b, max with 0; index counts in all images."""
    cdef Tile tile = make_tile(window, walk, index % walk.count)
    x += index // walk.count * image_size(window)
    y += index // walk.count * y_image
    cdef Py_ssize_t N = window.C_out, group, first, vectors, i
    cdef const float* seen = see(window, walk, &tile, x, scratch)
    y += tile.i * y_row + tile.j * product.c_row
    for group in range(window.groups):
        first = 0
        while first < N:
            vectors = panel_vectors(N - first)
            product.columns, product.b_step = N - first, vectors * kernels().lanes
            for i in range(tile.rows):
                product.A = seen + i * window.rows.stride * walk.pitch + group * window.C_in
                product.C = y + i * y_row + group * N + first
                multiply(&product, tile.columns, vectors)
            product.B += product.b_step * walk.taps * walk.K
            if product.bias != NULL:
                product.bias += product.b_step
            first += product.b_step


cdef Product no_product() noexcept nogil:
    cdef Product product
    memset(&product, 0, sizeof(Product))
    return product


cdef void multiply(const Product* whole, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil:
    """C = A B by register tiles of equal heights, as high as there are registers."""
    cdef Product product = whole[0]
    cdef Py_ssize_t parts = ceil_div(rows, kernels().rows[vectors - 1]), part, height, i
    for part in range(parts):
        height = (rows + part) // parts
        kernels().multiply[vectors - 1][height - 1](&product)
        product.A += height * product.a_row
        product.C += height * product.c_row
        for i in range(product.soon.arrays):
            product.soon.at[i] += height * product.soon.row[i]


cdef void weight_grad_tile(
    const Window* window, const Walk* walk, Product product, Py_ssize_t index, const float* x,
    const float* g, const Py_ssize_t* taps, float* dw, float* scratch,
) noexcept nogil:
    """dw[t] += pixels[t].T @ g_tile, for a tile of image x."""
    cdef Tile tile = make_tile(window, walk, index)
    cdef Py_ssize_t N = window.C_out, group, tap, first, vectors
    cdef const float* seen = see(window, walk, &tile, x, scratch)
    g += (tile.i * window.columns.outputs + tile.j) * window.groups * N
    if product.b_step != window.groups * N:
        scratch += walk.seen
        pad_channels(g, tile.rows * tile.columns, window.groups, N, walk.panels, scratch)
        g = scratch
    product.taps, product.K = tile.rows, tile.columns
    for group in range(window.groups):
        for tap in range(walk.taps):
            product.A = seen + taps[tap] + group * window.C_in
            first = 0
            while first < N:
                vectors = panel_vectors(N - first)
                product.columns = N - first
                product.B = g + group * walk.panels + first
                product.C = dw + tap * walk.K * product.c_row + group * N + first
                multiply(&product, walk.K, vectors)
                first += vectors * kernels().lanes


cdef void pad_channels(
    const float* g, Py_ssize_t pixels, Py_ssize_t groups, Py_ssize_t N, Py_ssize_t padded,
    float* out,
) noexcept nogil:
    """Copy g (pixels, groups, N) to (pixels, groups, padded), with zeros."""
    cdef Py_ssize_t i
    for i in range(pixels * groups):
        memcpy(out + i * padded, g + i * N, N * sizeof(float))
        memset(out + i * padded + N, 0, (padded - N) * sizeof(float))
