"""Convolution, and its gradients."""

import math
from typing import Any

import numpy as np

from minigrad_ext._checks import Array
from minigrad_ext.geometry import Padding, Pair, Shape, conv_output_size

from .elementwise import relu_grad
from .windows import crop, pad, padded_shape, taps


def _by_group(a: Array, groups: int) -> Array:
    """(..., groups * C) as (groups, P, C), so that ``@`` multiplies group by group."""
    P, C = math.prod(a.shape[:-1]), a.shape[-1] // groups
    return a.reshape(P, groups, C).swapaxes(0, 1)


def conv2d(
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
    """Convolve images with a bank of windows.

        y[n,i,j,o] = b[o] + sum over u,v,c of x[n,h,w,c] w[u,v,c,o]

    x is (N, H, W, C_in), w (kh, kw, C_in // groups, C_out), b (C_out,), y (N, OH, OW, C_out). Each
    tap is one matrix multiply over all pixels. An output channel sees the input channels of its own
    group only. With relu, the result is max(y, 0). (A cross-correlation, as usual in this field.)
    """
    output_size = map(conv_output_size, x.shape[1:3], w.shape[:2], stride, padding, dilation)
    padded = pad(x, padding)
    y = np.zeros((len(x), *output_size, w.shape[3]), x.dtype)
    for u, v, seen in taps(w.shape[:2], stride, dilation, y.shape[1:3]):
        _by_group(y, groups)[...] += _by_group(padded[seen], groups) @ _by_group(w[u, v], groups)
    if b is not None:
        y += b
    return np.maximum(y, 0) if relu else y


def conv2d_input_grad(
    g: Array,
    w: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of a convolution's input from g, that of its output.

        dx[n,h,w,c] += sum over o of g[n,i,j,o] w[u,v,c,o]    for all i,j,u,v

    g is (N, OH, OW, C_out), dx has the input_shape. Where a tap read from, it now adds to.
    """
    dx = np.zeros(padded_shape(input_shape, padding), g.dtype)
    for u, v, seen in taps(w.shape[:2], stride, dilation, g.shape[1:3]):
        # dx[p,c] = sum over o of g[p,o] w[c,o], group by group, then the groups side by side
        product = _by_group(g, groups) @ _by_group(w[u, v], groups).mT
        dx[seen] += product.swapaxes(0, 1).reshape(*g.shape[:3], input_shape[3])
    return crop(dx, padding, input_shape)


def conv2d_weight_grad(
    g: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of a convolution's weight from g, that of its output.

        dw[u,v,c,o] = sum over n,i,j of x[n,h,w,c] g[n,i,j,o]

    g is (N, OH, OW, C_out), dw has the weight_shape. Each tap is one matrix multiply.
    """
    padded = pad(x, padding)
    dw = np.empty(weight_shape, g.dtype)
    for u, v, seen in taps(weight_shape[:2], stride, dilation, g.shape[1:3]):
        _by_group(dw[u, v], groups)[...] = _by_group(padded[seen], groups).mT @ _by_group(g, groups)
    return dw


def conv2d_grads(
    g: Array,
    x: Array,
    w: Array,
    out: Array | None,
    *,
    needs: tuple[bool, bool, bool],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of a convolution's input, weight and bias, those that needs asks for.

    g is that of its output, and out the output itself if the convolution ends in ReLU, else None:

        g[n,i,j,o] counts where out[n,i,j,o] > 0,    db[o] = sum over n,i,j of g[n,i,j,o]

    Together they take one pass over memory where apart they take several.
    """
    window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    window["groups"] = groups
    g = g if out is None else relu_grad(g, out)
    return (
        conv2d_input_grad(g, w, input_shape=x.shape, **window) if needs[0] else None,
        conv2d_weight_grad(g, x, weight_shape=w.shape, **window) if needs[1] else None,
        g.sum(axis=(0, 1, 2)) if needs[2] else None,
    )


def channel_sums(g: Array) -> Array:
    """Return the sums over all axes but the last: the gradient of a bias from that of the output.

    db[o] = sum over p of g[p,o]
    """
    return np.asarray(g.sum(axis=tuple(range(g.ndim - 1))))
