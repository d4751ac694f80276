cdef class Owners:
    cdef bytearray thread  # for each granule, counted from 1

    cdef void hand_over(self, char* region, Py_ssize_t start, Py_ssize_t size) noexcept
