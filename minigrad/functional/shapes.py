"""Ops that move numbers and leave them as they are: their derivatives move gradients back."""

from __future__ import annotations

import itertools

import numpy as np

from minigrad.engine import Tensor, op


@op
def reshape(x, *, shape):
    """The same numbers, in row-major order, in another shape; one length may be -1."""
    return np.reshape(x, shape)


reshape.vjp(x=lambda g, x_shape: reshape(g, shape=x_shape))


@op
def transpose(x, *, axes=None):
    """The axes in another order; reversed for None."""
    return np.transpose(x, axes)


transpose.vjp(x=lambda g, axes: transpose(g, axes=_inverse(axes)))


def _inverse(axes):
    return None if axes is None else tuple(np.argsort([a % len(axes) for a in axes]).tolist())


@op
def broadcast_to(x, *, shape):
    """x repeated to `shape`, by NumPy's rules, without copying."""
    return np.broadcast_to(x, shape)


broadcast_to.vjp(x=lambda g: g)  # the engine sums over what was repeated


@op
def expand_dims(x, *, axis):
    """New axes of length 1, at these places of the result."""
    return np.expand_dims(x, axis)


expand_dims.vjp(x=lambda g, x_shape: reshape(g, shape=x_shape))


@op
def squeeze(x, *, axis=None):
    """Without the axes of length 1; without these alone where `axis` is given."""
    return np.squeeze(x, axis)


squeeze.vjp(x=lambda g, x_shape: reshape(g, shape=x_shape))


@op
def pad(x, *, pad_width, value=0.0):
    """x with `pad_width` times `value` around it: a number, a pair, or a pair for each axis."""
    return np.pad(x, pad_width, constant_values=value)


pad.vjp(x=lambda g, x_shape, pad_width: getitem(g, index=_inside(x_shape, pad_width)))


def _inside(shape, pad_width):
    befores = np.broadcast_to(np.asarray(pad_width, dtype=int), (len(shape), 2))[:, 0].tolist()
    return tuple([slice(b, b + n) for b, n in zip(befores, shape, strict=True)])


@op
def _concatenate(*arrays, axis):
    return np.concatenate(arrays, axis=axis)


@_concatenate.vjp_joint
def _concatenate_vjp(g, arrays_shape, axis):
    ends = list(itertools.accumulate([shape[axis] for shape in arrays_shape], initial=0))
    return [_along(g, axis, slice(a, b)) for a, b in itertools.pairwise(ends)]


def concatenate(*arrays, axis=0):
    """Arrays, or one sequence of them, one behind another along `axis`."""
    arrays, axis = _sequence("concatenate", arrays, axis)
    return _concatenate(*arrays, axis=axis)


@op
def _stack(*arrays, axis):
    return np.stack(arrays, axis=axis)


@_stack.vjp_joint
def _stack_vjp(g, arrays_shape, axis):
    return [_along(g, axis, i) for i in range(len(arrays_shape))]


def stack(*arrays, axis=0):
    """Arrays, or one sequence of them, all of one shape, along a new axis."""
    arrays, axis = _sequence("stack", arrays, axis)
    return _stack(*arrays, axis=axis)


def split(x, indices_or_sections, *, axis=0):
    """A list of parts of x along `axis`: so many of equal length, or cut at these indices."""
    length = np.shape(x)[axis]
    if isinstance(indices_or_sections, int | np.integer):
        if indices_or_sections < 1 or length % indices_or_sections:
            raise ValueError(
                f"split: expected a number of sections that divides the length {length} of axis "
                f"{axis}, got {indices_or_sections}; pass the indices to cut at instead"
            )
        size = length // int(indices_or_sections)
        indices_or_sections = range(size, length, size) if size else [0] * (indices_or_sections - 1)
    cuts = [None, *indices_or_sections, None]
    return [_along(x, axis, slice(a, b)) for a, b in itertools.pairwise(cuts)]


def _sequence(name, arrays, axis):
    """The arrays one by one, whether or not they came as one list, with the axis behind it."""
    if arrays and isinstance(arrays[0], list | tuple):
        arrays, axis = arrays[0], arrays[1] if len(arrays) > 1 else axis
    if not arrays:
        raise ValueError(f"{name}: expected at least one array, got none; pass one or more")
    return arrays, axis


def _along(x, axis, part):
    """x[..., part, ...] with `part` at `axis`."""
    axis = axis % np.ndim(x) if isinstance(x, np.ndarray) else axis % x.ndim
    return getitem(x, index=(slice(None),) * axis + (part,))


@op
def _getitem(x, *, index):
    return np.asarray(x)[index]


_getitem.vjp(x=lambda g, x_shape, index: _scatter(g, shape=x_shape, index=index))


@op
def _scatter(dy, *, shape, index):
    # zeros, with dy added at the index: the adjoint of getitem
    dx = np.zeros(shape, dy.dtype)
    if _repeats(index):
        np.add.at(dx, index, dy)
    else:
        dx[index] = dy
    return dx


_scatter.vjp(dy=lambda g, index: getitem(g, index=index))


def _repeats(index):
    """Whether an index can name an element twice: an array of integers can."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list | np.ndarray) and np.asarray(p).dtype.kind != "b" for p in parts)


@op
def setitem(x, value, *, index):
    """A copy of x with `value` at the index."""
    out = np.array(x)
    out[index] = value
    return out


setitem.vjp(
    x=lambda g, index: setitem(g, 0.0, index=index),
    value=lambda g, index: getitem(g, index=index),
)


def getitem(x, index):
    """x[index]: integers, slices, None, ..., arrays of integers or bools, as in NumPy.

    Numbers that an array of integers names twice get the sum of both gradients.
    """
    return _getitem(x, index=plain_index(index))


def plain_index(index):
    """An index with arrays for the tensors in it; copies, because backward needs them unchanged."""
    if isinstance(index, tuple):
        return tuple([plain_index(part) for part in index])
    index = index.data if isinstance(index, Tensor) else index
    return index.copy() if isinstance(index, np.ndarray) else index
