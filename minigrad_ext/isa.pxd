cdef extern from "kernels.h":
    enum:
        MOST_ROWS
        MOST_VECTORS
        MOST_TAPS

    ctypedef struct Soon:
        int arrays
        const float* at[4]
        Py_ssize_t row[4]

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
        Soon soon

    ctypedef void (*Multiply)(const Product*) noexcept nogil

    # Winograd's transforms; see winograd.h.
    ctypedef void (*Expand)(
        const float* const* from_, Py_ssize_t ahead, Py_ssize_t channels, float* to,
        Py_ssize_t step
    ) noexcept nogil
    ctypedef bint (*Reduce)(
        const float* from_, Py_ssize_t step, Py_ssize_t channels, float* const* to,
        const float* bias, bint relu
    ) noexcept nogil

    # A row of outputs of a depthwise convolution; see depthwise.h.
    ctypedef struct Run:
        const float* x
        float* w
        Py_ssize_t column

    ctypedef struct Depthwise:
        Py_ssize_t runs, channels, width, stride, y_row, y_pixel, inside, beyond
        const Run* run
        const float* bias
        float* y
        bint relu

    ctypedef void (*DepthwiseRow)(
        const Depthwise*, Py_ssize_t first, Py_ssize_t end
    ) noexcept nogil

    ctypedef struct Kernels:
        int lanes
        int widest
        int rows[4]
        Multiply multiply[4][14]
        void (*relu_grad)(
            Py_ssize_t pixels, Py_ssize_t channels, const float* g, const float* out,
            float* masked, Py_ssize_t masked_row, float* sums) noexcept nogil
        Expand expand_input, expand_weights, expand_grad
        Reduce reduce_output, reduce_weight_grad
        DepthwiseRow depthwise[2][5]
        DepthwiseRow depthwise_weight_grad[2][5]


# The innermost loops for this CPU; their lanes are 0 if the compiler could not make any.
cdef const Kernels* kernels() noexcept nogil
