"""The sizes that max and average pooling share; their windows are in pool.pxd."""

from .geometry import pool_output_size


cdef Geometry geometry(
    Py_ssize_t H, Py_ssize_t W, Py_ssize_t C, kernel_size, stride, padding, bint ceil_mode
) except *:
    cdef Geometry geo
    geo.H, geo.W, geo.C = H, W, C
    geo.kh, geo.kw = kernel_size
    geo.sh, geo.sw = stride
    geo.ph, geo.pw = padding
    geo.OH = pool_output_size(geo.H, geo.kh, geo.sh, geo.ph, ceil_mode)
    geo.OW = pool_output_size(geo.W, geo.kw, geo.sw, geo.pw, ceil_mode)
    return geo
