from .isa cimport Product


# What the other ways to compute with register tiles share; see direct.pyx.
cdef Product no_product() noexcept nogil

# C = A B, for any number of rows.
cdef void multiply(const Product* whole, Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil

# Copy numbers that lie `step` apart.
cdef void copy_strided(
    const float* from_, Py_ssize_t step, Py_ssize_t count, float* to
) noexcept nogil

# How many vectors wide the first panel of so many columns is.
cdef Py_ssize_t panel_vectors(Py_ssize_t columns) noexcept nogil

# w (kh, kw, c, groups * o) as panels (groups, panel, kh * kw * c, columns of a panel).
cdef void pack(const float[:, :, :, :] w, Py_ssize_t groups, float* out) noexcept nogil
