"""Dropout and batch normalisation: what behaves differently in training and in evaluation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import minigrad_ext as ext
from minigrad import random
from minigrad.engine import Tensor, op
from minigrad.functional.elementwise import pow, relu
from minigrad.functional.reductions import sum, var
from minigrad.modes import modes


def dropout(x, *, p=0.5, training=True, rng=None):
    """In training, set each number to 0 with probability `p` and divide the rest by 1 - p.

    The mean stays what it was (Srivastava et al. 2014, "inverted" form), and evaluation returns x
    itself.

    Args:
        x: any shape, float32 or float64.
        p: from 0 to 1.
        training: whether to do anything.
        rng: a NumPy Generator; by default the one that `manual_seed` seeds.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: expected a probability p from 0 to 1, got {p}")
    if not training or p == 0:
        return x
    rng = random.default_rng() if rng is None else rng
    return _dropout(x, p=p, seed=int(rng.integers(2**64, dtype=np.uint64)))


@op
def _dropout(x, *, p, seed):
    # y = x mask / (1 - p), the mask being a function of the seed
    return ext.dropout(x, p=p, seed=seed)


_dropout.vjp(x=lambda g, p, seed: _dropout(g, p=p, seed=seed))


def batch_norm(
    x,
    weight,
    bias,
    running_mean,
    running_var,
    *,
    training,
    momentum=0.1,
    eps=1e-5,
    activation=None,
):
    """Bring each channel to mean 0 and variance 1, then to `bias` and `weight` (Ioffe & Szegedy).

    In training by the mean and variance of this batch, which are also averaged into the running
    ones, in place: running <- (1 - momentum) running + momentum batch, the variance with m - 1 of m
    pixels in the denominator, as PyTorch has it. In evaluation by the running ones.

    Args:
        x: (..., C), float32 or float64; usually (N, H, W, C).
        weight, bias: (C,), or None for 1 and 0.
        running_mean, running_var: (C,), changed in training; None to keep no record.
        training: by the batch or by the running statistics.
        momentum: the share of the new batch.
        eps: added to the variance.
        activation: None, or "relu" to apply it to the result.

    Raises:
        ValueError: shapes that do not fit; a single pixel in training; no statistics to evaluate
            by; an unknown activation.
    """
    if activation not in (None, "relu"):
        raise ValueError(f'batch_norm: expected activation None or "relu", got {activation!r}')
    C, m = np.shape(x)[-1], math.prod(np.shape(x)[:-1])
    weight = np.ones(C, x.dtype) if weight is None else weight
    bias = np.zeros(C, x.dtype) if bias is None else bias
    if training:
        if m == 1:
            raise ValueError(
                "batch_norm: expected more than one pixel for each channel in training, got an "
                f"input of shape {np.shape(x)}; use a larger batch, or call eval() first"
            )
        mean, variance = ext.batch_norm_statistics(_array(x))
        y = _normalize(x, weight, bias, statistics=Statistics.of(mean, variance, eps))
        if m > 1 and not modes.replaying:
            _average(running_mean, mean, momentum)
            _average(running_var, variance * (m / (m - 1)), momentum)
    else:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: evaluation needs running_mean and running_var, got None; pass them, "
                "or training=True"
            )
        # Copies, because training changes the running statistics in place, perhaps before backward.
        mean, variance = (_array(r).astype(x.dtype) for r in (running_mean, running_var))
        y = _standardize(x, weight, bias, statistics=Statistics.of(mean, variance, eps))
    return y if activation is None else relu(y)


class Statistics(NamedTuple):
    """What a channel is normalised by: x^ = (x - mean) inv_std."""

    mean: np.ndarray
    inv_std: np.ndarray
    eps: float

    @classmethod
    def of(cls, mean, variance, eps):
        """With inv_std = 1 / sqrt(variance + eps)."""
        return cls(mean, (1 / np.sqrt(variance + eps)).astype(mean.dtype, copy=False), eps)


def _array(x):
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def _average(running, batch, momentum):
    """running <- (1 - momentum) running + momentum batch, in place."""
    if running is None:
        return
    array = _array(running)
    array *= 1 - momentum
    array += momentum * batch
    if isinstance(running, Tensor):
        running.bump_version()


def _batch_norm(x, weight, bias, statistics):
    # y = weight x^ + bias
    return ext.batch_norm(x, statistics.mean, statistics.inv_std, weight, bias, relu=False)


@op
def _standardize(x, weight, bias, *, statistics):
    # by statistics that do not depend on x
    return _batch_norm(x, weight, bias, statistics)


_standardize.vjp(
    x=lambda g, weight, statistics: g * (weight * statistics.inv_std),
    weight=lambda g, x, statistics: sum(
        g * ((x - statistics.mean) * statistics.inv_std), axis=_pixels(x)
    ),
    bias=lambda g: sum(g, axis=_pixels(g)),
)


def _pixels(x):
    """All axes but the channels."""
    return tuple(range(x.ndim - 1))


# From here on the statistics are those of x itself. They are handed on to save computing them
# again, but the ops are functions of x, and their rules know how the statistics depend on it:
# d mean / d x = 1/m  and  d inv_std / d x = -inv_std^2 x^ / m,  with m pixels.


@op
def _normalize(x, weight, bias, *, statistics):
    return _batch_norm(x, weight, bias, statistics)


@_normalize.vjp_joint
def _normalize_vjp(needs, g, x, weight, statistics):
    sums = _normalize_sums(g, x, statistics=statistics)
    dx = _normalize_input_grad(g, x, weight, sums, statistics=statistics) if needs[0] else None
    return dx, sums[1], sums[0]


@op
def _normalize_sums(dy, x, *, statistics):
    # (2, C): the gradients of bias and weight, sum(dy) and sum(dy x^)
    return ext.batch_norm_sums(dy, x, statistics.mean, statistics.inv_std)


_normalize_sums.vjp(
    dy=lambda g, x, statistics: g[0] + g[1] * _hat(x, statistics),
    x=lambda g, dy, x, statistics: _hat_vjp(g[1] * dy, x, statistics),
)


@op
def _normalize_input_grad(dy, x, weight, sums, *, statistics):
    # dx = weight inv_std (dy - sums[0] / m - x^ sums[1] / m)
    mean, inv_std, _ = statistics
    return ext.batch_norm_input_grad(dy, x, mean, inv_std, weight, sums)


@_normalize_input_grad.vjp_joint
def _normalize_input_grad_vjp(g, dy, x, weight, sums, statistics):
    m, ones = math.prod(x.shape[:-1]), np.ones(x.shape[-1], x.dtype)
    r, hat = pow(var(x, axis=_pixels(x)) + statistics.eps, -0.5), _hat(x, statistics)
    unscaled = _normalize_input_grad(dy, x, ones, sums, statistics=statistics)
    by_weight = sum(g * unscaled, axis=_pixels(x))
    by_sums = _normalize_sums(g, x, statistics=statistics) * (weight * r * (-1 / m))
    by_hat = g * (weight * r * sums[1] * (-1 / m))
    by_x = _hat_vjp(by_hat, x, statistics) - hat * (r * weight * by_weight * (1 / m))
    return g * (weight * r), by_x, by_weight, by_sums


def _hat(x, statistics):
    """x^, as a function of x."""
    C = x.shape[-1]
    return _normalize(x, np.ones(C, x.dtype), np.zeros(C, x.dtype), statistics=statistics)


def _hat_vjp(g, x, statistics):
    """The gradient of sum(g x^) with respect to x."""
    ones, sums = np.ones(x.shape[-1], x.dtype), _normalize_sums(g, x, statistics=statistics)
    return _normalize_input_grad(g, x, ones, sums, statistics=statistics)
