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
