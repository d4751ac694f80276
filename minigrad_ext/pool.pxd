# The windows of max and average pooling, whose taps are whole pixels, channels-last.

# Sizes of the image (H, W) and the output (OH, OW), channels, window, stride and padding.
cdef struct Geometry:
    Py_ssize_t H, W, OH, OW, C, kh, kw, sh, sw, ph, pw


# The taps of one window: rows top to bottom, columns left to right, as cut by the image, and the
# number of pixels it is averaged over.
cdef struct Window:
    Py_ssize_t top, bottom, left, right, divisor


cdef Geometry geometry(
    Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, kernel_size, stride, padding, bint ceil_mode
) except *


cdef inline Window window(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, bint count_include_pad
) noexcept nogil:
    cdef Window win
    cdef Py_ssize_t top = i * geo.sh - geo.ph, bottom = min(top + geo.kh, geo.H + geo.ph)
    cdef Py_ssize_t left = j * geo.sw - geo.pw, right = min(left + geo.kw, geo.W + geo.pw)
    win.top, win.bottom = max(top, 0), min(bottom, geo.H)
    win.left, win.right = max(left, 0), min(right, geo.W)
    if count_include_pad:
        win.divisor = (bottom - top) * (right - left)
    else:
        win.divisor = (win.bottom - win.top) * (win.right - win.left)
    return win
