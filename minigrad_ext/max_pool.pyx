"""Max pooling, channels-last; what it computes is in reference/pooling.py.

A window's taps are whole pixels, so every inner loop runs over the channels of one pixel, which lie
together. A row of output pixels, or an image where windows write to shared pixels, is one thread's.
"""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from ._checks import index_pixels
from .allocator import new_array
from .geometry import tap_dtype

from .parallel cimport threads_for
from .pool cimport Geometry, Window, geometry, window
from .simd cimport avx2_void, inlined_void
from .window cimport ceil_div

# An index of max pooling: which tap of its window, u * kw + v; see tap_dtype.
ctypedef fused tap_number:
    unsigned char
    int

# Channels worked on at a time. Their numbers and taps lie in arrays of the function's own, the taps
# as wide as a float: what overlaps nothing and has one width, the compiler vectorises well. Loops
# over a whole block have a length that it knows, so it drops what other lengths would need. (Loops
# over 16 are written out number by number instead, and take ten times as long.)
cdef enum:
    BLOCK = 32
    WIDE = 64  # to find maxima, which takes 0.87 of the time of two blocks


cdef inline int tap_at(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, Py_ssize_t h, Py_ssize_t w
) noexcept nogil:
    """The tap of window (i, j) that sees pixel (h, w)."""
    return <int> ((h - (i * geo.sh - geo.ph)) * geo.kw + w - (j * geo.sw - geo.pw))


cdef inline inlined_void count_bad(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, const Window* win, const int* taps,
    Py_ssize_t channels, Py_ssize_t* count,
) noexcept nogil:
    """Count 1 if one of these is no tap of window (i, j), or one that lies outside the image."""
    cdef Py_ssize_t top = i * geo.sh - geo.ph, left = j * geo.sw - geo.pw, h, w, c
    cdef int last = <int> (geo.kh * geo.kw - 1), tap = 0, bad = 0
    for c in range(channels):
        bad |= (taps[c] < 0) | (taps[c] > last)
    if (win.bottom - win.top) * (win.right - win.left) < geo.kh * geo.kw:
        for h in range(top, top + geo.kh):
            for w in range(left, left + geo.kw):
                if not (win.top <= h < win.bottom and win.left <= w < win.right):
                    for c in range(channels):
                        bad |= taps[c] == tap
                tap += 1
    count[0] += bad


def max_pool2d(x, *, kernel_size, stride, padding, ceil_mode):
    N, H, W, C = x.shape
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    shape = (N, geo.OH, geo.OW, C)
    y, index = new_array(shape, x.dtype), new_array(shape, tap_dtype(kernel_size))
    if y.size:
        _find_maxima(x, y, index, kernel_size, stride, padding, ceil_mode)
    return y, index


def _find_maxima(
    const floating[:, :, :, ::1] x, floating[:, :, :, ::1] y, tap_number[:, :, :, ::1] index,
    kernel_size, stride, padding, bint ceil_mode,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3]
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    cdef Py_ssize_t rows = N * geo.OH, row
    cdef int threads = threads_for(N * H * W * C)
    with nogil:
        if threads == 1:
            _max_rows(&geo, 0, rows, &x[0, 0, 0, 0], &y[0, 0, 0, 0], &index[0, 0, 0, 0])
        else:
            for row in prange(rows, num_threads=threads):
                _max_rows(&geo, row, row + 1, &x[0, 0, 0, 0], &y[0, 0, 0, 0], &index[0, 0, 0, 0])


cdef avx2_void _max_rows(
    const Geometry* geo, Py_ssize_t first, Py_ssize_t stop,
    const floating* x, floating* y, tap_number* index,
) noexcept nogil:
    """Rows of the output, those of all images counted together."""
    cdef Py_ssize_t C = geo.C, row, i, j, c, place
    cdef const floating* image
    cdef Window win
    for row in range(first, stop):
        image = x + row // geo.OH * geo.H * geo.W * C
        i = row % geo.OH
        for j in range(geo.OW):
            win = window(geo, i, j, False)
            place = (row * geo.OW + j) * C
            c = 0
            while C - c >= WIDE:
                _max_block(geo, i, j, &win, WIDE, image + c, y + place + c, index + place + c)
                c += WIDE
            if C - c >= BLOCK:
                _max_block(geo, i, j, &win, BLOCK, image + c, y + place + c, index + place + c)
                c += BLOCK
            if c < C:
                _max_block(geo, i, j, &win, C - c, image + c, y + place + c, index + place + c)


cdef inline inlined_void _max_block(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, const Window* win, Py_ssize_t channels,
    const floating* image, floating* y, tap_number* index,
) noexcept nogil:
    """Some channels of window (i, j)."""
    cdef Py_ssize_t h, _w, c
    cdef const floating* pixel = image + (win.top * geo.W + win.left) * geo.C
    cdef floating best[WIDE]
    cdef int found[WIDE]
    cdef int first = tap_at(geo, i, j, win.top, win.left), tap
    cdef bint larger
    for c in range(channels):
        best[c] = pixel[c]
        found[c] = first
    for h in range(win.top, win.bottom):
        pixel = image + (h * geo.W + win.left) * geo.C
        tap = tap_at(geo, i, j, h, win.left)
        for _w in range(win.left, win.right):
            if tap != first:
                for c in range(channels):
                    # Larger or NaN, but the first NaN stays; without branches, to be vectorised.
                    larger = (not pixel[c] <= best[c]) & (best[c] == best[c])
                    best[c] = pixel[c] if larger else best[c]
                    found[c] = tap if larger else found[c]
            pixel += geo.C
            tap += 1
    for c in range(channels):
        y[c] = best[c]
        index[c] = <tap_number> found[c]


cdef inline bint in_one_window(const Geometry* geo) noexcept nogil:
    """Whether each pixel lies in one window and no other."""
    return (
        geo.kh == geo.sh and geo.OH * geo.sh - geo.ph >= geo.H
        and geo.kw == geo.sw and geo.OW * geo.sw - geo.pw >= geo.W
    )


def max_pool2d_grad(
    const floating[:, :, :, ::1] g, const tap_number[:, :, :, ::1] index,
    *, input_shape, kernel_size, stride, padding, bint ceil_mode,
):
    cdef Py_ssize_t N, H, W, C, n, bad = 0
    N, H, W, C = input_shape
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    cdef int threads = threads_for(N * H * W * C)
    dx_array = new_array(input_shape, np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] dx = dx_array
    if N == 0 or C == 0:
        return dx_array
    with nogil:
        if threads == 1:
            bad = _put_back(&geo, 0, N, &g[0, 0, 0, 0], &index[0, 0, 0, 0], &dx[0, 0, 0, 0])
        else:
            for n in prange(N, num_threads=threads):
                bad += _put_back(
                    &geo, n, n + 1, &g[0, 0, 0, 0], &index[0, 0, 0, 0], &dx[0, 0, 0, 0]
                )
    if bad:
        shape = N, H, W, C
        index_pixels("max_pool2d_grad", np.asarray(index), shape, kernel_size, stride, padding)
    return dx_array


cdef Py_ssize_t _put_back(
    const Geometry* geo, Py_ssize_t first, Py_ssize_t stop,
    const floating* g, const tap_number* index, floating* dx,
) noexcept nogil:
    """Add the gradients of each window to the pixels named; how many of them have a bad index."""
    cdef Py_ssize_t C = geo.C, n, i, row, bad = 0
    cdef bint once = in_one_window(geo)
    cdef floating* image
    for n in range(first, stop):
        image = dx + n * geo.H * geo.W * C
        if not once:
            memset(image, 0, geo.H * geo.W * C * sizeof(floating))
        for i in range(geo.OH):
            row = (n * geo.OH + i) * geo.OW * C
            _put_back_row(geo, i, once, g + row, index + row, image, &bad)
    return bad


cdef avx2_void _put_back_row(
    const Geometry* geo, Py_ssize_t i, bint once, const floating* g, const tap_number* index,
    floating* image, Py_ssize_t* bad,
) noexcept nogil:
    """A row of windows. `once`: each pixel lies in one window, so it is set, not added to."""
    cdef Py_ssize_t C = geo.C, whole = C // BLOCK * BLOCK, j, block, c
    cdef Window win
    for j in range(geo.OW):
        win = window(geo, i, j, False)
        for block in range(C // BLOCK):
            c = block * BLOCK
            _put_back_block(geo, i, j, &win, BLOCK, once, g + c, index + c, image + c, bad)
        if whole < C:
            _put_back_block(
                geo, i, j, &win, C - whole, once, g + whole, index + whole, image + whole, bad
            )
        g += C
        index += C


cdef inline inlined_void _put_back_block(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, const Window* win, Py_ssize_t channels,
    bint once, const floating* g, const tap_number* index, floating* image, Py_ssize_t* bad,
) noexcept nogil:
    """Some channels of window (i, j)."""
    cdef Py_ssize_t h, _w, c
    cdef floating* pixel
    cdef floating grad[BLOCK]
    cdef int found[BLOCK]
    cdef int tap
    for c in range(channels):
        grad[c] = g[c]
        found[c] = index[c]
    for h in range(win.top, win.bottom):
        pixel = image + (h * geo.W + win.left) * geo.C
        tap = tap_at(geo, i, j, h, win.left)
        for _w in range(win.left, win.right):
            if once:
                for c in range(channels):
                    pixel[c] = grad[c] if found[c] == tap else 0
            else:
                for c in range(channels):
                    pixel[c] += grad[c] if found[c] == tap else 0
            pixel += geo.C
            tap += 1
    count_bad(geo, i, j, win, found, channels, bad)


def max_pool2d_gather(
    const floating[:, :, :, ::1] x, const tap_number[:, :, :, ::1] index,
    *, kernel_size, stride, padding, bint ceil_mode,
):
    cdef Py_ssize_t N = x.shape[0], H = x.shape[1], W = x.shape[2], C = x.shape[3], n, bad = 0
    cdef Geometry geo = geometry(H, W, C, kernel_size, stride, padding, ceil_mode)
    cdef int threads = threads_for(N * H * W * C)
    y_array = new_array((N, geo.OH, geo.OW, C), np.float32 if floating is float else np.float64)
    cdef floating[:, :, :, ::1] y = y_array
    if N == 0 or C == 0:
        return y_array
    with nogil:
        if threads == 1:
            bad = _look_up(&geo, 0, N, &x[0, 0, 0, 0], &index[0, 0, 0, 0], &y[0, 0, 0, 0])
        else:
            for n in prange(N, num_threads=threads):
                bad += _look_up(
                    &geo, n, n + 1, &x[0, 0, 0, 0], &index[0, 0, 0, 0], &y[0, 0, 0, 0]
                )
    if bad:
        shape = N, H, W, C
        index_pixels("max_pool2d_gather", np.asarray(index), shape, kernel_size, stride, padding)
    return y_array


cdef Py_ssize_t _look_up(
    const Geometry* geo, Py_ssize_t first, Py_ssize_t stop,
    const floating* x, const tap_number* index, floating* y,
) noexcept nogil:
    """Look up the pixel named in each window; how many of them have a bad index."""
    cdef Py_ssize_t C = geo.C, n, i, j, block, start, place, bad = 0
    cdef const floating* image
    cdef Window win
    for n in range(first, stop):
        image = x + n * geo.H * geo.W * C
        for i in range(geo.OH):
            for j in range(geo.OW):
                win = window(geo, i, j, False)
                for block in range(ceil_div(C, BLOCK)):
                    start = block * BLOCK
                    place = ((n * geo.OH + i) * geo.OW + j) * C + start
                    _look_up_block(
                        geo, i, j, &win, min(BLOCK, C - start),
                        image + start, &index[place], &y[place], &bad,
                    )
    return bad


cdef avx2_void _look_up_block(
    const Geometry* geo, Py_ssize_t i, Py_ssize_t j, const Window* win, Py_ssize_t channels,
    const floating* image, const tap_number* index, floating* y, Py_ssize_t* bad,
) noexcept nogil:
    """Some channels of window (i, j)."""
    cdef Py_ssize_t h, w, c
    cdef const floating* pixel
    cdef floating value
    cdef floating seen[BLOCK]
    cdef int found[BLOCK]
    cdef int tap
    for c in range(channels):
        seen[c] = 0
        found[c] = index[c]
    for h in range(win.top, win.bottom):
        for w in range(win.left, win.right):
            tap = tap_at(geo, i, j, h, w)
            pixel = image + (h * geo.W + w) * geo.C
            for c in range(channels):
                value = pixel[c]  # read in any case, so that there is no branch
                seen[c] = value if found[c] == tap else seen[c]
    memcpy(y, seen, channels * sizeof(floating))
    count_bad(geo, i, j, win, found, channels, bad)
