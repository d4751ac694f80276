"""Memory that goes from one core to another, where they share no cache.

Loops give each thread one part of an array (see parallel.pxd), so that a core has its part in its
own cache. Where memory is lent to an array of another size, much of a core's part was another's.
Writing there means asking that core for each line, one after the other, once it has read what it
wrote: a ReLU of 6.4 MB takes 1.35 ms instead of 0.13 (two core complexes of an AMD Zen 4), and
fetching ahead does not help. Stores past the caches need not ask. So zeros are stored to such lines
first, in 0.08 ms.

Where the cores share a cache that would be work for nothing. So a sample is written, and timed.
"""

from time import perf_counter_ns

from cython.parallel cimport prange
from libc.string cimport memset

from .threads cimport thread_count

cdef extern from *:
    """
    #ifdef __SSE2__
    #include <emmintrin.h>
    #define MINIGRAD_STREAMS 1
    static void minigrad_stream_zeros(char *to, Py_ssize_t size)
    {
        for (Py_ssize_t i = 0; i < size; i += sizeof(__m128i))
            _mm_stream_si128((__m128i *) (to + i), _mm_setzero_si128());
        _mm_sfence();
    }
    #else  /* no such stores that we know of */
    #define MINIGRAD_STREAMS 0
    #define minigrad_stream_zeros(to, size)
    #endif
    """
    const bint STREAMS "MINIGRAD_STREAMS"
    void stream_zeros "minigrad_stream_zeros"(char* to, Py_ssize_t size) noexcept nogil

cdef enum:
    GRANULE = 64 * 1024  # bytes
    SAMPLE = 16 * 1024
    FAR = 12     # ns to write a line, that are too many: 2 to 6 are usual, 20 to 25 from afar
    LOANS = 100  # that are believed to be alike: two or three steps of training

cdef int far = 0  # for so many loans more, the cores are far from each other


cdef class Owners:
    """Of a region: which thread's part of an array lay last in each granule, if any."""

    def __cinit__(self, Py_ssize_t size):
        self.thread = bytearray(size // GRANULE)

    cdef void hand_over(self, char* region, Py_ssize_t start, Py_ssize_t size) noexcept:
        """Make memory of the region ready for an array that begins there."""
        global far
        cdef unsigned char* before = <unsigned char*> <char*> self.thread
        cdef Py_ssize_t threads = thread_count(), granule, changed = 0, sample = -1
        cdef Py_ssize_t first = (start + GRANULE - 1) // GRANULE, end = (start + size) // GRANULE
        if not STREAMS or threads == 1:
            return
        for granule in range(first, end):
            now = owner(granule * GRANULE - start, size, threads)
            if before[granule] != now:
                changed += 1
                if now == 1 and before[granule]:
                    sample = granule  # the last one, which is the most likely to be in a cache
        if far:
            far -= 1
        elif sample >= 0 and is_slow(region + sample * GRANULE):
            far = LOANS
        if changed:
            change(region, before, first, end, start, size, threads)


cdef inline unsigned char owner(Py_ssize_t at, Py_ssize_t size, Py_ssize_t threads) noexcept nogil:
    """Whose part of an array of this size a byte is in."""
    return <unsigned char> min(1 + at * threads // size, 255)


cdef bint is_slow(char* sample) noexcept:
    """Whether it takes this core, the first thread's, long to write what was another's."""
    before = perf_counter_ns()
    memset(sample, 0, SAMPLE)
    return perf_counter_ns() - before > FAR * SAMPLE // 64


cdef void change(
    char* region, unsigned char* before, Py_ssize_t first, Py_ssize_t end,
    Py_ssize_t start, Py_ssize_t size, Py_ssize_t threads,
) noexcept nogil:
    """Note the new owners, and take out of all caches what was another's."""
    cdef Py_ssize_t granule
    cdef unsigned char now
    for granule in prange(first, end, num_threads=<int> threads if far else 1):
        now = owner(granule * GRANULE - start, size, threads)
        if far and before[granule] and before[granule] != now:
            stream_zeros(region + granule * GRANULE, GRANULE)
        before[granule] = now


def pretend(loans):
    """Take the cores to be far from each other, for tests."""
    global far
    far = loans
