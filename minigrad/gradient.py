"""Gradients of chosen outputs by chosen inputs, to any order."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine import Tensor, seed, walk, wrap


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the outputs with respect to the inputs, as a tuple; no `.grad` is touched.

    Args:
        outputs, inputs: a Tensor, or a sequence of them. Inputs need not be leaves.
        grad_outputs: one gradient per output, or None for 1 where an output is a single number.
        retain_graph: keep the graph for another call; what `create_graph` says by default.
        create_graph: record the gradients, so that they can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.

    Raises:
        RuntimeError: as `Tensor.backward`; or an input is unused or does not require a gradient.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor | np.ndarray):
        grad_outputs = [grad_outputs] * len(outputs) if grad_outputs is None else [grad_outputs]
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"grad: expected one gradient for each of {len(outputs)} outputs, "
            f"got {len(grad_outputs)}"
        )
    for position, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError(
                f"grad: input {position} does not require a gradient, so nothing was recorded for "
                "it; create it with requires_grad=True"
            )
    seeds = [seed("grad", x, g) for x, g in zip(outputs, grad_outputs, strict=True)]
    keep = create_graph if retain_graph is None else retain_graph
    goals = [x.node or x for x in inputs]
    reached = walk(outputs, seeds, goals, retain_graph=keep, create_graph=create_graph)
    if not allow_unused:
        for position, goal in enumerate(goals):
            if goal not in reached:
                raise RuntimeError(
                    f"grad: the outputs do not depend on input {position}; pass allow_unused=True "
                    "to get None for it"
                )
    found = [reached.get(goal) for goal in goals]
    return tuple(g if g is None or isinstance(g, Tensor) else wrap(np.array(g)) for g in found)
