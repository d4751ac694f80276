"""Ops that make one number of many. `axis` is None (all axes), an int or a tuple, as in NumPy."""

from __future__ import annotations

import math

import numpy as np

import minigrad_ext as ext
from minigrad.arrays import is_large, quietly
from minigrad.engine import op
from minigrad.functional.elementwise import div, exp, where
from minigrad.functional.shapes import broadcast_to, reshape


@op
def sum(x, *, axis=None, keepdims=False):
    """The sum over `axis`; 0 over none."""
    axes = _axes(np.shape(x), axis)
    if axes and not keepdims and is_large(x) and axes == tuple(range(x.ndim - 1)):
        return ext.channel_sums(x)  # as for the gradient of a bias
    return np.sum(x, axis=axes, keepdims=keepdims)


sum.vjp(x=lambda g, x_shape, axis, keepdims: _spread(g, x_shape, axis))


@op
def mean(x, *, axis=None, keepdims=False):
    """The mean over `axis`; NaN over none."""
    total = np.sum(x, axis=_axes(np.shape(x), axis), keepdims=keepdims)
    return quietly(np.divide, total, _count(np.shape(x), axis))


mean.vjp(x=lambda g, x_shape, axis, keepdims: _spread(div(g, _count(x_shape, axis)), x_shape, axis))


@op
def var(x, *, axis=None, ddof=0, keepdims=False):
    """The mean squared distance from the mean, with `n - ddof` in place of n (NumPy's `ddof`)."""
    with np.errstate(all="ignore"):
        distance = x - mean(x, axis=axis, keepdims=True)
        squares = np.sum(distance * distance, axis=_axes(np.shape(x), axis), keepdims=keepdims)
        return np.divide(squares, _count(np.shape(x), axis, ddof))


var.vjp(
    x=lambda g, x, x_shape, axis, ddof, keepdims: (
        _spread(div(2.0 * g, _count(x_shape, axis, ddof)), x_shape, axis)
        * (x - mean(x, axis=axis, keepdims=True))
    )
)


@op
def max(x, *, axis=None, keepdims=False):
    """The largest number over `axis`; NaN wins. Equal ones share the gradient (as `amax`)."""
    return np.max(x, axis=_axes(np.shape(x), axis), keepdims=keepdims)


max.vjp(x=lambda g, x, out, x_shape, axis: _share(g, x, out, x_shape, axis))


@op
def min(x, *, axis=None, keepdims=False):
    """The smallest number over `axis`; NaN wins. Equal ones share the gradient (as `amin`)."""
    return np.min(x, axis=_axes(np.shape(x), axis), keepdims=keepdims)


min.vjp(x=lambda g, x, out, x_shape, axis: _share(g, x, out, x_shape, axis))


def _share(g, x, out, x_shape, axis):
    """Divide the gradient of an extreme equally among those that reach it."""
    reach = x == _spread(out, x_shape, axis)
    return div(where(reach, _spread(g, x_shape, axis), 0.0), sum(reach, axis=axis, keepdims=True))


@op
def logsumexp(x, *, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, without overflow; -Inf over none."""
    axes = _axes(np.shape(x), axis)
    with np.errstate(all="ignore"):
        top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
        top = np.where(np.isfinite(top), top, np.zeros((), top.dtype))
        total = np.log(np.sum(np.exp(x - top), axis=axes, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axes)


logsumexp.vjp(
    x=lambda g, x, out, x_shape, axis: (
        _spread(g, x_shape, axis) * exp(x - _spread(where(out == -np.inf, 0.0, out), x_shape, axis))
    )
)


@op
def argmax(x, *, axis=None, keepdims=False):
    """The index of the first largest number along `axis` (of the flat array for None)."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


argmax.vjp()


def _axes(shape, axis):
    """`axis` as a sorted tuple. As in NumPy, a single number may be reduced over axis 0 or -1."""
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    axes = np.lib.array_utils.normalize_axis_tuple(axis, ndim or 1)
    return tuple(sorted(axes)) if ndim else ()


def _count(shape, axis, ddof=0):
    """How many numbers go into one, less `ddof`; at least 0."""
    count = math.prod([shape[i] for i in _axes(shape, axis)]) - ddof
    return float(count) if count > 0 else 0.0


def _spread(g, shape, axis):
    """Repeat what was reduced over `axis` to the shape before."""
    axes = _axes(shape, axis)
    kept = tuple([1 if i in axes else n for i, n in enumerate(shape)])
    return broadcast_to(reshape(g, shape=kept), shape=shape)
