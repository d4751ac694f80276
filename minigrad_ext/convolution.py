"""The kernels of a convolution, made of two loops: `correlate` and `weight_grad`.

Modules that offer both compute the same in different ways; `choice.py` chooses one.

    correlate      y = the windows of x times w
    weight_grad    dw = the windows of x, transposed, times g

The input gradient is the convolution of g with w turned around, once for each residue of the
pixel's position modulo the stride.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from math import gcd, prod
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import elementwise, im2col, pointwise
from .allocator import new_array
from .choice import Choice
from .geometry import Padding, Pair, Shape, conv_output_size

Array: TypeAlias = NDArray[Any]
# Which pixels, which taps, the shape of the weights, the window as loops take it, and which loops.
Piece: TypeAlias = tuple[tuple[slice, ...], tuple[slice, ...], Shape, dict[str, Any], ModuleType]
Needs: TypeAlias = tuple[bool, bool, bool]

# Weight gradients are summed in so many parts at most: one, and one more for each so many pixels.
PARTS = 16
PIXELS = 512


class Convolution:
    """The kernels, computed by the loops that `choose` returns; see reference/convolution.py."""

    def __init__(self, choose: Choice) -> None:
        self.choose = choose

    def conv2d(  # noqa: D102 - the twin has the docstring, here and below
        self,
        x: Array,
        w: Array,
        b: Array | None,
        *,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        relu: bool,
    ) -> Array:
        shape, window, loops = plan(
            self.choose, x.dtype, x.shape, w.shape, stride, padding, dilation, groups
        )
        y = new_array(shape, x.dtype)
        if y.size and x.size and w.size:
            loops.correlate(x, w, b, y, relu=relu, **window)
        else:  # there is nothing to multiply
            seen = 0 if b is None else b
            y[...] = np.maximum(seen, 0) if relu else seen
        return y

    def conv2d_input_grad(  # noqa: D102
        self,
        g: Array,
        w: Array,
        *,
        input_shape: Shape,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> Array:
        kh, kw, C_in, C_out = w.shape
        # (kh, kw, c, group, o) -> (kh, kw, o, group, c): as weights of a convolution of g
        turned = w.reshape(kh, kw, C_in, groups, C_out // groups).swapaxes(2, 4)
        pieces = input_grad_plan(
            self.choose, g.dtype, input_shape, w.shape, stride, padding, dilation, groups
        )
        every_pixel_is_seen = len(pieces) == stride[0] * stride[1]
        dx = (new_array if every_pixel_is_seen else elementwise.zeros)(input_shape, g.dtype)
        for pixels, taps, shape, window, loops in pieces:
            part = dx[pixels]
            if part.size and g.size and w.size:
                weights = turned[taps].reshape(shape)
                loops.correlate(g, weights, None, part, relu=False, **window)
            else:
                part[...] = 0
        return dx

    def conv2d_weight_grad(  # noqa: D102
        self,
        g: Array,
        x: Array,
        *,
        weight_shape: Shape,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> Array:
        parts = elementwise.zeros((part_count(g), *weight_shape), g.dtype)
        if g.size and x.size and parts.size:
            _, window, loops = plan(
                self.choose, x.dtype, x.shape, weight_shape, stride, padding, dilation, groups
            )
            loops.weight_grad(g, x, parts, **window)
        return elementwise.total(parts)

    def conv2d_grads(  # noqa: D102
        self,
        g: Array,
        x: Array,
        w: Array,
        out: Array | None,
        *,
        needs: Needs,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
    ) -> tuple[Array | None, Array | None, Array | None]:
        geometry: dict[str, Any] = {
            "stride": stride, "padding": padding, "dilation": dilation, "groups": groups
        }  # fmt: skip
        _, window, loops = plan(
            self.choose, x.dtype, x.shape, w.shape, stride, padding, dilation, groups
        )
        tiled = g.size and x.size and loops is not im2col
        if tiled and needs[1] and is_pointwise(w.shape, window, x.shape, g.shape):
            return pointwise_grads(g, x, w, out, needs)
        db = None
        if tiled and out is not None:
            g, db = relu_grad_and_sums(g, out)
        elif out is not None:
            g = elementwise.relu_grad(g, out)
        if needs[2] and db is None:
            db = channel_sums(g)
        return (
            self.conv2d_input_grad(g, w, input_shape=x.shape, **geometry) if needs[0] else None,
            self.conv2d_weight_grad(g, x, weight_shape=w.shape, **geometry) if needs[1] else None,
            db if needs[2] else None,
        )


# ---------------------------------------------------------------------------------------- windows


@lru_cache(maxsize=1024)
def plan(
    choose: Choice,
    dtype: np.dtype[Any],
    x: Shape,
    w: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> tuple[Shape, dict[str, Any], ModuleType]:
    """The shape of the output, the window as the loops take it, and which loops.

    Output i reads input  i stride + start + tap step. Remembered, because it takes as long to find
    out as a small convolution takes to compute.
    """
    y = x[0], *map(conv_output_size, x[1:3], w[:2], stride, padding, dilation), w[3]
    start = tuple([-before for before, _ in padding])
    window = {"stride": stride, "start": start, "step": dilation, "groups": groups}
    return y, window, choose(dtype, y, w, window)


@lru_cache(maxsize=1024)
def input_grad_plan(
    choose: Choice,
    dtype: np.dtype[Any],
    x: Shape,
    w: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> list[Piece]:
    """The convolutions of g that an input gradient is made of, remembered as `plan` is.

    There is one for each pair of residues, of the row and of the column.
    """
    axes = zip(x[1:3], w[:2], stride, padding, dilation, strict=True)
    rows, columns = (list(residues(*axis)) for axis in axes)
    pieces: list[Piece] = []
    for (i, u, *across_rows), (j, v, *across_columns) in product(rows, columns):
        start, step = zip(across_rows, across_columns, strict=True)
        window = {"stride": (1, 1), "start": start, "step": step, "groups": groups}
        H, W = (len(range(n)[part]) for n, part in zip(x[1:3], (i, j), strict=True))
        kh, kw = (len(range(n)[part]) for n, part in zip(w[:2], (u, v), strict=True))
        shape = kh, kw, w[3] // groups, x[3]
        loops = choose(dtype, (x[0], H, W, x[3]), shape, window)
        pieces.append(((slice(None), i, j), (u, v), shape, window, loops))
    return pieces


def residues(
    inputs: int, taps: int, stride: int, padding: Pair, dilation: int
) -> Iterator[tuple[slice, slice, int, int]]:
    """Yield the input gradient along an axis as windows over g, for each residue that g reaches.

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


def is_pointwise(w: Shape, window: dict[str, Any], x: Shape, y: Shape) -> bool:
    """Whether each output sees one pixel, its own, and all of its channels."""
    same = window["stride"] == (1, 1) and window["start"] == (0, 0) and x[1:3] == y[1:3]
    return w[:2] == (1, 1) and same and window["groups"] == 1


# ------------------------------------------------------------------------------- sums over pixels


def part_count(g: Array) -> int:
    """In how many parts to sum over the pixels of g, which its shape alone decides."""
    return min(PARTS, 1 + g.size // max(g.shape[3], 1) // PIXELS)


def pointwise_grads(
    g: Array, x: Array, w: Array, out: Array | None, needs: Needs
) -> tuple[Array | None, Array, Array | None]:
    """(dx, dw, db) of a 1x1 convolution, in one pass over all arrays."""
    C_in, C_out = w.shape[2:]
    dx = new_array(x.shape, g.dtype) if needs[0] else None
    dw = elementwise.zeros((part_count(g), C_in, C_out), g.dtype)
    db = new_array((part_count(g), C_out), g.dtype) if needs[2] else None
    pointwise.grads(
        g.reshape(-1, C_out),
        None if out is None else out.reshape(-1, C_out),
        x.reshape(-1, C_in),
        w.swapaxes(2, 3),
        None if dx is None else dx.reshape(-1, C_in),
        dw,
        db,
    )
    total = elementwise.total
    return dx, total(dw).reshape(w.shape), None if db is None else total(db)


def relu_grad_and_sums(g: Array, out: Array) -> tuple[Array, Array]:
    """The gradient where out > 0, else 0; and its sums over all pixels."""
    masked, sums = new_array(g.shape, g.dtype), new_array((part_count(g), g.shape[3]), g.dtype)
    pixels = (-1, g.shape[3])
    pointwise.relu_grad(g.reshape(pixels), out.reshape(pixels), masked.reshape(pixels), sums)
    return masked, elementwise.total(sums)


def channel_sums(g: Array) -> Array:
    """The sums over all axes but the last."""
    rows = g.reshape(prod(g.shape[:-1]), g.shape[-1])
    if g.dtype != np.float32 or not g.size or not pointwise.AVAILABLE:
        return np.add.reduce(rows, axis=0)
    sums = new_array((min(PARTS, 1 + len(rows) // PIXELS), g.shape[-1]), g.dtype)
    pointwise.relu_grad(rows, None, None, sums)
    return elementwise.total(sums)
