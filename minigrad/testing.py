"""Checks of derivatives against finite differences, for our ops and for yours.

    gradcheck(F.tanh, x)
    gradgradcheck(lambda x, w: F.conv2d(x, w, padding=1), x, w)

A derivative is checked along a random direction v, weighting the outputs by a random u: the slope
of s(x) = sum(u f(x)) along v is sum(grad v) by the rules, and (s(x + h v) - s(x - h v)) / 2h by
central differences (Nocedal & Wright 2006, section 8.1). That costs two calls for a direction, at
any size. A wrong gradient of any one number shows, because v has a part in every direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine import Node, Tensor
from minigrad.gradient import grad
from minigrad.modes import enable_grad, no_grad


def gradcheck(
    function: Callable[..., Any],
    *inputs: Any,
    rtol: float = 1e-6,
    step: float = 1e-5,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check the first derivatives of a function; returns True, or raises AssertionError.

    Args:
        function: takes tensors, returns a Tensor or a sequence of them; smooth at the inputs.
        inputs: float arrays and tensors are checked, in float64; others are handed on as they are.
            A Tensor that does not require a gradient, while another one does, is handed on too.
        rtol: how far the two slopes may be apart, relative to the size of the terms of their sum.
            Central differences with step 1e-5 are good to about 1e-9 in float64.
        step: how far to go along a direction of length about 1 per number.
        directions: how many random directions to try for each input.
        seed: of the directions and weights.

    The function and its rules get read-only arrays, so that writing to what they were given raises.
    """
    rng = np.random.default_rng(seed)
    tensors = _as_float64(inputs)
    with enable_grad():
        outputs = _as_list(function(*tensors))
        weights = [_frozen(rng.standard_normal(y.shape)) for y in outputs]
        checked = [x for x in tensors if isinstance(x, Tensor) and x.requires_grad]
        _freeze_graph(outputs)
        live = [(y, u) for y, u in zip(outputs, weights, strict=True) if y.requires_grad]
        gradients = (
            grad([y for y, _ in live], checked, [u for _, u in live], allow_unused=True)
            if live
            else [None] * len(checked)
        )
    name = getattr(function, "__name__", "function")
    for position, x in enumerate(tensors):
        if not (isinstance(x, Tensor) and x.requires_grad):
            continue
        found = gradients[next(i for i, y in enumerate(checked) if y is x)]
        slope = np.zeros(x.shape) if found is None else found.data
        for _ in range(directions):
            v = _direction(rng, x.shape)
            expected = _slope(function, tensors, position, v, weights, step)
            got = float(np.sum(slope * v))
            size = max(float(np.sqrt(np.sum((slope * v) ** 2))), abs(expected), abs(got))
            if not abs(got - expected) <= rtol * size + 1e-9 * (found is not None):
                raise AssertionError(
                    f"gradcheck: {name}: the gradient by input {position} gives the slope "
                    f"{got:.10g} along a random direction, finite differences give {expected:.10g}"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any], *inputs: Any, seed: int = 0, **options: Any
) -> bool:
    """Check the second derivatives: gradcheck of the gradient itself.

    Arguments as of `gradcheck`.
    """
    tensors = _as_float64(inputs)
    with no_grad():
        outputs = _as_list(function(*tensors))
    rng = np.random.default_rng(seed + 1)
    weights = [Tensor(rng.standard_normal(y.shape), requires_grad=True) for y in outputs]

    def gradient(*arguments: Any) -> list[Tensor]:
        xs, us = arguments[: len(tensors)], arguments[len(tensors) :]
        wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        with enable_grad():
            ys = _as_list(function(*xs))
            found = grad(ys, wanted, us, create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    gradient.__name__ = f"gradient of {getattr(function, '__name__', 'function')}"
    return gradcheck(gradient, *tensors, *weights, seed=seed, **options)


def _slope(
    function: Callable[..., Any],
    tensors: list[Any],
    position: int,
    v: np.ndarray,
    weights: list[np.ndarray],
    step: float,
) -> float:
    """The slope of sum(u f(x)) along v, by central differences."""

    def at(distance: float) -> list[np.ndarray]:
        moved = list(tensors)
        data = _frozen(tensors[position].data + distance * v)
        moved[position] = Tensor(data, requires_grad=True)
        return [y.data for y in _as_list(function(*moved))]

    pairs = zip(weights, at(step), at(-step), strict=True)
    # The difference first: the weighted sums are large beside it, and would swallow its digits.
    return sum(float(np.sum(u * (ahead - behind))) for u, ahead, behind in pairs) / (2 * step)


def _direction(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A random direction with no small part, so that no single number can hide."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def _as_float64(inputs: tuple[Any, ...]) -> list[Any]:
    """Inputs as leaves that require a gradient, where they can."""
    some = any(isinstance(x, Tensor) and x.requires_grad for x in inputs)

    def convert(x: Any) -> Any:
        if not isinstance(x, Tensor | np.ndarray) or x.dtype.kind != "f":
            return x
        constant = isinstance(x, Tensor) and some and not x.requires_grad
        data = x.data if isinstance(x, Tensor) else x
        return Tensor(_frozen(data.astype(np.float64)), requires_grad=not constant)

    return [convert(x) for x in inputs]


def _as_list(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _frozen(numbers: Any) -> np.ndarray:
    array = np.asarray(numbers)
    array.flags.writeable = False
    return array


def _freeze_graph(outputs: list[Tensor]) -> None:
    """Make every array that the graph keeps read-only, so that a rule that writes raises."""
    stack: list[Any] = [y.node for y in outputs]
    seen = set()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack.extend(node.parents or ())
            for array in node.kept or ():
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False
