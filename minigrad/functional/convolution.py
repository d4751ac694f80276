"""Convolution of images (N, H, W, C) with weights (kh, kw, C_in // groups, C_out).

Three ops close over themselves: the convolution, its gradient with respect to the input, and that
with respect to the weights. Each is linear in both of its arrays, so each one's rules are written
with the other two, and every order of derivative follows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

import minigrad_ext as ext
from minigrad.engine import Tensor, op
from minigrad.functional.elementwise import relu_grad
from minigrad.functional.reductions import sum

# `geometry` holds stride, padding, dilation and groups, as `_geometry` makes them. Tap (u, v) of
# output (i, j) reads the image at  row(i,u) = i stride + u dilation - padding,  column(j,v) alike.


@op
def _conv2d(x, w, b, *, geometry):
    # y[n,i,j,o] = b[o] + sum_uvc x[n, row(i,u), column(j,v), c] w[u,v,c,o]
    return ext.conv2d(x, w, b, **geometry, relu=False)


_conv2d.vjp(
    x=lambda g, w, x_shape, geometry: _input_grad(g, w, input_shape=x_shape, geometry=geometry),
    w=lambda g, x, w_shape, geometry: _weight_grad(g, x, weight_shape=w_shape, geometry=geometry),
    b=lambda g: sum(g, axis=(0, 1, 2)),
)


@_conv2d.vjp_joint
def _conv2d_vjp(needs, g, x, w, geometry):
    if not isinstance(g, Tensor):  # the same as below, in one pass over memory
        return ext.conv2d_grads(g, x, w, None, needs=needs, **geometry)
    return (
        _input_grad(g, w, input_shape=x.shape, geometry=geometry) if needs[0] else None,
        _weight_grad(g, x, weight_shape=w.shape, geometry=geometry) if needs[1] else None,
        sum(g, axis=(0, 1, 2)) if needs[2] else None,
    )


@op
def _conv2d_relu(x, w, b, *, geometry):
    # y = max(conv2d(x, w, b), 0), while it is still in cache
    return ext.conv2d(x, w, b, **geometry, relu=True)


@_conv2d_relu.vjp_joint
def _conv2d_relu_vjp(needs, g, x, w, out, geometry):
    if not isinstance(g, Tensor):  # the same as below, in one pass over memory
        return ext.conv2d_grads(g, x, w, out, needs=needs, **geometry)
    g = relu_grad(g, out)
    return (
        _input_grad(g, w, input_shape=x.shape, geometry=geometry) if needs[0] else None,
        _weight_grad(g, x, weight_shape=w.shape, geometry=geometry) if needs[1] else None,
        sum(g, axis=(0, 1, 2)) if needs[2] else None,
    )


@op
def _input_grad(dy, w, *, input_shape, geometry):
    # dx[n, row(i,u), column(j,v), c] += sum_o dy[n,i,j,o] w[u,v,c,o]
    return ext.conv2d_input_grad(dy, w, input_shape=input_shape, **geometry)


_input_grad.vjp(
    dy=lambda g, w, geometry: _conv2d(g, w, None, geometry=geometry),
    w=lambda g, dy, w_shape, geometry: _weight_grad(dy, g, weight_shape=w_shape, geometry=geometry),
)


@op
def _weight_grad(dy, x, *, weight_shape, geometry):
    # dw[u,v,c,o] = sum_nij x[n, row(i,u), column(j,v), c] dy[n,i,j,o]
    return ext.conv2d_weight_grad(dy, x, weight_shape=weight_shape, **geometry)


_weight_grad.vjp(
    dy=lambda g, x, geometry: _conv2d(x, g, None, geometry=geometry),
    x=lambda g, dy, x_shape, geometry: _input_grad(dy, g, input_shape=x_shape, geometry=geometry),
)


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1, activation=None):
    """The convolution of networks (a cross-correlation), with bias and ReLU on request.

    A 1x1 kernel makes it one matrix product over all pixels: y[p, o] = sum_c x[p, c] w[c, o].

    Args:
        x: (N, H, W, C_in), float32 or float64.
        w: (kh, kw, C_in // groups, C_out), the same dtype.
        b: (C_out,) or None.
        stride, dilation: an int, or a pair for height and width; at least 1.
        padding: zeros around the image: an int; a pair for height and width; a pair of (before,
            after) pairs; "valid" for none; or "same" for an output of the input's size (stride 1).
        groups: the channels are cut into so many groups, each convolved on its own; C_in for a
            depthwise convolution.
        activation: None, or "relu" to apply it to the result.

    Returns:
        (N, OH, OW, C_out), with OH = (H + padding - dilation (kh - 1) - 1) // stride + 1.

    Raises:
        ValueError: shapes that do not fit each other; a kernel larger than the padded image.
    """
    geometry = _geometry("conv2d", np.shape(w)[:2], stride, padding, dilation, groups)
    if activation is None:
        return _conv2d(x, w, b, geometry=geometry)
    if activation != "relu":
        raise ValueError(f'conv2d: expected activation None or "relu", got {activation!r}')
    return _conv2d_relu(x, w, b, geometry=geometry)


def conv2d_input_grad(dy, w, *, input_shape, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of `conv2d` for its input: dy (N, OH, OW, C_out) -> (N, H, W, C_in).

    Also known as transposed convolution. `input_shape` is the shape of the input, because several
    sizes can give the same output; the other arguments are those of `conv2d`.
    """
    geometry = _geometry("conv2d_input_grad", np.shape(w)[:2], stride, padding, dilation, groups)
    return _input_grad(dy, w, input_shape=tuple(input_shape), geometry=geometry)


def conv2d_weight_grad(dy, x, *, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of `conv2d` for its weights: (kh, kw, C_in // groups, C_out).

    `weight_shape` is the shape of the weights, because several sizes can give the same output; the
    other arguments are those of `conv2d`.
    """
    geometry = _geometry("conv2d_weight_grad", weight_shape[:2], stride, padding, dilation, groups)
    return _weight_grad(dy, x, weight_shape=tuple(weight_shape), geometry=geometry)


def _geometry(name, kernel, stride, padding, dilation, groups):
    """The arguments as the kernels want them: pairs, and (before, after) of each axis."""
    if len(kernel) != 2:
        raise ValueError(
            f"{name}: expected w of shape (kh, kw, C_in // groups, C_out), got one of "
            f"{len(kernel)} axes"
        )
    if type(stride) is type(padding) is type(dilation) is type(groups) is int:
        return _square_geometry(name, stride, padding, dilation, groups)
    return _any_geometry(name, kernel, stride, padding, dilation, groups)


@lru_cache(maxsize=256)
def _square_geometry(name, stride, padding, dilation, groups):
    """The same for both axes, as it is nearly always: remembered, because it is asked so often."""
    return _any_geometry(name, None, stride, padding, dilation, groups)


def _any_geometry(name, kernel, stride, padding, dilation, groups):
    stride, dilation = pair(name, "stride", stride), pair(name, "dilation", dilation)
    if isinstance(padding, str):
        padding = _named_padding(name, kernel, stride, padding, dilation)
    elif not isinstance(padding, int) and np.ndim(padding) == 2:
        padding = tuple([pair(name, "padding", p, least=0) for p in padding])
    else:
        padding = tuple([(p, p) for p in pair(name, "padding", padding, least=0)])
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _named_padding(name, kernel, stride, padding, dilation):
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        raise ValueError(f'{name}: expected padding as numbers, "same" or "valid", got {padding!r}')
    if stride != (1, 1):
        raise ValueError(
            f'{name}: padding="same" is defined for stride 1 only, got stride {stride}; pass the '
            "padding as numbers"
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple([(total // 2, total - total // 2) for total in totals])


def pair(name, argument, value, least=1):
    """An int, or a pair of them, as a pair."""
    if type(value) is int and value >= least:  # as below, at a tenth of the cost
        return value, value
    values = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value, value)
    integers = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values)
    if len(values) != 2 or not integers or min(values) < least:
        raise ValueError(
            f"{name}: expected {argument} as an int or a pair of ints, at least {least}, got "
            f"{value!r}"
        )
    return int(values[0]), int(values[1])
