# When a loop is worth more than one thread:
#
#     threads = threads_for(numbers)
#     if threads == 1:
#         work(0, n)
#     else:
#         for i in prange(n, num_threads=threads):
#             work(i, i + 1)
#
# with both branches, because a parallel region of one thread takes 0.8 µs: as long as a small call.
#
# No loop names a schedule. OpenMP then gives each thread one part of the range, always the same, so
# that a core finds in its own cache what it wrote there; see "Each core finds its part in its own
# cache" in docs/decisions.md.
from .threads cimport thread_count

# Waking the other threads takes as long as passing once over this many numbers.
cdef enum:
    WORTH_A_THREAD = 32768


cdef inline int threads_for(Py_ssize_t numbers) noexcept nogil:
    return thread_count() if numbers >= 2 * WORTH_A_THREAD else 1
