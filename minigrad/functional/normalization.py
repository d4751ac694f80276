"""Batch normalisation, with the ReLU and the sum of a residual block in the same pass."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import minigrad_ext as ext
from minigrad.engine import Tensor, op
from minigrad.functional.elementwise import add, pow, relu_grad
from minigrad.functional.reductions import sum, var
from minigrad.modes import replaying


def batch_norm(
    x,
    weight,
    bias,
    running_mean,
    running_var,
    residual=None,
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
        residual: what is added before the activation, of x's shape, or None.
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
    relu = activation == "relu"
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: evaluation needs running_mean and running_var, got None; pass them, "
                "or training=True"
            )
        # Copies, because training changes the running statistics in place, perhaps before backward.
        mean, variance = (_array(r).astype(x.dtype) for r in (running_mean, running_var))
        statistics = Statistics.of(mean, variance, eps)
        return _standardize(x, weight, bias, residual, statistics=statistics, relu=relu)
    if m == 1:
        raise ValueError(
            "batch_norm: expected more than one pixel for each channel in training, got an "
            f"input of shape {np.shape(x)}; use a larger batch, or call eval() first"
        )
    mean, variance = ext.batch_norm_statistics(_array(x))
    statistics = Statistics.of(mean, variance, eps)
    if relu and residual is not None:
        y = _normalize_add_relu(x, weight, bias, residual, statistics=statistics)
    else:
        y = _normalize(x, weight, bias, statistics=statistics, relu=relu)
        y = y if residual is None else add(y, residual)
    if m > 1 and not replaying.get():
        _average(running_mean, mean, momentum)
        _average(running_var, variance * (m / (m - 1)), momentum)
    return y


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


def _pixels(x):
    """All axes but the channels."""
    return tuple(range(x.ndim - 1))


# ------------------------------------------------------------- by statistics that x has no part in


@op
def _standardize(x, weight, bias, residual, *, statistics, relu):
    # y = weight x^ + bias + residual, or max(y, 0)
    mean, inv_std, _ = statistics
    return ext.batch_norm(x, mean, inv_std, weight, bias, residual, relu=relu)


@_standardize.vjp_joint
def _standardize_vjp(needs, g, x, weight, out, statistics, relu):
    mean, inv_std, _ = statistics
    g = relu_grad(g, out) if relu else g
    return (
        g * (weight * inv_std) if needs[0] else None,
        sum(g * ((x - mean) * inv_std), axis=_pixels(x)) if needs[1] else None,
        sum(g, axis=_pixels(x)) if needs[2] else None,
        g,
    )


# -------------------------------------------------------------------- by the statistics of x itself

# They are handed on to save computing them again, but the ops are functions of x, and their rules
# know how the statistics depend on it:
# d mean / d x = 1/m  and  d inv_std / d x = -inv_std^2 x^ / m,  with m pixels.


@op
def _normalize(x, weight, bias, *, statistics, relu):
    # y = weight x^ + bias, or max(y, 0)
    mean, inv_std, _ = statistics
    return ext.batch_norm(x, mean, inv_std, weight, bias, None, relu=relu)


@_normalize.vjp_joint
def _normalize_vjp(needs, g, x, weight, bias, statistics, relu):
    # The kernels find out again where the ReLU was at work: that takes less time than reading the
    # output would. Where the derivative shall have one itself, the ReLU's part is an op of its own.
    if relu and isinstance(g, Tensor):
        g, relu = relu_grad(g, _normalize(x, weight, bias, statistics=statistics, relu=True)), False
    sums = _normalize_sums(g, x, weight, bias, statistics=statistics, relu=relu)
    dx = None
    if needs[0]:
        dx = _normalize_input_grad(g, x, weight, bias, sums, statistics=statistics, relu=relu)
    return dx, sums[1], sums[0]


@op
def _normalize_add_relu(x, weight, bias, residual, *, statistics):
    # y = max(weight x^ + bias + residual, 0)
    mean, inv_std, _ = statistics
    return ext.batch_norm(x, mean, inv_std, weight, bias, residual, relu=True)


@_normalize_add_relu.vjp_joint
def _normalize_add_relu_vjp(needs, g, x, weight, bias, out, statistics):
    g = relu_grad(g, out)
    return *_normalize_vjp(needs, g, x, weight, bias, statistics, relu=False), g


@op
def _normalize_sums(dy, x, weight, bias, *, statistics, relu):
    # (2, C): the gradients of bias and weight, sum(dy) and sum(dy x^)
    mean, inv_std, _ = statistics
    return ext.batch_norm_sums(dy, x, mean, inv_std, weight, bias, relu=relu)


_normalize_sums.vjp(
    dy=lambda g, x, statistics: g[0] + g[1] * _hat(x, statistics),
    x=lambda g, dy, x, statistics: _hat_vjp(g[1] * dy, x, statistics),
)


@op
def _normalize_input_grad(dy, x, weight, bias, sums, *, statistics, relu):
    # dx = weight inv_std (dy - sums[0] / m - x^ sums[1] / m)
    mean, inv_std, _ = statistics
    return ext.batch_norm_input_grad(dy, x, mean, inv_std, weight, bias, sums, relu=relu)


@_normalize_input_grad.vjp_joint
def _normalize_input_grad_vjp(g, dy, x, weight, bias, sums, statistics):
    m, r = math.prod(x.shape[:-1]), pow(var(x, axis=_pixels(x)) + statistics.eps, -0.5)
    one, zero = _identity(x)
    hat = _hat(x, statistics)
    unscaled = _normalize_input_grad(dy, x, one, zero, sums, statistics=statistics, relu=False)
    by_weight = sum(g * unscaled, axis=_pixels(x))
    by_sums = _normalize_sums(g, x, one, zero, statistics=statistics, relu=False) * (
        weight * r * (-1 / m)
    )
    by_hat = g * (weight * r * sums[1] * (-1 / m))
    by_x = _hat_vjp(by_hat, x, statistics) - hat * (r * weight * by_weight * (1 / m))
    return g * (weight * r), by_x, by_weight, 0.0 * bias, by_sums


def _hat(x, statistics):
    """x^, as a function of x."""
    return _normalize(x, *_identity(x), statistics=statistics, relu=False)


def _hat_vjp(g, x, statistics):
    """The gradient of sum(g x^) with respect to x."""
    needs = True, False, False
    return _normalize_vjp(needs, g, x, *_identity(x), statistics=statistics, relu=False)[0]


def _identity(x):
    """The weight and the bias that change nothing."""
    return np.ones(x.shape[-1], x.dtype), np.zeros(x.shape[-1], x.dtype)
