"""Convolution by Winograd's F(4x4, 3x3): 36 multiplications for 16 outputs instead of 144.

For float32, 3x3 kernels, stride 1. From A. Lavin and S. Gray, Fast algorithms for convolutional
neural networks, CVPR 2016 (arXiv:1509.09308). Along one axis, four outputs y of three taps w see
six inputs d, and with a = 5/8, b = 3/2, p = 1 / (2 a^2 (a^2 - b^2)), q = 1 / (2 b^2 (b^2 - a^2)),

    B^T =  a^2 b^2   0   -a^2-b^2   0   1  0     G =  1/(a^2 b^2)  0   0      A =  1  0   0   0
            0  -a b^2   -b^2        a   1  0              p   p a   p a^2          1  a  a^2  a^3
            0   a b^2   -b^2       -a   1  0              p  -p a   p a^2          1 -a  a^2 -a^3
            0  -a^2 b   -a^2        b   1  0              q   q b   q b^2          1  b  b^2  b^3
            0   a^2 b   -a^2       -b   1  0              q  -q b   q b^2          1 -b  b^2 -b^3
            0   a^2 b^2   0   -a^2-b^2  0  1              0    0      1            0  0   0   1

it holds that  y = A^T ((G w) * (B^T d)),  six products for twelve: two polynomials are multiplied
by their values at 0, a, -a, b, -b and infinity. (Lavin and Gray's a = 1, b = 2 are 2.5 times less
exact; A and B are without rounding in float32 here too.) The same along the other axis. A sum over
channels makes of each of the 36 products a matrix product over all tiles:

    forward           V = B^T d B,  U = G w G^T,    M[p] = V[p] U[p],         y = A^T M A
    weight gradient   V = B^T d B,  dM = A g A^T,   dU[p] = V[p]^T dM[p],     dw = G^T dU G

with p = 0, ..., 35. The input gradient is the forward convolution of g (see convolution.py). In
channels-last layout the transforms are sums of vectors of channels.

A tile of 4x4 outputs is computed from its 6x6 inputs alone, in an order that depends on nothing
else. So the results are the same bits for any number of threads and any way of cutting a batch.

**How exact.** With u = 2^-24, gamma(n) = n u / (1 - n u), and |.| of a matrix elementwise:

    |y' - y|   <=  gamma(C_in + 30)  |A^T| (sum over channels |G||w||G^T| * |B^T||d||B|) |A|
    |dw' - dw| <=  gamma(tiles + 40) |G^T| (sum over tiles |B^T||d||B| * |A||g||A^T|) |G|

for each product is rounded at most so many times on its way into the result: along each axis 4
times in a transform of pixels and 7 in one of weights, and once with each addition of the sum.
(N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1; B. Barabasz et al., Error
analysis and improving the accuracy of Winograd convolution for deep neural networks, 2020.) The
first is at most  564 gamma max|d| max|w|  for each channel, where plain sums have 9; on random
numbers Winograd is twice as inexact as they. Numbers whose products come near the smallest normal
one lose some 2^-140 more. Mind that d is all of a tile's 6x6 inputs: beside a huge number, outputs
that do not see it are as inexact as if they did.

**Inf, NaN, and what overflows on the way.** Whatever is not finite in d, g or w, or becomes so in a
transform, is so in every output that depends on it. Images with such an output, and weight
gradients with such an element, are computed anew by direct.pyx.
"""

import numpy as np

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy

from .blas cimport threads_for_sums
from .direct cimport copy_strided, multiply, no_product, panel_vectors
from .isa cimport MOST_VECTORS, Expand, Product, kernels
from .window cimport Window, ceil_div, even_part, make_window, products, sums

from . import direct
from .allocator import new_array

cdef enum:
    OUTPUTS = 4            # a tile: 4x4 outputs,
    INPUTS = 6             # of 6x6 inputs
    TAPS = 3
    PRODUCTS = 36
    MOST_LANES = 16
    LINE = 16              # floats to a cache line
    BLOCK = 42             # tiles to transform at a time: 28 to 112 of them are as fast (Zen 4)
    MOST_CHANNELS = 128    # of input and of output, for which a thread sums up dU: some 2.5 MB

AVAILABLE = direct.AVAILABLE


# The tiles of a batch, numbered image by image.
cdef struct Grid:
    Py_ssize_t across, count  # tiles side by side, of an image
    Py_ssize_t total


# The pixels that they cover: inputs, or outputs.
cdef struct Images:
    const float* data
    Py_ssize_t image, row, pixel  # floats from one to the next
    Py_ssize_t height, width      # of an image
    Py_ssize_t top, left          # where the first tile begins, which may be outside
    Py_ssize_t size               # of a tile, down and across
    float* outside                # what stands for all pixels outside


# ------------------------------------------------------------------------------------ the two loops


def correlate(
    const float[:, :, :, ::1] x, const float[:, :, :, :] w, const float[::1] b,
    float[:, :, :, :] y, *, stride, start, step, Py_ssize_t groups, bint relu,
):
    """y = the windows of x times w, + b unless it is None, then max(y, 0) if relu.

    y may be a view of every n-th row and column of an array, but its channels lie together.
    """
    cdef Window window = make_window(x.shape, w.shape, y.shape, stride, start, step, groups)
    cdef Grid grid = make_grid(&window, x.shape[0])
    cdef int threads = threads_for_sums(grid.total * PRODUCTS * window.C_out, window.C_in)
    cdef float[::1] U = transform_weights(w, threads)
    cdef float[::1] bias = None
    if b is not None:
        bias = zeros(window.C_out)
        memcpy(&bias[0], &b[0], window.C_out * sizeof(float))
    cdef float[::1] outside = zeros(window.C_in)
    cdef Images inputs = images_of(x, INPUTS, window.rows.start, window.columns.start, &outside[0])
    # As many blocks for each thread.
    cdef Py_ssize_t rounds = ceil_div(grid.total, BLOCK * threads)
    cdef Py_ssize_t tiles = ceil_div(grid.total, rounds * threads)
    cdef Py_ssize_t V_size = PRODUCTS * apart(BLOCK * window.C_in)
    cdef Py_ssize_t M_size = PRODUCTS * apart(BLOCK * MOST_VECTORS * kernels().lanes)
    cdef float[:, ::1] scratch = new_array(
        (threads, V_size + M_size + padded(window.C_out)), np.float32
    )
    cdef unsigned char[::1] broken = np.zeros(x.shape[0], np.uint8)
    cdef Py_ssize_t first
    for first in prange(0, grid.total, tiles, nogil=True, num_threads=threads):
        correlate_block(
            &grid, first, min(tiles, grid.total - first), &inputs, window.C_in,
            images_of(y, OUTPUTS, 0, 0, &scratch[threadid(), V_size + M_size]), window.C_out,
            &U[0], NULL if bias is None else &bias[0], relu, &broken[0],
            &scratch[threadid(), 0], &scratch[threadid(), V_size],
        )
    cdef Py_ssize_t n
    config = {"stride": stride, "start": start, "step": step, "groups": groups, "relu": relu}
    for n in range(x.shape[0]):
        if broken[n]:
            direct.correlate(x[n:n + 1], w, b, y[n:n + 1], **config)


def weight_grad(
    const float[:, :, :, ::1] g, const float[:, :, :, ::1] x, float[:, :, :, :, ::1] parts,
    *, stride, start, step, Py_ssize_t groups,
):
    """parts[block] = what its share of all tiles adds to the weight gradient, in their order."""
    cdef Window window = make_window(x.shape, parts.shape + 1, g.shape, stride, start, step, groups)
    cdef Grid grid = make_grid(&window, x.shape[0])
    cdef Py_ssize_t N = x.shape[0], blocks = parts.shape[0], lanes = kernels().lanes
    cdef int threads = threads_for_sums(sums(&window, N), products(&window))
    # A thread sums up dU for some images and some of the channels.
    cdef Py_ssize_t K = even_part(window.C_in, MOST_CHANNELS)
    # Never for less than a vector of them alone: other code would compute it, with other bits.
    cdef Py_ssize_t vectors = max(window.C_out // lanes, 1)
    cdef Py_ssize_t most = min(MOST_CHANNELS // lanes, ceil_div(vectors * blocks, threads))
    cdef Py_ssize_t M = even_part(vectors, most) * lanes
    cdef Py_ssize_t K_parts = ceil_div(window.C_in, K), M_parts = ceil_div(vectors * lanes, M)
    cdef Py_ssize_t widest = padded(M + window.C_out % lanes)
    cdef float[::1] outside = zeros(max(window.C_in, window.C_out))
    cdef Images inputs = images_of(x, INPUTS, window.rows.start, window.columns.start, &outside[0])
    cdef Images outputs = images_of(g, OUTPUTS, 0, 0, &outside[0])
    cdef Py_ssize_t V_size = PRODUCTS * apart(BLOCK * K), M_size = PRODUCTS * apart(BLOCK * widest)
    cdef float[:, ::1] scratch = new_array(
        (threads, V_size + M_size + PRODUCTS * apart(K * widest)), np.float32
    )
    if window.C_out % lanes:
        scratch[:, V_size:V_size + M_size] = 0  # in dM, the channels beyond the last
    cdef Py_ssize_t items = blocks * K_parts * M_parts, item, block, c, o
    cdef unsigned char[::1] finite = np.zeros(items, np.uint8)
    for item in prange(items, nogil=True, num_threads=threads):
        block = item // (K_parts * M_parts)
        c, o = item // M_parts % K_parts * K, item % M_parts * M
        finite[item] = weight_grad_part(
            &grid, grid.total * block // blocks, grid.total * (block + 1) // blocks,
            channels_from(&inputs, c), min(K, window.C_in - c),
            channels_from(&outputs, o), M if o // M + 1 < M_parts else window.C_out - o,
            &parts[block, 0, 0, c, o], window.C_out, window.C_in * window.C_out,
            &scratch[threadid(), 0], &scratch[threadid(), V_size],
            &scratch[threadid(), V_size + M_size],
        )
    if not np.all(finite):
        parts[:] = 0
        config = {"stride": stride, "start": start, "step": step, "groups": groups}
        direct.weight_grad(g, x, parts, **config)


# ------------------------------------------------------------------------------------------- tiles


cdef Grid make_grid(const Window* window, Py_ssize_t images) noexcept nogil:
    cdef Grid grid
    grid.across = ceil_div(window.columns.outputs, OUTPUTS)
    grid.count = grid.across * ceil_div(window.rows.outputs, OUTPUTS)
    grid.total = images * grid.count
    return grid


cdef Py_ssize_t padded(Py_ssize_t channels) noexcept nogil:
    """So many channels and those that fill the last vector."""
    return ceil_div(channels, kernels().lanes) * kernels().lanes


cdef Py_ssize_t apart(Py_ssize_t floats) noexcept nogil:
    """How far apart to keep 36 arrays of so many floats: not in the same places of a cache."""
    return (ceil_div(floats, LINE) | 1) * LINE


cdef zeros(Py_ssize_t channels):
    return np.zeros(padded(channels), np.float32)


cdef Images images_of(
    const float[:, :, :, :] array, Py_ssize_t size, Py_ssize_t top, Py_ssize_t left, float* outside
) noexcept nogil:
    cdef Images images
    images.data, images.outside = &array[0, 0, 0, 0], outside
    images.image = array.strides[0] // sizeof(float)
    images.row = array.strides[1] // sizeof(float)
    images.pixel = array.strides[2] // sizeof(float)
    images.height, images.width = array.shape[1], array.shape[2]
    images.top, images.left, images.size = top, left, size
    return images


cdef Images channels_from(const Images* images, Py_ssize_t first) noexcept nogil:
    cdef Images some = images[0]
    some.data += first
    return some


cdef void find_pixels(
    const Grid* grid, Py_ssize_t tile, const Images* images, const float** found
) noexcept nogil:
    """Find the pixels of a tile, row by row."""
    cdef const float* image = images.data + tile // grid.count * images.image
    cdef Py_ssize_t top = images.top + tile % grid.count // grid.across * OUTPUTS
    cdef Py_ssize_t left = images.left + tile % grid.count % grid.across * OUTPUTS, i, j
    for i in range(top, top + images.size):
        for j in range(left, left + images.size):
            if 0 <= i < images.height and 0 <= j < images.width:
                found[0] = image + i * images.row + j * images.pixel
            else:
                found[0] = images.outside
            found += 1


cdef void transform(
    Expand expand, const Grid* grid, Py_ssize_t first, Py_ssize_t tiles, const Images* images,
    Py_ssize_t channels, float* out, Py_ssize_t pixel, Py_ssize_t step,
) noexcept nogil:
    """out[p,tile,c] = the 36 sums of each tile, `pixel` floats from one tile to the next."""
    cdef const float* found[INPUTS * INPUTS]
    cdef Py_ssize_t t
    for t in range(tiles):
        find_pixels(grid, first + t, images, found)
        expand(found, OUTPUTS * images.pixel, channels, out + t * pixel, step)


# ----------------------------------------------------------------------------------------- forward


cdef transform_weights(const float[:, :, :, :] w, int threads):
    """U = G w G^T, as panels of columns: (panel, p, c, columns of a panel), with zeros beyond."""
    cdef Py_ssize_t C = w.shape[2], N = w.shape[3], first = 0, size = 0, c
    while first < N:
        size += PRODUCTS * apart(C * panel_vectors(N - first) * kernels().lanes)
        first += panel_vectors(N - first) * kernels().lanes
    cdef float[::1] U = new_array((size,), np.float32)
    with nogil:
        if threads == 1 or C * N < 4096:
            for c in range(C):
                transform_weights_of(w, c, &U[0])
        else:
            for c in prange(C, num_threads=threads):
                transform_weights_of(w, c, &U[0])
    return U


cdef void transform_weights_of(const float[:, :, :, :] w, Py_ssize_t c, float* U) noexcept nogil:
    cdef Py_ssize_t N = w.shape[3], first = 0, width, columns, o, t
    cdef float taps[TAPS * TAPS][MOST_VECTORS * MOST_LANES]
    cdef const float* found[TAPS * TAPS]
    while first < N:
        width = panel_vectors(N - first) * kernels().lanes
        columns = min(width, N - first)
        for t in range(TAPS * TAPS):
            found[t] = taps[t]
            copy_strided(
                &w[t // TAPS, t % TAPS, c, first], w.strides[3] // sizeof(float), columns, taps[t]
            )
            for o in range(columns, width):
                taps[t][o] = 0
        kernels().expand_weights(found, 0, width, U + c * width, apart(w.shape[2] * width))
        U += PRODUCTS * apart(w.shape[2] * width)
        first += width


cdef void correlate_block(
    const Grid* grid, Py_ssize_t first, Py_ssize_t tiles, const Images* x, Py_ssize_t C,
    Images y, Py_ssize_t N, const float* U, const float* bias, bint relu, unsigned char* broken,
    float* V, float* M,
) noexcept nogil:
    """Compute so many tiles of outputs, and mark the images where one is not finite."""
    cdef Py_ssize_t V_step = apart(tiles * C), panel = 0, zero = 0, M_step, vectors, t, p
    cdef const float* pixels[OUTPUTS * OUTPUTS]
    cdef Product product = no_product()
    product.taps, product.K, product.offset = 1, C, &zero
    product.a_row, product.a_step = C, 1
    transform(kernels().expand_input, grid, first, tiles, x, C, V, C, V_step)  # V = B^T d B
    while panel < N:
        vectors = panel_vectors(N - panel)
        product.columns = product.b_step = product.c_row = vectors * kernels().lanes
        M_step = apart(tiles * product.columns)
        for p in range(PRODUCTS):  # M[p] = V[p] U[p]
            product.A, product.B, product.C = V + p * V_step, U, M + p * M_step
            multiply(&product, tiles, vectors)
            U += apart(C * product.columns)
        for t in range(tiles):  # y = A^T M A
            find_pixels(grid, first + t, &y, pixels)
            if not kernels().reduce_output(
                M + t * product.columns, M_step, min(product.columns, N - panel),
                <float* const*> pixels, bias + panel if bias else NULL, relu,
            ):
                broken[(first + t) // grid.count] = True
        y.data += product.columns
        panel += product.columns


# --------------------------------------------------------------------------------- weight gradient


cdef bint weight_grad_part(
    const Grid* grid, Py_ssize_t first, Py_ssize_t last, Images x, Py_ssize_t C, Images g,
    Py_ssize_t N, float* dw, Py_ssize_t dw_row, Py_ssize_t dw_tap, float* V, float* dM, float* dU,
) noexcept nogil:
    """dw[:, :, :C, :N] = the sum over tiles first to last; return whether all of it is finite."""
    cdef Py_ssize_t width = padded(N), V_step = apart(BLOCK * C), M_step = apart(BLOCK * width)
    cdef Py_ssize_t U_step = apart(C * width), zero = 0, tiles, panel, vectors, t, p, c
    cdef float* taps[TAPS * TAPS]
    cdef bint finite = True
    cdef Product product = no_product()
    product.taps, product.offset, product.a_row, product.a_step = 1, &zero, 1, C
    product.b_step = product.c_row = width
    if first == last:
        return finite
    while first < last:
        tiles = product.K = min(BLOCK, last - first)
        transform(kernels().expand_input, grid, first, tiles, &x, C, V, C, V_step)  # V = B^T d B
        transform(kernels().expand_grad, grid, first, tiles, &g, N, dM, width, M_step)  # A g A^T
        for p in range(PRODUCTS):  # dU[p] += V[p]^T dM[p]
            panel = 0
            while panel < width:
                vectors = panel_vectors(width - panel)
                product.columns = width - panel
                product.A, product.B = V + p * V_step, dM + p * M_step + panel
                product.C = dU + p * U_step + panel
                multiply(&product, C, vectors)
                panel += vectors * kernels().lanes
        product.accumulate = True
        first += tiles
    for c in range(C):  # dw = G^T dU G
        for t in range(TAPS * TAPS):
            taps[t] = dw + t * dw_tap + c * dw_row
        finite &= kernels().reduce_weight_grad(dU + c * width, U_step, N, taps, NULL, False)
    return finite
