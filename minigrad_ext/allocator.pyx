"""Where every large result and all scratch comes from: memory that was in use a moment ago.

The system hands out memory in pages that it zeroes at their first touch, and that takes longer
than the arithmetic: a ReLU over 12.8 MB needs 0.3 ms in warm memory and 4.3 ms in fresh (two cores
of an AMD Zen 4). So what an array leaves behind is kept and lent to others.

A `Region` of pages is cut into stretches, in the order of their addresses. An array borrows the
smallest free one that is large enough, and what it does not need is cut off. Of several it takes
the one that was returned last, so most arrays lie where one of their size lay before: loops cut
arrays of one size in the same way, and each core finds its part in its own cache. What is done
where it does not, is in owners.pyx.

Free neighbours are joined when no free stretch suffices. So the batch's arrays of all sizes share
what is there. Small arrays, weight gradients for instance, lie in regions of their own: one of them
would keep the memory on both its sides apart. The pages touched are 3 to 18 % more than what is
lent at once when networks train.

How much is kept is bounded twice: what is lent and kept together to a quarter more than what was
lent at the highest point of late, or 16 MB more if that is little, and what is kept to
MINIGRAD_CACHE_MB (1024). Memory that lies before an array in use cannot go, and may exceed both. 0
switches all of this off and leaves the arrays to NumPy, as tools that look for errors in the use of
memory want it.

All of it happens under the GIL, and a forked child has a copy of it.
"""

import mmap
import os
from contextlib import suppress

import numpy as np

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport PTRDIFF_MAX, uintptr_t

from .owners cimport Owners

cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, uintptr_t address, size_t size)
    int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t address)

cdef enum:
    LARGE = 16384                 # numbers; below, malloc is warm and quicker
    REGION = 256 * 1024 * 1024    # bytes, of addresses alone until they are touched
    CUT = 16 * 1024               # bytes that are worth cutting off
    SMALL = 256 * 1024            # bytes, below which arrays lie in regions of their own
    SPARE = 4                     # one part in so many may be kept beyond the highest point,
    LITTLE = 16 * 1024 * 1024     # or so many bytes,
    PERIOD = 4096                 # which is that of at least so many arrays
    NUMPY_DOMAIN = 389047         # in which tracemalloc looks for arrays

cdef Py_ssize_t PAGE = mmap.PAGESIZE
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


@cython.final
@cython.no_gc
cdef class Stretch:
    """Part of a region: free, or lent to an array."""

    cdef Py_ssize_t start, size
    cdef bint free
    cdef Py_ssize_t returned  # counts all returns; 0 for what was cut off or joined


@cython.final
@cython.no_gc
cdef class Region:
    """Pages in a row, which go back to the system when this object does."""

    cdef object pages
    cdef char* address
    cdef Py_ssize_t size
    cdef bint small  # for small arrays, or for the others
    cdef Py_ssize_t touched  # so many bytes at the beginning were ever lent
    cdef list stretches
    cdef Owners owners

    def __cinit__(self, Py_ssize_t size, bint small):
        cdef unsigned char[::1] view
        self.pages = mmap.mmap(-1, size, **_PRIVATE)
        if hasattr(mmap, "MADV_HUGEPAGE") and not small:  # few of them would fill one
            with suppress(OSError):  # a kernel without huge pages
                self.pages.madvise(mmap.MADV_HUGEPAGE)
        view = self.pages
        self.address, self.size, self.small = <char*> &view[0], size, small
        self.stretches = [new_stretch(0, size)]
        self.owners = Owners(size)


cdef list regions = []
cdef Py_ssize_t lent_bytes = 0, touched_bytes = 0
cdef Py_ssize_t highest = 0, highest_before = 0  # lent_bytes, in this period and in the last
cdef Py_ssize_t borrowed = 0, returned = 0       # how many stretches, ever
cdef Py_ssize_t busy = 0  # how many calls are at work here: see give_back


@cython.final
@cython.no_gc
cdef class Loan:
    """A stretch while an array lies in it: the `base` of that array."""

    cdef Region region
    cdef Stretch stretch
    cdef Py_ssize_t size  # of the array

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.region, self.stretch = borrow((size + PAGE - 1) // PAGE * PAGE)
        if not self.region.small:  # one thread at a time works on small arrays
            self.region.owners.hand_over(self.region.address, self.stretch.start, size)
        PyTraceMalloc_Track(NUMPY_DOMAIN, <uintptr_t> self.address(), size)

    def __dealloc__(self):
        if self.stretch is None:  # there was no memory
            return
        PyTraceMalloc_Untrack(NUMPY_DOMAIN, <uintptr_t> self.address())
        give_back(self.stretch)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.address(), self.size, False, flags)

    cdef char* address(self) noexcept:
        return self.region.address + self.stretch.start


def new_array(tuple shape, dtype):
    """Return an uninitialised, C-contiguous array; a large one begins at a multiple of 64 bytes.

    Raises:
        MemoryError: there is not enough memory.
    """
    cdef double numbers = 1  # which cannot overflow
    for size in shape:
        numbers *= size
    # Busy: a finalizer that the collector runs while a stretch is being chosen, see give_back.
    if numbers < LARGE or limit == 0 or busy:
        return np.empty(shape, dtype)
    dtype = np.dtype(dtype)
    cdef double size_in_bytes = numbers * dtype.itemsize
    if size_in_bytes > PTRDIFF_MAX // 2:
        return np.empty(shape, dtype)  # which says that there is not so much
    return np.ndarray(shape, dtype, Loan(<Py_ssize_t> size_in_bytes))


cdef tuple borrow(Py_ssize_t size):
    """A free stretch of at least this size, with its region."""
    global lent_bytes, touched_bytes, highest, highest_before, borrowed, busy
    cdef Region region
    cdef Stretch stretch
    busy += 1
    try:
        region, stretch = cut_off(size)
    finally:
        busy -= 1
    touched = max(region.touched, stretch.start + stretch.size)
    touched_bytes += touched - region.touched
    region.touched = touched
    borrowed += 1
    if borrowed % PERIOD == 0:
        highest_before, highest = highest, 0
    lent_bytes += stretch.size
    highest = max(highest, lent_bytes)
    return region, stretch


cdef tuple cut_off(Py_ssize_t size):
    """A stretch of this size, or little more, that is free no more, with its region."""
    cdef Region region
    cdef Stretch stretch
    region, stretch = smallest(size)
    if stretch is None or stretch.start + size > region.touched:
        for region in regions:
            join(region)
        region, stretch = smallest(size)
    if stretch is None:
        region = new_region(size)
        stretch = region.stretches[0]
    if stretch.size - size >= CUT:
        region.stretches.insert(
            region.stretches.index(stretch) + 1,
            new_stretch(stretch.start + size, stretch.size - size),
        )
        stretch.size = size
    stretch.free = False
    return region, stretch


cdef tuple smallest(Py_ssize_t size):
    """The smallest free stretch of at least this size and, of these, the last one returned."""
    cdef Region region, best_region = None
    cdef Stretch stretch, best = None
    for region in regions:
        if region.small != (size < SMALL):
            continue
        for stretch in region.stretches:
            if stretch.free and stretch.size >= size and (
                best is None
                or stretch.size < best.size
                or (stretch.size == best.size and stretch.returned > best.returned)
            ):
                best, best_region = stretch, region
    return best_region, best


cdef void join(Region region) noexcept:
    """Make one stretch of free neighbours."""
    cdef list joined = []
    cdef Stretch stretch, last = None
    for stretch in region.stretches:
        if last is not None and last.free and stretch.free:
            last.size += stretch.size
            last.returned = 0
        else:
            joined.append(stretch)
            last = stretch
    region.stretches = joined


cdef void give_back(Stretch stretch) noexcept:
    """Let others have a stretch, and keep to the bounds.

    Python may look for garbage whenever this module makes a tuple or a list, and find arrays. Then
    stretches that are just being looked at must stay as they are; the next return keeps the bounds.
    """
    global lent_bytes, returned
    returned += 1
    lent_bytes -= stretch.size
    stretch.free = True
    stretch.returned = returned
    if not busy:
        trim()


cdef Stretch new_stretch(Py_ssize_t start, Py_ssize_t size):
    cdef Stretch stretch = Stretch.__new__(Stretch)
    stretch.start, stretch.size, stretch.free, stretch.returned = start, size, True, 0
    return stretch


cdef Region new_region(Py_ssize_t size):
    """A region with room for so many bytes, for which others may have to go."""
    for attempt, others_go in ((max(size, REGION), False), (size, False), (size, True)):
        if others_go:
            shrink_all()
        with suppress(OSError, ValueError):  # what mmap raises
            regions.append(Region(attempt, size < SMALL))
            return regions[len(regions) - 1]
    raise MemoryError(
        f"minigrad: there is no memory for another array of {size} bytes; use smaller batches"
    )


# ------------------------------------------------------------------------------- giving memory back


cdef void trim() noexcept:
    """Keep to both bounds, the youngest regions first."""
    global busy
    cdef Py_ssize_t most = max(highest, highest_before)
    cdef Py_ssize_t bound = min(most + max(most // SPARE, LITTLE), lent_bytes + limit), i
    busy += 1
    for i in range(len(regions) - 1, -1, -1):
        if touched_bytes <= bound:
            break
        shrink(<Region> regions[i])
    busy -= 1


cdef void shrink(Region region) noexcept:
    """Give the system what follows the last stretch that is lent, or the whole region."""
    global touched_bytes
    join(region)
    cdef Stretch last = region.stretches[len(region.stretches) - 1]
    cdef Py_ssize_t end = last.start if last.free else last.start + last.size
    touched_bytes -= max(region.touched - end, 0)
    if end == 0:
        regions.remove(region)
    elif end < region.touched and hasattr(mmap, "MADV_DONTNEED"):
        region.pages.madvise(mmap.MADV_DONTNEED, end, region.touched - end)
    region.touched = min(region.touched, end)


def empty_cache():
    """Give memory back to the system that is kept for arrays to come.

    What lies between arrays that are still in use stays.
    """
    if not busy:  # else a finalizer calls, see give_back
        shrink_all()


cdef void shrink_all() noexcept:
    global busy
    cdef Py_ssize_t i
    busy += 1
    for i in range(len(regions) - 1, -1, -1):
        shrink(<Region> regions[i])
    busy -= 1


def held():
    """Return how many bytes are lent to arrays, and how many are kept for arrays to come."""
    return lent_bytes, touched_bytes - lent_bytes


def _limit(megabytes):
    if not megabytes.isdecimal():
        raise ValueError(
            "MINIGRAD_CACHE_MB: expected how many megabytes of freed memory to keep, got "
            f"{megabytes!r}; use 0 to keep none"
        )
    return int(megabytes) * 2**20


cdef Py_ssize_t limit = _limit(os.environ.get("MINIGRAD_CACHE_MB", "1024"))
