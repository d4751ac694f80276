"""Batch norm."""

import math

import numpy as np

from minigrad_ext._checks import Array

from .elementwise import relu_grad


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance over all m pixels; 0 if there are none.

    mean[c] = sum over p of x[p,c] / m,    var[c] = sum over p of (x[p,c] - mean[c])**2 / m
    """
    pixels = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).astype(np.float64)
    m = max(len(pixels), 1)
    mean = pixels.sum(axis=0) / m
    var = np.square(pixels - mean).sum(axis=0) / m
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm(
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    *,
    relu: bool,
) -> Array:
    """Normalise each channel (Ioffe and Szegedy, 2015, arXiv:1502.03167, algorithm 1).

        y[p,c] = (x[p,c] - mean[c]) * inv_std[c] * weight[c] + bias[c] + residual[p,c]

    x, y and residual (which can be None) are (..., C), the others (C,). With relu, the result is
    max(y, 0).
    """
    y = np.asarray((x - mean) * (inv_std * weight) + bias)
    y = y if residual is None else y + residual
    return np.maximum(y, 0) if relu else y


def batch_norm_sums(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array, *, relu: bool
) -> Array:
    """Return the gradients of bias and weight, (2, C), from g, that of `batch_norm`'s output.

        sums[0,c] = sum over p of g[p,c],    sums[1,c] = sum over p of g[p,c] xhat[p,c]

    with xhat = (x - mean) * inv_std; and 0 for g[p,c] where the ReLU was at work.
    """
    g = _past_relu(g, x, mean, inv_std, weight, bias) if relu else g
    pixels = tuple(range(x.ndim - 1))
    xhat = (x - mean) * inv_std
    sums = [a.sum(axis=pixels, dtype=np.float64) for a in (g, g * xhat)]
    return np.stack(sums).astype(x.dtype)


def batch_norm_input_grad(
    g: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    bias: Array,
    sums: Array,
    *,
    relu: bool,
) -> Array:
    """Return the gradient of x, through the statistics too, from g, that of the output.

        dx[p,c] = weight[c] inv_std[c] (g[p,c] - sums[0,c] / m - xhat[p,c] sums[1,c] / m)

    with m pixels and the sums of `batch_norm_sums`: section 3 of the paper, simplified.
    """
    g = _past_relu(g, x, mean, inv_std, weight, bias) if relu else g
    m = max(math.prod(x.shape[:-1]), 1)
    xhat = (x - mean) * inv_std
    return np.asarray(weight * inv_std * (g - sums[0] / m - xhat * sums[1] / m))


def _past_relu(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array
) -> Array:
    """What of g passes the ReLU: it is decided by the output, which is computed again."""
    return relu_grad(g, batch_norm(x, mean, inv_std, weight, bias, None, relu=True))
