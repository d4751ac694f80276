"""Arrays on their way in and out of the engine. Nothing here knows of tensors or gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import numpy as np
from numpy import ndarray

import minigrad_ext as ext

# What an op takes as it is; anything else goes through `as_operand`.
PLAIN = frozenset({np.ndarray, float, int, bool, type(None)})

LARGE = 65536  # numbers from which on a kernel is quicker than NumPy


with np.errstate(all="ignore"):
    _quiet = copy_context()


def quietly(function: Callable[..., Any], *arrays: Any) -> Any:
    """Call a NumPy function without its warnings of overflow, division by zero and NaN.

    What `with np.errstate(all="ignore")` does, at a tenth of the cost: NumPy keeps that setting in
    a context variable, so it is enough to call the function in a context where it is made.
    """
    return _quiet.copy().run(function, *arrays)


def as_array(data: Any, dtype: Any = None) -> np.ndarray:
    """What a Tensor holds: arrays keep their dtype and memory, numbers and lists become float32.

    Lists of bools stay bool (masks). Byte-swapped arrays are converted to native order.
    """
    if hasattr(data, "__array__"):  # NumPy's, another library's, or a Tensor
        array = np.asarray(data)
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(
                "Tensor: expected numbers nested to a rectangle, got lists of unequal length"
            ) from error
        if array.dtype.kind in "iuf" and dtype is None:
            array = array.astype(np.float32)
    if dtype is not None:
        array = array.astype(dtype, copy=False)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"Tensor: expected float, integer or bool data, got {array.dtype}; convert it first"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def as_operand(name: str, value: Any, weak: bool) -> Any:
    """An op's input that is not a Tensor, as an array or a Python number.

    Beside a Tensor (`weak`) a NumPy scalar acts as a Python number does: it never changes the
    dtype of the result. (`x * np.sqrt(2)` would make float64 of everything otherwise.)
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, np.generic):
        return value.item() if weak else np.asarray(value)
    if isinstance(value, list | tuple | np.ndarray) or hasattr(value, "__array__"):
        return as_array(value)
    raise TypeError(f"{name}: expected a Tensor, an array or a number, got {type(value).__name__}")


def unbroadcast(g: Any, shape: tuple[int, ...], name: str) -> Any:
    """Sum `g` over the axes along which broadcasting repeated an input of this shape.

    The adjoint of broadcasting: what was used many times gets the sum of its gradients. `g` may be
    an array or a Tensor.
    """
    if g.ndim < len(shape):  # assigned with more axes than the place had
        g = g.reshape((1,) * (len(shape) - g.ndim) + g.shape)
    lead = g.ndim - len(shape)
    if any(n not in (1, m) for n, m in zip(shape, g.shape[lead:], strict=True)):
        raise RuntimeError(
            f"backward: the derivative of {name} gave a gradient of shape {g.shape} for an input "
            f"of shape {shape}; a rule returns the input's shape, or one that it broadcasts to"
        )
    stretched = [lead + i for i, n in enumerate(shape) if n == 1 != g.shape[lead + i]]
    return g.sum(axis=(*range(lead), *stretched)).reshape(shape)


def plus(x: Any, y: Any) -> Any:
    """The sum; large arrays are added by all threads, in memory that was used before."""
    if is_large(x) and is_large(y) and x.shape == y.shape and x.dtype == y.dtype:
        return ext.add(x, y)
    return x + y


def is_large(x: Any) -> bool:
    """Whether it is an array that a kernel takes as it is, and large enough to be worth it."""
    return (
        type(x) is ndarray
        and x.size >= LARGE
        and x.dtype in (np.float32, np.float64)
        and x.flags.c_contiguous
    )


def check_finite(array: Any, name: str, inputs: Any = ()) -> None:
    """Raise a RuntimeError naming the op if its result holds a NaN or Inf."""
    if _is_finite(array):
        return
    if all(_is_finite(x) for x in inputs):
        raise RuntimeError(f"detect_anomaly: {name} made the first NaN or Inf")
    raise RuntimeError(f"detect_anomaly: {name} was given a NaN or Inf")


def _is_finite(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def named_error(name: str, error: Exception, arrays: list[Any]) -> Exception:
    """The error of an op's body, as one that says which op it was and what it got."""
    kinds = (np.exceptions.AxisError, IndexError, TypeError, ValueError)
    kind: type[Exception] = next(k for k in kinds if isinstance(error, k))
    message = str(error)
    if re.match(r"\w+: ", message):  # it says so already
        return error
    shapes = ", ".join(str(np.shape(x)) for x in arrays if x is not None)
    return kind(f"{name}: {message} (inputs of shape {shapes})")
