"""Softmax, and the losses that training minimises. Classes are along the last axis."""

from __future__ import annotations

import numpy as np

import minigrad_ext as ext
from minigrad.engine import Tensor, op
from minigrad.functional.elementwise import div, exp, mul, neg, sub
from minigrad.functional.reductions import mean, sum
from minigrad.functional.shapes import reshape


@op
def softmax(x, *, axis=-1):
    """exp(x) / sum(exp(x)) along `axis`, without overflow."""
    with np.errstate(all="ignore"):
        powers = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
        return powers / np.sum(powers, axis=axis, keepdims=True)


softmax.vjp(x=lambda g, out, axis: out * (g - sum(g * out, axis=axis, keepdims=True)))


@op
def log_softmax(x, *, axis=-1):
    """log(softmax(x)) along `axis`, exact where softmax rounds to 0."""
    with np.errstate(all="ignore"):
        x = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


log_softmax.vjp(x=lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))


@op
def _cross_entropy(logits, *, labels, label_smoothing, ignore_index):
    # row by row: -sum(target log(softmax(logits))), and 0 where the label is ignored
    return ext.softmax_cross_entropy(
        logits, labels, label_smoothing=label_smoothing, ignore_index=ignore_index
    )


_cross_entropy.vjp(
    logits=lambda g, logits, labels, label_smoothing, ignore_index: _cross_entropy_grad(
        g, logits, labels=labels, label_smoothing=label_smoothing, ignore_index=ignore_index
    )
)


@op
def _cross_entropy_grad(dy, logits, *, labels, label_smoothing, ignore_index):
    # row by row: dy (softmax(logits) - target), and 0 where the label is ignored
    return ext.softmax_cross_entropy_grad(
        dy, logits, labels, label_smoothing=label_smoothing, ignore_index=ignore_index
    )


_cross_entropy_grad.vjp(
    dy=lambda g, logits, labels, label_smoothing, ignore_index: sum(
        g * _slope(logits, labels, label_smoothing, ignore_index), axis=1
    ),
    logits=lambda g, dy, logits, labels, ignore_index: (
        reshape(dy, shape=(-1, 1)) * _curvature(g, logits, labels, ignore_index)
    ),
)


def _slope(logits, labels, label_smoothing, ignore_index):
    ones = np.ones(labels.shape, logits.dtype)
    config = {"labels": labels, "label_smoothing": label_smoothing, "ignore_index": ignore_index}
    return _cross_entropy_grad(ones, logits, **config)


def _curvature(g, logits, labels, ignore_index):
    # the derivative of softmax, p (g - sum(g p)), in the rows that count
    p = softmax(logits)
    return (labels != ignore_index)[:, None] * p * (g - sum(g * p, axis=1, keepdims=True))


def cross_entropy(logits, labels, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    """The negative log-likelihood of the labels under softmax(logits).

    Args:
        logits: (..., classes), float32 or float64.
        labels: (...), the class of each row, an integer; or probabilities, of the shape of
            `logits`.
        label_smoothing: how much of the target is spread evenly over all classes, from 0 to 1
            (Szegedy et al. 2016, section 7).
        ignore_index: rows with this label count for nothing.
        reduction: "mean" over the rows that count (NaN where none does), "sum", or "none" for the
            loss of each row.

    Raises:
        ValueError: a label out of range; shapes that do not fit; an unknown reduction.
    """
    target = labels if isinstance(labels, Tensor) else np.asarray(labels)
    labels = target.data if isinstance(target, Tensor) else target
    shape = np.shape(logits)
    if not shape or labels.shape not in (shape, shape[:-1]):
        raise ValueError(
            f"cross_entropy: expected labels of shape {shape[:-1]} (or probabilities of shape "
            f"{shape}) for logits of shape {shape}, got {labels.shape}"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: expected label_smoothing from 0 to 1, got {label_smoothing}"
        )
    if labels.shape == shape and labels.dtype.kind == "f":
        target = target.astype(logits.dtype) * (1 - label_smoothing) + label_smoothing / shape[-1]
        losses = neg(sum(mul(target, log_softmax(logits)), axis=-1))
        return _reduce("cross_entropy", losses, reduction, labels[..., 0].size)
    if labels.shape == shape:
        raise ValueError(
            f"cross_entropy: expected labels of shape {shape[:-1]}, or probabilities of a float "
            f"dtype, got {labels.dtype} of shape {shape}; of one-hot labels take argmax(axis=-1)"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: expected integer labels, got {labels.dtype}; use astype(int)"
        )
    rows = reshape(logits, shape=(labels.size, shape[-1]))
    losses = _cross_entropy(
        rows,
        labels=labels.reshape(-1).copy(),  # backward needs them unchanged
        label_smoothing=float(label_smoothing),
        ignore_index=ignore_index,
    )
    counted = np.count_nonzero(labels != ignore_index)
    return _reduce("cross_entropy", reshape(losses, shape=labels.shape), reduction, counted)


def mse_loss(x, y, *, reduction="mean"):
    """The squared difference of x and y, which have one shape; "mean", "sum" or "none" of it.

    Raises:
        ValueError: other shapes; broadcasting (N, 1) against (N,) is a mistake often made.
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(
            f"mse_loss: expected x and y of one shape, got {np.shape(x)} and {np.shape(y)}; "
            "reshape one of them"
        )
    difference = sub(x, y)
    return _reduce("mse_loss", mul(difference, difference), reduction)


def _reduce(name, losses, reduction, count=None):
    """All losses as one number, or as they are."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    if reduction == "mean":
        return mean(losses) if count is None else div(sum(losses), float(count))
    raise ValueError(f'{name}: expected reduction "mean", "sum" or "none", got {reduction!r}')
