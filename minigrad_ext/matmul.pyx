"""Products of matrices and of stacks of matrices, in tiles of the result.

The tiles depend on the sizes alone, so that the number of threads does not change a single bit.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange

from .blas cimport gemm, preferred_rows, threads_for_sums

from .allocator import new_array
from .blas import check_dimensions

cdef enum:
    COLUMNS = 512  # of a tile: with fewer, BLAS would pack the rows of a too often


def matmul(a, b):
    *leading, K = a.shape
    *_, K, N = b.shape
    c = new_array((*leading, N), a.dtype)
    (a, a_order), (b, b_order) = readable(a), readable(b)
    multiply(stack(a), stack(b), stack(c), a_order, b_order)
    return c


def stack(matrices):
    """One matrix as a stack of one."""
    return matrices if matrices.ndim == 3 else matrices[np.newaxis]


def readable(matrices):
    """Return the matrices and how BLAS has to read them, see order; a copy if it cannot."""
    order = blas_order(matrices)
    if order is None:
        matrices = np.array(matrices, order="C")  # also what ascontiguousarray leaves: misaligned
        order = blas_order(matrices)
    return matrices, order


def blas_order(matrices):
    """Return (transposed, distance of rows) if BLAS can read these matrices in place, else None."""
    itemsize = matrices.itemsize
    if not matrices.flags.aligned or any(stride % itemsize for stride in matrices.strides):
        return None
    *_, rows, columns = matrices.shape
    *_, row_step, column_step = (stride // itemsize for stride in matrices.strides)
    for transposed in (False, True):
        # The step along an axis of one element (or none) has no meaning and may be anything.
        nearest = max(columns, 1)
        if (columns <= 1 or column_step == 1) and (rows <= 1 or row_step >= nearest):
            return transposed, nearest if rows <= 1 else row_step
        rows, columns, row_step, column_step = columns, rows, column_step, row_step
    return None


def multiply(
    const floating[:, :, :] a, const floating[:, :, :] b, floating[:, :, ::1] c,
    a_order, b_order,
):
    """c = a @ b for each matrix of the stacks."""
    cdef Py_ssize_t M = c.shape[1], N = c.shape[2], K = a.shape[2]
    if c.size == 0:
        return
    if K == 0:
        c[...] = 0
        return
    cdef bint a_transposed = a_order[0], b_transposed = b_order[0]
    cdef Py_ssize_t lda = a_order[1], ldb = b_order[1]
    check_dimensions("matmul", N=N, K=K, row_of_a=lda, row_of_b=ldb)

    cdef Py_ssize_t rows = preferred_rows(N, K), columns = COLUMNS
    cdef Py_ssize_t down = (M + rows - 1) // rows, across = (N + columns - 1) // columns
    cdef Py_ssize_t tiles = c.shape[0] * down * across, tile, k, i, j
    cdef int threads = threads_for_sums(c.shape[0] * M * N, K)
    for tile in prange(tiles, nogil=True, num_threads=threads):
        k = tile // (down * across)
        i = tile // across % down * rows
        j = tile % across * columns
        gemm(
            a_transposed, b_transposed, min(rows, M - i), min(columns, N - j), K,
            <floating> 1, &a[k, i, 0], lda, &b[k, 0, j], ldb, <floating> 0, &c[k, i, j], N,
        )
