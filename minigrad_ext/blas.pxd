from cython cimport floating


# c = alpha op(a) op(b) + beta c; see blas.pyx.
cdef void gemm(
    bint a_transposed, bint b_transposed,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
    floating alpha, const floating* a, Py_ssize_t lda,
    const floating* b, Py_ssize_t ldb,
    floating beta, floating* c, Py_ssize_t ldc,
) noexcept nogil

# How many rows of a tall (rows, K) @ (K, N) product to hand to one call.
cdef Py_ssize_t preferred_rows(Py_ssize_t N, Py_ssize_t K) noexcept nogil

# How many threads are worth starting for so many sums of so many products: prange's num_threads.
cdef int threads_for_sums(Py_ssize_t sums, Py_ssize_t products) noexcept nogil
