# How a window slides over an image: what every way to compute a convolution has to know.


# One axis of it: tap t of output o reads input  o * stride + start + t * step, or 0 outside.
cdef struct Axis:
    Py_ssize_t inputs
    Py_ssize_t outputs
    Py_ssize_t taps
    Py_ssize_t stride
    Py_ssize_t start
    Py_ssize_t step


cdef struct Window:
    Axis rows
    Axis columns
    Py_ssize_t groups
    Py_ssize_t C_in   # channels of one group
    Py_ssize_t C_out  # likewise


# Some output pixels of an image, worked on at a time.
cdef struct Tile:
    Py_ssize_t i  # first row
    Py_ssize_t rows
    Py_ssize_t j  # first column
    Py_ssize_t columns


cdef inline Window make_window(
    const Py_ssize_t* image, const Py_ssize_t* kernel, const Py_ssize_t* output,
    stride, start, step, Py_ssize_t groups,
):
    """The window of a kernel (HWIO) over an image (NHWC), stopping at each pixel of the output."""
    cdef Window window
    window.rows = Axis(image[1], output[1], kernel[0], stride[0], start[0], step[0])
    window.columns = Axis(image[2], output[2], kernel[1], stride[1], start[1], step[1])
    window.groups, window.C_in, window.C_out = groups, kernel[2], kernel[3] // groups
    return window


# How many numbers the convolution of so many images has, and how many products each is a sum of.
cdef inline Py_ssize_t sums(const Window* window, Py_ssize_t images) noexcept nogil:
    return images * window.rows.outputs * window.columns.outputs * window.groups * window.C_out


cdef inline Py_ssize_t products(const Window* window) noexcept nogil:
    return window.rows.taps * window.columns.taps * window.C_in


# Whether each output sees the input at its own place, and that alone.
cdef inline bint same_pixels(const Axis* axis) noexcept nogil:
    return (
        axis.taps == 1 and axis.stride == 1 and axis.start == 0 and axis.inputs == axis.outputs
    )


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


# The biggest of equal parts, none above the limit.
cdef inline Py_ssize_t even_part(Py_ssize_t size, Py_ssize_t limit) noexcept nogil:
    return ceil_div(size, ceil_div(size, limit))
