"""All gradients of a 1x1 convolution, with ReLU or without, in one pass over memory.

For a tile of pixels, while it is in cache:

    g  = g where out > 0, else 0    (with ReLU)
    db += sum over p of  g[p]
    dw += x.T @ g
    dx  = g @ w.T

With ReLU, apart from each other these would read or write eight arrays as large as the image, not
four; without, five instead of three.
"""

import numpy as np

from cython.parallel cimport prange, threadid
from libc.string cimport memset

from .blas cimport threads_for_sums
from .direct cimport multiply, no_product, pack, panel_vectors
from .isa cimport Product, Soon, kernels
from .parallel cimport threads_for
from .window cimport ceil_div

from .allocator import new_array

AVAILABLE = kernels().lanes > 0

cdef enum:
    BYTES = 256 * 1024  # that a tile has of all arrays together, about


# One tile after the other, in the order of the pixels; each part of the sums has its own.
cdef struct Tiles:
    Py_ssize_t pixels, P     # of a tile, of all
    Py_ssize_t C_in, C_out
    Py_ssize_t masked_row    # floats from a pixel to the next of the masked g


def grads(
    const float[:, ::1] g, const float[:, ::1] out, const float[:, ::1] x,
    const float[:, :, :, :] turned, float[:, ::1] dx, float[:, :, ::1] dw, float[:, ::1] db,
):
    """Compute dx; add to dw[part] and set db[part] for equal parts of the pixels.

    Args:
        g: (P, C_out), the gradient of the output.
        out: (P, C_out), the output; or None without ReLU.
        x: (P, C_in), the input.
        turned: (1, 1, C_out, C_in), the transposed weights.
        dx: (P, C_in), or None if it is not wanted.
        dw: (parts, C_in, C_out), zeros.
        db: (parts, C_out), or None if it is not wanted.
    """
    cdef Tiles tiles
    cdef int lanes = kernels().lanes
    tiles.P, tiles.C_in, tiles.C_out = x.shape[0], x.shape[1], g.shape[1]
    tiles.pixels = max(BYTES // (8 * (tiles.C_in + tiles.C_out)), 1)
    tiles.masked_row = ceil_div(tiles.C_out, lanes) * lanes
    cdef Py_ssize_t parts = dw.shape[0], count = ceil_div(tiles.P, tiles.pixels), part, tile
    cdef int threads = threads_for_sums(tiles.P * tiles.C_in, 2 * tiles.C_out)
    cdef Py_ssize_t[::1] zero = np.zeros(1, np.intp)
    cdef Py_ssize_t panels = ceil_div(tiles.C_in, lanes) * lanes
    cdef float[::1] packed = new_array((panels * tiles.C_out,), np.float32)
    pack(turned, 1, &packed[0])

    cdef Product forth = no_product(), back = no_product()
    back.taps, back.K, back.offset, back.a_step = 1, tiles.C_out, &zero[0], 1
    back.a_row, back.c_row, back.B = tiles.masked_row, tiles.C_in, &packed[0]
    forth.taps, forth.offset, forth.a_row, forth.a_step = 1, &zero[0], 1, tiles.C_in
    forth.b_step, forth.c_row, forth.accumulate = tiles.masked_row, tiles.C_out, True

    cdef const float* output = NULL
    if out is not None:
        output = &out[0, 0]
    cdef bint as_it_is = out is None and tiles.masked_row == tiles.C_out
    cdef Py_ssize_t scratch_size = 0 if as_it_is else tiles.pixels * tiles.masked_row
    cdef float[:, ::1] scratch = new_array((threads, scratch_size), np.float32)
    for part in prange(parts, nogil=True, num_threads=threads):
        if db is not None:
            memset(&db[part, 0], 0, tiles.C_out * sizeof(float))
        for tile in range(count * part // parts, count * (part + 1) // parts):
            grads_tile(
                &tiles, tile * tiles.pixels, &g[0, 0], output, &x[0, 0],
                NULL if dx is None else &dx[0, 0], &dw[part, 0, 0],
                NULL if db is None else &db[part, 0], back, forth,
                NULL if as_it_is else &scratch[threadid(), 0],
            )


cdef void grads_tile(
    const Tiles* tiles, Py_ssize_t first, const float* g, const float* out, const float* x,
    float* dx, float* dw, float* db, Product back, Product forth, float* masked,
) noexcept nogil:
    cdef Py_ssize_t pixels = min(tiles.pixels, tiles.P - first), column = 0, vectors
    g += first * tiles.C_out
    x += first * tiles.C_in
    if out != NULL:
        out += first * tiles.C_out
    if masked != NULL or db != NULL:
        kernels().relu_grad(pixels, tiles.C_out, g, out, masked, tiles.masked_row, db)
    if masked == NULL:
        masked = <float*> g  # which is not written any more
    forth.K = pixels
    if dx != NULL:
        dx += first * tiles.C_in
    if dx == NULL or pixels < tiles.C_in:  # during the product with more rows, in smaller pieces
        fetch_next(tiles, g, out, x, dx, pixels, tiles.C_in, &forth.soon)
    else:
        fetch_next(tiles, g, out, x, dx, pixels, pixels, &back.soon)
    while column < tiles.C_out:  # dw += x.T @ g
        vectors = panel_vectors(tiles.C_out - column)
        forth.columns = tiles.C_out - column
        forth.A, forth.B, forth.C = x, masked + column, dw + column
        multiply(&forth, tiles.C_in, vectors)
        column += vectors * kernels().lanes
        forth.soon.arrays = 0
    if dx == NULL:
        return
    column = 0
    while column < tiles.C_in:  # dx = g @ w.T
        vectors = panel_vectors(tiles.C_in - column)
        back.columns, back.b_step = tiles.C_in - column, vectors * kernels().lanes
        back.A, back.C = masked, dx + column
        multiply(&back, pixels, vectors)
        back.B += back.b_step * tiles.C_out
        column += back.b_step
        back.soon.arrays = 0


cdef void fetch_next(
    const Tiles* tiles, const float* g, const float* out, const float* x, const float* dx,
    Py_ssize_t pixels, Py_ssize_t rows, Soon* soon,
) noexcept nogil:
    """Fetch the next tile during a product of so many rows, also where dx is to be written.

    Else memory rests during the products, and they wait for it afterwards.
    """
    want_soon(soon, g, pixels * tiles.C_out, rows)
    want_soon(soon, x, pixels * tiles.C_in, rows)
    if out != NULL:
        want_soon(soon, out, pixels * tiles.C_out, rows)
    if dx != NULL:
        want_soon(soon, dx, pixels * tiles.C_in, rows)


cdef void want_soon(
    Soon* soon, const float* tile, Py_ssize_t size, Py_ssize_t rows
) noexcept nogil:
    soon.at[soon.arrays], soon.row[soon.arrays] = tile + size, ceil_div(size, rows)
    soon.arrays += 1


def relu_grad(
    const float[:, ::1] g, const float[:, ::1] out, float[:, ::1] masked, float[:, ::1] db
):
    """masked = g where out > 0, else 0; db[part] = its sum over an equal part of the pixels.

    Without out there is no mask; then masked may be None, too, and sums are all that is computed.
    """
    cdef Py_ssize_t P = g.shape[0], C = g.shape[1], parts = db.shape[0], part, first
    cdef int threads = threads_for(P * C)
    cdef const float* seen = NULL
    cdef float* kept = NULL
    if out is not None:
        seen = &out[0, 0]
    if masked is not None:
        kept = &masked[0, 0]
    for part in prange(parts, nogil=True, num_threads=threads):
        first = P * part // parts
        memset(&db[part, 0], 0, C * sizeof(float))
        kernels().relu_grad(
            P * (part + 1) // parts - first, C, &g[first, 0], seen + first * C if seen else NULL,
            kept + first * C if kept else NULL, C, &db[part, 0],
        )
