from cython cimport floating

from .window cimport Tile, Window


cdef void correlate(
    const Window* window, const Tile* tile, const floating* x, const floating* w,
    const floating* b, bint relu, floating* y, Py_ssize_t y_row, Py_ssize_t y_pixel,
) noexcept nogil

cdef void weight_grad(
    const Window* window, const Tile* tile, const floating* x, const floating* g,
    floating* dw, floating* sums,
) noexcept nogil
