# When a loop is worth more than one thread: prange(n, num_threads=threads_for(elements)).
from .threads cimport thread_count

# Waking the other threads takes as long as passing once over this many numbers.
cdef enum:
    WORTH_A_THREAD = 32768


cdef inline int threads_for(Py_ssize_t elements) noexcept nogil:
    return thread_count() if elements >= 2 * WORTH_A_THREAD else 1
