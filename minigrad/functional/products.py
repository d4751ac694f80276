"""Matrix products. A pointwise convolution is one, and so is everything that is fast here."""

from __future__ import annotations

import math

import numpy as np

import minigrad_ext as ext
from minigrad.engine import op
from minigrad.functional.elementwise import add
from minigrad.functional.shapes import broadcast_to, reshape, transpose


@op
def _matmul(x, y):
    # c[..., i, j] = sum_k x[..., i, k] y[..., k, j]
    if x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
        return np.matmul(x, y)
    if x.ndim == y.ndim == 2:
        return ext.matmul(x, y)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (x, y))
    count = math.prod(batch)
    out = ext.matmul(*(a.reshape(count, *a.shape[-2:]) for a in (x, y)))
    return out.reshape(*batch, *out.shape[-2:])


_matmul.vjp(
    x=lambda g, y: _matmul(g, _turned(y)),
    y=lambda g, x: _matmul(_turned(x), g),
)


def _turned(x):
    """The last two axes exchanged."""
    return transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def matmul(x, y):
    """The matrix product x @ y of (..., M, K) and (..., K, N), leading axes broadcast.

    A vector counts as a row on the left and as a column on the right, and its axis is gone in the
    result; two vectors give their inner product.
    """
    xs, ys = np.shape(x), np.shape(y)
    if not xs or not ys or xs[-1] != ys[-2:][0]:
        raise ValueError(
            f"matmul: expected shapes (..., M, K) and (..., K, N), got {xs} and {ys}; the last "
            "axis of x and the last but one of y (the only one of a vector) must have one length"
        )
    if len(ys) == 2 and len(xs) != 2:
        # Many rows against one matrix: a single product, whatever axes the rows are spread over.
        rows = reshape(x, shape=(math.prod(xs[:-1]), xs[-1]))
        return reshape(_matmul(rows, y), shape=(*xs[:-1], ys[-1]))
    left = reshape(x, shape=(1, *xs)) if len(xs) == 1 else x
    right = reshape(y, shape=(*ys, 1)) if len(ys) == 1 else y
    out = _matmul(left, right)
    shape = out.shape if len(xs) > 1 else (*out.shape[:-2], out.shape[-1])
    shape = shape if len(ys) > 1 else shape[:-1]
    return out if shape == out.shape else reshape(out, shape=shape)


def linear(x, w, b=None):
    """x @ w + b: x (..., in), w (in, out), b (out,) or None."""
    out = matmul(x, w)
    return out if b is None else add(out, b)


@op
def _einsum(*operands, subscripts):
    return np.einsum(subscripts, *operands, optimize=len(operands) > 1)


@_einsum.vjp_joint
def _einsum_vjp(g, operands, operands_shape, needs, subscripts):
    terms, result = subscripts.split("->")
    terms = terms.split(",")
    return [
        _einsum_rule(i, g, operands, operands_shape[i], terms, result) if needed else None
        for i, needed in enumerate(needs)
    ]


def _einsum_rule(i, g, operands, shape, terms, result):
    """The gradient for one operand is an einsum of the gradient and the other operands.

    Where an axis of the operand occurs nowhere else, it was summed, and its gradient repeats: that
    is a factor of ones. Where a letter stands twice in the operand, a diagonal was taken, and the
    gradient belongs on it: that is a factor that is an identity matrix.
    """
    others = [x for j, x in enumerate(operands) if j != i]
    sources = [result, *(term for j, term in enumerate(terms) if j != i)]
    fresh = iter(sorted(set(_LETTERS) - set("".join([result, *terms]))))
    known = set("".join(sources))
    factors, target = [], ""
    for letter, length in zip(terms[i], shape, strict=True):
        if letter in target:
            twin = next(fresh)
            factors.append((np.eye(length, dtype=g.dtype), letter + twin))
            target += twin
            continue
        if letter not in known:
            factors.append((np.ones(length, dtype=g.dtype), letter))
        target += letter
    inputs = ",".join([*sources, *(letters for _, letters in factors)])
    out = _einsum(g, *others, *(x for x, _ in factors), subscripts=f"{inputs}->{target}")
    # Along an axis where the other operands have length 1, every number gets the same.
    wide = np.broadcast_shapes(out.shape, shape)
    return out if out.shape == wide else broadcast_to(out, shape=wide)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts, *operands):
    """Sums of products by Einstein's convention: `einsum("ij,jk->ik", x, y)`.

    Letters may repeat within an operand (a diagonal), and `...` stands for further axes, which
    broadcast. Without `->` the result has the letters that occur once, in alphabetic order.
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            "einsum: expected the subscripts first, then the operands, as in "
            f'einsum("ij,jk->ik", x, y); got {type(subscripts).__name__} first'
        )
    return _einsum(*operands, subscripts=_explicit(subscripts, [np.ndim(x) for x in operands]))


def _explicit(subscripts, dimensions):
    """The same subscripts with letters for `...`, and with the result written out."""
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(dimensions):
        raise ValueError(
            f"einsum: {subscripts!r} names {len(terms)} operands, got {len(dimensions)}"
        )
    spare = [letter for letter in reversed(_LETTERS) if letter not in subscripts]
    widest = 0
    for k, (term, ndim) in enumerate(zip(terms, dimensions, strict=True)):
        hidden = ndim - len(term.replace("...", ""))
        if hidden < 0 or (hidden and "..." not in term):
            raise ValueError(
                f"einsum: {subscripts!r} gives operand {k} the axes {term!r}, but it has {ndim}"
            )
        widest = max(widest, hidden)
        terms[k] = term.replace("...", "".join(spare[:hidden][::-1]))
    dots = "".join(spare[:widest][::-1])
    if not arrow:
        letters = "".join(terms)
        result = dots + "".join(
            c for c in sorted(set(letters)) if letters.count(c) == 1 and c not in dots
        )
    return ",".join(terms) + "->" + result.replace("...", dots)
