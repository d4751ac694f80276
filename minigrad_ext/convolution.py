"""The three kernels of a convolution, from two loops: `correlate` and `weight_grad`.

Modules that offer both compute the same, and differ in speed:

* `im2col`: gather the windows, multiply by BLAS. Any convolution, float32 and float64.
* `direct`: read the windows where they lie, multiply in registers. float32.

The input gradient is the forward convolution of g with w turned around, once for each residue of
the pixel's position modulo the stride.
"""

from itertools import product, starmap
from math import gcd

import numpy as np

from . import direct, elementwise, im2col, pointwise
from .allocator import new_array
from .geometry import conv_output_size

# Weight gradients are summed in so many parts at most, each of so many pixels at least.
PARTS = 16
PIXELS = 512


class Convolution:
    """The three kernels, computed by the loops of the module that `choose` returns.

    Args:
        choose: called with the dtype, the shapes of input, weights and output, and the window.
    """

    def __init__(self, choose):
        self.choose = choose

    def conv2d(self, x, w, b, *, stride, padding, dilation, groups, relu):
        output_size = map(conv_output_size, x.shape[1:3], w.shape[:2], stride, padding, dilation)
        y = new_array((len(x), *output_size, w.shape[3]), x.dtype)
        self._correlate(x, w, b, y, relu, forward_window(stride, padding, dilation, groups))
        return y

    def conv2d_input_grad(self, g, w, *, input_shape, stride, padding, dilation, groups):
        kh, kw, C_in, C_out = w.shape
        # (kh, kw, c, group, o) -> (kh, kw, o, group, c): as weights of a convolution of g
        turned = w.reshape(kh, kw, C_in, groups, C_out // groups).swapaxes(2, 4)
        dx = new_array(input_shape, g.dtype)
        axes = zip(input_shape[1:3], (kh, kw), stride, padding, dilation, strict=True)
        for along_rows, along_columns in product(*starmap(residues, axes)):
            pixels, taps, start, step = zip(along_rows, along_columns, strict=True)
            weights = turned[taps]
            weights = weights.reshape(*weights.shape[:3], groups * C_in)
            window = {"stride": (1, 1), "start": start, "step": step, "groups": groups}
            self._correlate(g, weights, None, dx[(slice(None), *pixels)], False, window)
        return dx

    def conv2d_weight_grad(self, g, x, *, weight_shape, stride, padding, dilation, groups):
        parts = new_array((part_count(g), *weight_shape), g.dtype)
        parts[:] = 0
        window = forward_window(stride, padding, dilation, groups)
        if g.size and x.size and parts.size:
            loops = self.choose(x.dtype, x.shape, weight_shape, g.shape, **window)
            loops.weight_grad(g, x, parts, **window)
        return np.add.reduce(parts, axis=0, out=new_array(weight_shape, g.dtype))

    def conv2d_grads(self, g, x, w, out, *, needs, stride, padding, dilation, groups):
        window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        tiles = direct.AVAILABLE and g.dtype == np.float32 and g.size and x.size
        if tiles and needs[1] and is_pointwise(w.shape, **window):
            if (
                self.choose(x.dtype, x.shape, w.shape, g.shape, **forward_window(**window))
                is direct
            ):
                return pointwise_grads(g, x, w, out, needs)
        db = None
        if out is not None and tiles:
            g, db = relu_grad_and_sums(g, out)
        elif out is not None:
            g = elementwise.relu_grad(g, out)
        return (
            self.conv2d_input_grad(g, w, input_shape=x.shape, **window) if needs[0] else None,
            self.conv2d_weight_grad(g, x, weight_shape=w.shape, **window) if needs[1] else None,
            (np.add.reduce(g, axis=(0, 1, 2)) if db is None else db) if needs[2] else None,
        )

    def _correlate(self, x, w, b, y, relu, window):
        """Y = the windows of x times w, + b unless it is None, then max(y, 0) if relu."""
        if y.size and x.size and w.size:
            loops = self.choose(x.dtype, x.shape, w.shape, y.shape, **window)
            loops.correlate(x, w, b, y, relu=relu, **window)
        elif y.size:  # there is nothing to multiply
            seen = 0 if b is None else b
            y[...] = np.maximum(seen, 0) if relu else seen


def is_pointwise(w, *, stride, padding, dilation, groups):
    """Whether each output sees one pixel, its own, and all of its channels."""
    return w[:2] == stride == (1, 1) and not any(map(any, padding)) and groups == 1


def pointwise_grads(g, x, w, out, needs):
    """(dx or None, dw, db) of a 1x1 convolution, in one pass over all arrays."""
    C_in, C_out = w.shape[2:]
    parts = part_count(g)
    dx = new_array(x.shape, g.dtype) if needs[0] else None
    dw, db = new_array((parts, C_in, C_out), g.dtype), new_array((parts, C_out), g.dtype)
    dw[:] = 0
    pointwise.grads(
        g.reshape(-1, C_out),
        None if out is None else out.reshape(-1, C_out),
        x.reshape(-1, C_in),
        w.swapaxes(2, 3),
        None if dx is None else dx.reshape(-1, C_in),
        dw,
        db,
    )
    dw, db = np.add.reduce(dw, axis=0).reshape(w.shape), np.add.reduce(db, axis=0)
    return dx, dw, db if needs[2] else None


def relu_grad_and_sums(g, out):
    """G where out > 0, else 0; and its sums over all pixels."""
    masked, sums = new_array(g.shape, g.dtype), new_array((part_count(g), g.shape[3]), g.dtype)
    pixels = (-1, g.shape[3])
    pointwise.relu_grad(g.reshape(pixels), out.reshape(pixels), masked.reshape(pixels), sums)
    return masked, np.add.reduce(sums, axis=0)


def part_count(g):
    """In how many parts to sum over the pixels of g, which its shape alone decides."""
    return min(PARTS, 1 + g.size // max(g.shape[3], 1) // PIXELS)


def forward_window(stride, padding, dilation, groups):
    """The window as the loops take it: output i reads input  i stride + start + tap step."""
    start = [-before for before, _ in padding]
    return {"stride": stride, "start": start, "step": dilation, "groups": groups}


def residues(inputs, taps, stride, padding, dilation):
    """Yield the input gradient along an axis as windows over g, one for each residue mod stride.

    Output o read input i through tap t where  o * stride - padding[0] + t * dilation = i.  For the
    inputs i = r + k * stride that is  o = k + (r + padding[0] - t * dilation) / stride:  the same
    taps for each k, those that divide, which are each (stride / gcd)-th. In the order of growing o
    the last one comes first.

    Yields:
        The inputs and the taps as slices, the window's start and step (see window.pxd).
    """
    common = gcd(stride, dilation)
    for r in range(min(stride, inputs)):
        pixels = slice(r, None, stride)
        reach = [r + padding[0] - tap * dilation for tap in range(taps)]
        hits = [tap for tap in range(taps) if reach[tap] % stride == 0]
        if hits:
            last = max(hits)
            backwards = slice(last, None, -(stride // common))
            yield pixels, backwards, reach[last] // stride, dilation // common
        else:
            yield pixels, slice(0), 0, 1


# ------------------------------------------------------------------------------------- the choices


def by_blas(dtype, x, w, y, **window):
    return im2col


def by_tiles(dtype, x, w, y, *, groups, **window):
    depthwise = groups > 1 and w[2] == 1 and w[3] == groups  # nothing to sum over
    return direct if direct.AVAILABLE and dtype == np.float32 and not depthwise else im2col
