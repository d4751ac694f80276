"""Where every large result and all scratch comes from: memory that was in use a moment ago.

The system hands out memory in pages that it zeroes at their first touch, and that takes longer
than the arithmetic: a ReLU over 12.8 MB needs 0.3 ms in warm memory and 4.3 ms in fresh (two cores
of an AMD Zen 4). So what an array leaves behind is kept, and lent to the next one of about its
size, the latest first, because it is still in the cache.

How much is kept is bounded twice. Lent and kept memory together are at most an eighth more than
what was lent at the highest point of late, so keeping raises the peak by little, and a program
that goes on with less gets the rest back. And no more than MINIGRAD_CACHE_MB (1024) are kept; 0
switches all of this off, which leaves the arrays to NumPy, as tools that look for errors in the
use of memory want it.

All of it happens under the GIL, and a forked child has the pool as a copy of its own.
"""

import mmap
import os
from contextlib import suppress

import numpy as np

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport PTRDIFF_MAX, uintptr_t

cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, uintptr_t address, size_t size)
    int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t address)

cdef enum:
    LARGE = 16384           # numbers; below, malloc is warm and quicker
    SPARE = 8               # a stretch may be larger than asked for by one part in so many
    HUGE = 4 * 1024 * 1024  # bytes from which on huge pages are asked for
    PERIOD = 4096           # stretches; the highest point is that of at least so many
    NUMPY_DOMAIN = 389047   # in which tracemalloc looks for arrays

cdef Py_ssize_t PAGE = mmap.PAGESIZE
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


@cython.final
@cython.no_gc
cdef class Stretch:
    """Some pages of memory, which go back to the system when this object does."""

    cdef object pages
    cdef void* start
    cdef Py_ssize_t size

    def __cinit__(self, Py_ssize_t size):
        cdef unsigned char[::1] view
        self.pages = mmap.mmap(-1, size, **_PRIVATE)
        if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without huge pages
                self.pages.madvise(mmap.MADV_HUGEPAGE)
        view = self.pages
        self.start, self.size = &view[0], size


@cython.final
@cython.no_gc
cdef class Loan:
    """A stretch while an array lies in it: the `base` of that array."""

    cdef Stretch stretch
    cdef Py_ssize_t size  # of the array

    def __cinit__(self, Py_ssize_t size):
        self.stretch, self.size = borrow(size), size
        PyTraceMalloc_Track(NUMPY_DOMAIN, <uintptr_t> self.stretch.start, size)

    def __dealloc__(self):
        if self.stretch is None:  # there was no memory
            return
        PyTraceMalloc_Untrack(NUMPY_DOMAIN, <uintptr_t> self.stretch.start)
        give_back(self.stretch)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.stretch.start, self.size, False, flags)


cdef list kept = []  # the stretch that came back last is at the end
cdef Py_ssize_t kept_bytes = 0, lent_bytes = 0
cdef Py_ssize_t highest = 0, highest_before = 0  # lent_bytes, in this period and in the last
cdef Py_ssize_t borrowed = 0                     # how many stretches, ever


def new_array(tuple shape, dtype):
    """Return an uninitialised, C-contiguous array; a large one begins at a multiple of 64 bytes.

    Raises:
        MemoryError: there is not enough memory.
    """
    cdef double numbers = 1  # which cannot overflow
    for size in shape:
        numbers *= size
    if numbers < LARGE or limit == 0:
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    cdef double size_in_bytes = numbers * dtype.itemsize
    if size_in_bytes > PTRDIFF_MAX // 2:
        return np.empty(shape, dtype)  # which says that there is not so much
    return np.ndarray(shape, dtype, Loan(<Py_ssize_t> size_in_bytes))


cdef Stretch borrow(Py_ssize_t size):
    """A kept stretch of about this size, or else a new one."""
    global kept_bytes, lent_bytes, highest, highest_before, borrowed
    cdef Stretch stretch
    cdef Py_ssize_t i
    for i in range(len(kept) - 1, -1, -1):
        stretch = kept[i]
        if size <= stretch.size <= size + size // SPARE:
            del kept[i]
            kept_bytes -= stretch.size
            break
    else:
        stretch = new_stretch(size)
    borrowed += 1
    if borrowed % PERIOD == 0:
        highest_before, highest = highest, 0
    lent_bytes += stretch.size
    highest = max(highest, lent_bytes)
    return stretch


cdef Stretch new_stretch(Py_ssize_t size):
    size = (size + PAGE - 1) // PAGE * PAGE
    trim(size)
    try:
        return Stretch(size)
    except (OSError, ValueError):  # what mmap raises
        empty_cache()
    try:
        return Stretch(size)
    except (OSError, ValueError):
        raise MemoryError(
            f"minigrad: there is no memory for another array of {size} bytes; use smaller batches"
        ) from None


cdef void give_back(Stretch stretch) noexcept:
    global kept_bytes, lent_bytes
    lent_bytes -= stretch.size
    kept_bytes += stretch.size
    kept.append(stretch)
    trim(0)


cdef void trim(Py_ssize_t coming) noexcept:
    """Let the oldest go until what is kept is within both bounds, with so much about to be lent."""
    global kept_bytes
    cdef Py_ssize_t lent = lent_bytes + coming, most = max(highest, highest_before, lent)
    cdef Py_ssize_t bound = min(most + most // SPARE - lent, limit)
    while kept_bytes > bound:
        kept_bytes -= (<Stretch> kept.pop(0)).size


def empty_cache():
    """Give the memory back to the system that is kept for arrays to come."""
    global kept_bytes
    kept_bytes = 0
    kept.clear()


def held():
    """Return how many bytes are lent to arrays, and how many are kept for arrays to come."""
    return lent_bytes, kept_bytes


def _limit(megabytes):
    if not megabytes.isdecimal():
        raise ValueError(
            "MINIGRAD_CACHE_MB: expected how many megabytes of freed memory to keep, got "
            f"{megabytes!r}; use 0 to keep none"
        )
    return int(megabytes) * 2**20


cdef Py_ssize_t limit = _limit(os.environ.get("MINIGRAD_CACHE_MB", "1024"))
