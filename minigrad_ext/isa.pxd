cdef extern from "kernels.h":
    enum:
        MOST_ROWS
        MOST_VECTORS

    # What a tile computes; see tile.h.
    ctypedef struct Product:
        Py_ssize_t taps, K, columns
        const Py_ssize_t* offset
        const float* A
        const float* B
        const float* bias
        Py_ssize_t a_row, a_step, b_step, c_row
        float* C
        bint accumulate, relu, ahead

    ctypedef void (*Multiply)(const Product*) noexcept nogil

    ctypedef struct Kernels:
        int lanes
        int widest
        int rows[4]
        Multiply multiply[4][14]
        void (*relu_grad)(
            Py_ssize_t pixels, Py_ssize_t channels, const float* g, const float* out,
            float* masked, Py_ssize_t masked_row, float* sums) noexcept nogil


# The innermost loops for this CPU; their lanes are 0 if the compiler could not make any.
cdef const Kernels* kernels() noexcept nogil
