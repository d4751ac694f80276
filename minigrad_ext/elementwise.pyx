"""relu, its gradient, and erf, on arrays of any shape; what they compute is in reference.py."""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc cimport math

from .parallel cimport threads_for

# Numbers that a thread takes at a time. An array is cut in the same places for any thread count.
cdef enum:
    BLOCK = 8192


def relu(x):
    y = np.empty(x.shape, x.dtype)
    _relu(x.reshape(-1), y.reshape(-1))
    return y


def _relu(const floating[::1] x, floating[::1] y):
    cdef Py_ssize_t size = x.shape[0], start
    for start in prange(0, size, BLOCK, nogil=True, num_threads=threads_for(size)):
        _relu_block(&x[start], &y[start], min(BLOCK, size - start))


cdef void _relu_block(const floating* x, floating* y, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = 0 if x[i] < 0 else x[i]  # this way round NaN stays


def relu_grad(g, out):
    dx = np.empty(g.shape, g.dtype)
    _relu_grad(g.reshape(-1), out.reshape(-1), dx.reshape(-1))
    return dx


def _relu_grad(const floating[::1] g, const floating[::1] out, floating[::1] dx):
    cdef Py_ssize_t size = g.shape[0], start
    for start in prange(0, size, BLOCK, nogil=True, num_threads=threads_for(size)):
        _relu_grad_block(&g[start], &out[start], &dx[start], min(BLOCK, size - start))


cdef void _relu_grad_block(
    const floating* g, const floating* out, floating* dx, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad
    for i in range(size):
        grad = g[i]  # read in any case: a load behind a condition could not be vectorised
        dx[i] = 0 if out[i] <= 0 else grad  # this way round NaN lets it pass


def erf(x):
    y = np.empty(x.shape, x.dtype)
    _erf(x.reshape(-1), y.reshape(-1))
    return y


def _erf(const floating[::1] x, floating[::1] y):
    cdef Py_ssize_t size = x.shape[0], start
    # one erf costs as much as passing over tens of numbers
    for start in prange(0, size, BLOCK // 16, nogil=True, num_threads=threads_for(16 * size)):
        _erf_block(&x[start], &y[start], min(BLOCK // 16, size - start))


cdef void _erf_block(const floating* x, floating* y, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = math.erff(x[i]) if floating is float else math.erf(x[i])
