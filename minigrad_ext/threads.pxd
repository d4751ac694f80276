# How many threads a kernel may use: ``prange(n, num_threads=thread_count())``.
cdef int thread_count() noexcept nogil
