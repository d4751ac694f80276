"""Sums, relu of them, its gradient, erf, on arrays of any shape; computed as in reference/."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython cimport floating
from cython.parallel cimport prange

from . cimport special
from .parallel cimport threads_for
from .simd cimport avx2_void

from .allocator import new_array

cdef enum:
    BLOCK = 8192  # numbers that a thread takes at a time
    ERF = 16  # how many times as long as a relu an erf takes, about

# What is done to so many numbers of x and y; where there is no y, it is x.
ctypedef void (*Loop)(const void* x, const void* y, void* out, Py_ssize_t size) noexcept nogil


def add(x, y):
    return apply(<Loop> _add[float], <Loop> _add[double], x, y, 1)


cdef void _add(
    const floating* x, const floating* y, floating* total, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        total[i] = x[i] + y[i]


def add_relu(x, y):
    return apply(<Loop> _add_relu[float], <Loop> _add_relu[double], x, y, 1)


cdef void _add_relu(
    const floating* x, const floating* y, floating* out, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating total
    for i in range(size):
        total = x[i] + y[i]
        out[i] = 0 if total < 0 else total  # this way round NaN stays


def relu(x):
    return apply(<Loop> _relu[float], <Loop> _relu[double], x, x, 1)


cdef void _relu(const floating* x, const floating* _, floating* y, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = 0 if x[i] < 0 else x[i]  # this way round NaN stays


def relu_grad(g, out):
    return apply(<Loop> _relu_grad[float], <Loop> _relu_grad[double], g, out, 1)


cdef void _relu_grad(
    const floating* g, const floating* out, floating* dx, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    cdef floating grad
    for i in range(size):
        grad = g[i]  # read in any case: a load behind a condition could not be vectorised
        dx[i] = 0 if out[i] <= 0 else grad  # this way round NaN lets it pass


def erf(x):
    return apply(<Loop> _erf[float], <Loop> _erf[double], x, x, ERF)


cdef avx2_void _erf(
    const floating* x, const floating* _, floating* y, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        y[i] = special.erf(x[i])


# ---------------------------------------------------------------------------------------- the loops


cdef apply(Loop floats, Loop doubles, x, y, Py_ssize_t work):
    """What the loop for this dtype makes of x and y; a number takes so many times as in a relu.

    By addresses, not memoryviews: three of those take as long to make as all of the rest.
    """
    out = new_array(x.shape, x.dtype)
    cdef Py_ssize_t size = out.size, itemsize = out.itemsize, block = BLOCK // work, start
    if size == 0:
        return out
    cdef const char* from_x = address(x)
    cdef const char* from_y = address(y)
    cdef char* to = address(out)
    cdef Loop loop = floats if itemsize == sizeof(float) else doubles
    cdef int threads = threads_for(work * size)
    with nogil:
        if threads == 1:
            loop(from_x, from_y, to, size)
        else:
            for start in prange(0, size, block, num_threads=threads):
                loop(
                    from_x + start * itemsize, from_y + start * itemsize, to + start * itemsize,
                    min(block, size - start),
                )
    return out


cdef char* address(array) except NULL:
    """Where the numbers of a C-contiguous array lie, for as long as it lives."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return <char*> view.buf
