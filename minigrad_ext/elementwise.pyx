"""Sums, relu, its gradient, erf, on arrays of any shape; what they compute is in reference.py."""

from cython cimport floating
from cython.parallel cimport prange

from . cimport special
from .parallel cimport threads_for
from .simd cimport avx2_void

from .allocator import new_array

cdef enum:
    BLOCK = 8192  # numbers that a thread takes at a time
    ERF = 16  # how many times as long as a relu an erf takes, about


# -------------------------------------------------------------------------------------------- add


def add(x, y):
    total = new_array(x.shape, x.dtype)
    if total.size:
        _add(x.ravel(), y.ravel(), total.ravel())
    return total


def _add(const floating[::1] x, const floating[::1] y, floating[::1] total):
    cdef Py_ssize_t size = x.shape[0], start
    cdef int threads = threads_for(size)
    with nogil:
        if threads == 1:
            _add_block(&x[0], &y[0], &total[0], size)
        else:
            for start in prange(0, size, BLOCK, num_threads=threads):
                _add_block(&x[start], &y[start], &total[start], min(BLOCK, size - start))


cdef void _add_block(
    const floating* x, const floating* y, floating* total, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        total[i] = x[i] + y[i]


# ------------------------------------------------------------------------------------------- relu


def relu(x):
    y = new_array(x.shape, x.dtype)
    if y.size:
        _relu(x.ravel(), y.ravel())
    return y


def _relu(const floating[::1] x, floating[::1] y):
    cdef Py_ssize_t size = x.shape[0], start
    cdef int threads = threads_for(size)
    with nogil:
        if threads == 1:
            _relu_block(&x[0], &y[0], size)
        else:
            for start in prange(0, size, BLOCK, num_threads=threads):
                _relu_block(&x[start], &y[start], min(BLOCK, size - start))


cdef void _relu_block(const floating* x, floating* y, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = 0 if x[i] < 0 else x[i]  # this way round NaN stays


def relu_grad(g, out):
    dx = new_array(g.shape, g.dtype)
    if dx.size:
        _relu_grad(g.ravel(), out.ravel(), dx.ravel())
    return dx


def _relu_grad(const floating[::1] g, const floating[::1] out, floating[::1] dx):
    cdef Py_ssize_t size = g.shape[0], start
    cdef int threads = threads_for(size)
    with nogil:
        if threads == 1:
            _relu_grad_block(&g[0], &out[0], &dx[0], size)
        else:
            for start in prange(0, size, BLOCK, num_threads=threads):
                _relu_grad_block(&g[start], &out[start], &dx[start], min(BLOCK, size - start))


cdef void _relu_grad_block(
    const floating* g, const floating* out, floating* dx, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad
    for i in range(size):
        grad = g[i]  # read in any case: a load behind a condition could not be vectorised
        dx[i] = 0 if out[i] <= 0 else grad  # this way round NaN lets it pass


# -------------------------------------------------------------------------------------------- erf


def erf(x):
    y = new_array(x.shape, x.dtype)
    if y.size:
        _erf(x.ravel(), y.ravel())
    return y


def _erf(const floating[::1] x, floating[::1] y):
    cdef Py_ssize_t size = x.shape[0], start
    cdef int threads = threads_for(ERF * size)
    with nogil:
        if threads == 1:
            _erf_block(&x[0], &y[0], size)
        else:
            for start in prange(0, size, BLOCK // ERF, num_threads=threads):
                _erf_block(&x[start], &y[start], min(BLOCK // ERF, size - start))


cdef avx2_void _erf_block(const floating* x, floating* y, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = special.erf(x[i])
