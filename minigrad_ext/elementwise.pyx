"""Sums, relu of them, its gradient, erf, on arrays of any shape; computed as in reference/.

And what gradients that are summed in parts begin and end with: zeros, and the sum of the parts.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memset

from . cimport special
from .parallel cimport threads_for
from .simd cimport avx2_void
from .window cimport ceil_div

from .allocator import new_array

cdef enum:
    BLOCK = 8192  # numbers that a thread takes at a time
    SUMS = 2048   # those that stay in a core's cache while parts are added to them
    ERF = 16  # how many times as long as a relu an erf takes, about

# What is done to so many numbers of x and y; where there is no y, it is x.
ctypedef void (*Loop)(const void* x, const void* y, void* out, Py_ssize_t size) noexcept nogil

# How SUMS of `size` numbers, from `start` on, become the sum of those in so many parts.
ctypedef void (*Sum)(
    const void* parts, void* out, Py_ssize_t count, Py_ssize_t size, Py_ssize_t start
) noexcept nogil


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


def zeros(tuple shape, dtype):
    out = new_array(shape, dtype)
    cdef Py_ssize_t size = out.nbytes, block = BLOCK * sizeof(float), start
    if size == 0:
        return out
    cdef char* to = address(out)
    cdef int threads = threads_for(size // sizeof(float))
    with nogil:
        if threads == 1:
            memset(to, 0, size)
        else:
            for start in prange(0, size, block, num_threads=threads):
                memset(to + start, 0, min(block, size - start))
    return out


def total(parts):
    """Return parts[0] + parts[1] + ..., summed in this order."""
    out = new_array(parts.shape[1:], parts.dtype)
    cdef Py_ssize_t count = len(parts), size = out.size, blocks = ceil_div(size, SUMS), block
    if size == 0:
        return out
    cdef const char* from_ = address(parts)
    cdef char* to = address(out)
    cdef Sum sum_block = <Sum> _total[double]
    if out.itemsize == sizeof(float):
        sum_block = <Sum> _total[float]
    cdef int threads = threads_for(count * size)
    with nogil:
        if threads == 1:
            for block in range(blocks):
                sum_block(from_, to, count, size, block * SUMS)
        else:
            for block in prange(blocks, num_threads=threads):
                sum_block(from_, to, count, size, block * SUMS)
    return out


cdef void _total(
    const floating* parts, floating* out, Py_ssize_t count, Py_ssize_t size, Py_ssize_t start
) noexcept nogil:
    cdef Py_ssize_t end = min(start + SUMS, size), _, i
    for i in range(start, end):
        out[i] = parts[i]
    for _ in range(1, count):
        parts += size
        for i in range(start, end):
            out[i] += parts[i]


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
