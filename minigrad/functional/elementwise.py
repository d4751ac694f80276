"""Ops on each number alone, with broadcasting; each with its derivative beside it.

A rule reads `input <- gradient of the output times the local slope`. It is written with ops and
operators, so the same line serves arrays (backward) and tensors (higher orders). Where a function
has a kink the slope is PyTorch's choice, and the docstring says it. Broadcasting is undone by the
engine.
"""

from __future__ import annotations

import math
import operator

import numpy as np

import minigrad_ext as ext
from minigrad.arrays import plus, quietly
from minigrad.engine import op

COMPILED_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@op
def add(x, y):
    """x + y."""
    return plus(x, y)


add.vjp(x=lambda g: g, y=lambda g: g)


@op
def sub(x, y):
    """x - y."""
    return x - y


sub.vjp(x=lambda g: g, y=lambda g: -g)


@op
def mul(x, y):
    """x * y."""
    return x * y


mul.vjp(x=lambda g, y: g * y, y=lambda g, x: g * x)


@op
def div(x, y):
    """x / y; division by zero gives Inf or NaN."""
    return quietly(np.divide, x, y)


div.vjp(x=lambda g, y: div(g, y), y=lambda g, x, y: div(-g * x, y * y))


@op
def neg(x):
    """-x."""
    return np.negative(x)


neg.vjp(x=lambda g: -g)


@op
def pow(x, y):
    """x to the power y. The slope in x is 0 where y is 0, that in y is 0 where x is 0."""
    return quietly(operator.pow, x, y)


pow.vjp(
    x=lambda g, x, y: _pow_base(g, x, y),
    y=lambda g, x, y, out: where((y >= 0) & (x == 0), 0.0, g * out * log(x)),
)


def _pow_base(g, x, y):
    """g y x^(y - 1), and 0 where y is 0."""
    if isinstance(y, int | float):
        return g * (y * pow(x, y - 1)) if y else g * 0.0
    return where(y == 0, 0.0, g * y * pow(x, where(y == 0, 1.0, y - 1.0)))


@op
def abs(x):
    """|x|; the slope at 0 is 0."""
    return np.abs(x)


abs.vjp(x=lambda g, x: g * sign(x))


@op
def sign(x):
    """-1, 0 or 1, as x is; the slope is 0."""
    return np.sign(x)


sign.vjp(x=lambda g: g * 0.0)


@op
def exp(x):
    """e to the power x; Inf where that overflows."""
    return quietly(np.exp, x)


exp.vjp(x=lambda g, out: g * out)


@op
def log(x):
    """The natural logarithm; -Inf at 0, NaN below."""
    return quietly(np.log, x)


log.vjp(x=lambda g, x: div(g, x))


@op
def sqrt(x):
    """The square root, NaN below 0; the slope at 0 is Inf."""
    return quietly(np.sqrt, x)


sqrt.vjp(x=lambda g, out: div(g, 2.0 * out))


@op
def maximum(x, y):
    """The larger of x and y; NaN wins. Where they are equal, each gets half of the gradient."""
    return np.maximum(x, y)


maximum.vjp(
    x=lambda g, x, y: where(x == y, 0.5 * g, where(x < y, 0.0, g)),
    y=lambda g, x, y: where(x == y, 0.5 * g, where(x > y, 0.0, g)),
)


@op
def minimum(x, y):
    """The smaller of x and y; NaN wins. Where they are equal, each gets half of the gradient."""
    return np.minimum(x, y)


minimum.vjp(
    x=lambda g, x, y: where(x == y, 0.5 * g, where(x > y, 0.0, g)),
    y=lambda g, x, y: where(x == y, 0.5 * g, where(x < y, 0.0, g)),
)


@op
def _clip(x, low, high):
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


_clip.vjp(
    x=lambda g, x, low, high: where(_at_least(x, low) & _at_least(high, x), g, 0.0),
    low=lambda g, x, low, high: where(_at_least(x, low) | _at_least(low, high, False), 0.0, g),
    high=lambda g, x, low, high: where(_at_least(high, x) & _at_least(high, low), 0.0, g),
)


def _at_least(x, y, unlimited=True):
    """x >= y, and `unlimited` where one of them is no limit."""
    return np.bool_(unlimited) if x is None or y is None else x >= y


def clip(x, min=None, max=None):
    """x, but at least `min` and at most `max`: numbers, arrays or tensors; None for no limit.

    The gradient goes to x from limit to limit, the limits included, and to a limit where it took
    the place of x. NaN stays NaN.
    """
    if min is None and max is None:
        raise ValueError("clip: expected min, max or both, got neither; pass the limit to apply")
    return _clip(x, min, max)


@op
def where(condition, x, y):
    """x where the condition holds, y elsewhere. Each gets the gradient where it was taken.

    A NaN in the branch that was not taken does no harm to the value, nor to the gradient here; but
    the gradient of what *made* it may still be NaN (0 * Inf): clip its input first.
    """
    return np.where(condition, x, y)


where.vjp(
    x=lambda g, condition: where(condition, g, 0.0),
    y=lambda g, condition: where(condition, 0.0, g),
)


@op
def relu(x):
    """max(x, 0); NaN stays NaN. The slope at 0 is 0, that at NaN is 1."""
    return ext.relu(x) if _has_kernels(x) else np.maximum(x, 0)


relu.vjp(x=lambda g, out: relu_grad(g, out))


@op
def add_relu(x, y):
    """max(x + y, 0) of two arrays of one shape, as `relu(x + y)`, in one pass over memory."""
    if _has_kernels(x) and _has_kernels(y) and x.shape == y.shape and x.dtype == y.dtype:
        return ext.add_relu(x, y)
    return np.maximum(x + y, 0)


add_relu.vjp(x=lambda g, out: relu_grad(g, out), y=lambda g, out: relu_grad(g, out))


@op
def relu_grad(dy, y):
    """The gradient that passes a ReLU with output y: 0 where y is 0, dy elsewhere."""
    return ext.relu_grad(dy, y) if _has_kernels(y) else np.where(y <= 0, 0, dy)


relu_grad.vjp(dy=lambda g, y: relu_grad(g, y))


def _has_kernels(x):
    """Whether x is an array of a dtype that the compiled side takes."""
    return type(x) is np.ndarray and x.dtype in COMPILED_DTYPES


@op
def leaky_relu(x, *, negative_slope=0.01):
    """x where it is positive, `negative_slope` * x elsewhere (at 0, too)."""
    return np.where(x > 0, x, negative_slope * x)


leaky_relu.vjp(x=lambda g, x, negative_slope: where(x > 0, g, negative_slope * g))


@op
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + quietly(np.exp, np.negative(x)))  # 1 / Inf is what is meant


sigmoid.vjp(x=lambda g, out: g * out * (1.0 - out))


@op
def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.vjp(x=lambda g, out: g * (1.0 - out * out))


@op
def erf(x):
    """The error function, 2/sqrt(pi) times the integral of e^-t^2 from 0 to x."""
    return ext.erf(x)


erf.vjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


@op
def _gelu(x):
    with np.errstate(invalid="ignore"):  # -Inf * 0
        return x * _normal_cdf(x)


_gelu.vjp(x=lambda g, x: g * (_normal_cdf(x) + x * exp(-0.5 * x * x) / math.sqrt(2 * math.pi)))


def _normal_cdf(x):
    return 0.5 + 0.5 * erf(x * math.sqrt(0.5))


def gelu(x, *, approximate="none"):
    """x times the probability that a standard normal number is below x (Hendrycks & Gimpel 2016).

    By the error function; or, with `approximate="tanh"`, by their formula with tanh.
    """
    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ValueError(f'gelu: expected approximate "none" or "tanh", got {approximate!r}')
    inner = mul(add(x, 0.044715 * mul(x, mul(x, x))), math.sqrt(2 / math.pi))
    return mul(x, 0.5 + 0.5 * tanh(inner))


@op
def astype(x, *, dtype):
    """x converted to another dtype. The gradient comes back in the dtype of x."""
    return np.asarray(x).astype(dtype)


astype.vjp(x=lambda g: g)
