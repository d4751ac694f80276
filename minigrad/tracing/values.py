"""What every op of a graph was given and returned, exactly, though the engine keeps little of it.

What rules need is there. The rest is computed again from it, in the order in which it was computed
first. Ops are functions of their arrays and configuration, so the same bits come out: a dropout has
its seed there, a batch norm its statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import random
from minigrad.checkpoint import Replay
from minigrad.declaration import LOST
from minigrad.engine import Node, Tensor
from minigrad.memory import changed_since
from minigrad.modes import Switched, anomaly, recording
from minigrad.origin import is_ours


@dataclass(slots=True)
class Call:
    """One call of an op: `LOST` stands for what cannot be known any more."""

    inputs: list[Any]
    config: dict[str, Any]
    output: Any


def recover(nodes: Sequence[Node], known: dict[Any, Any]) -> dict[Node, Call]:
    """The calls that made these nodes, which are in the order of their creation.

    Args:
        nodes: what to recover.
        known: the arrays of nodes and leaves that are known already; more are added.
    """
    for node in nodes:
        _look_into(node, known)
    return {node: _call(node, known) for node in nodes}


def _look_into(node: Node, known: dict[Any, Any]) -> None:
    """Take what the node keeps of its inputs and its result.

    If that was changed since, the walk will refuse; `_call` asks about leaves that no rule needs.
    A node that was freed keeps nothing: a recorder saw its call.
    """
    kept = zip(node.owners(), node.kept, strict=True) if node.kept is not None else ()
    for owner, array in kept:
        pairs = zip(owner, array, strict=True) if isinstance(owner, list) else [(owner, array)]
        for vertex, value in pairs:
            if vertex is not None:
                known.setdefault(vertex, value)
    for parent in node.parents:
        if isinstance(parent, Tensor):
            known.setdefault(parent, parent.data)


def _call(node: Node, known: dict[Any, Any]) -> Call:
    plan = node.plan
    held = dict(zip((*plan.kept, *plan.noted), node.kept or (), strict=False))
    inputs = []
    for position, parent in enumerate(node.parents):
        if parent is None:
            value = held.get(input_name(node, position, whole=True), LOST)
            value = value[position] if plan.op.variadic and value is not LOST else value
        elif isinstance(parent, Tensor) and changed_since(node.index, parent):
            value = LOST
        else:
            value = known.get(parent, LOST)
        inputs.append(value)
    config = {name: held.get(name, LOST) for name in plan.op.config}
    if node not in known:
        known[node] = _again(node, inputs, config)
    return Call(inputs, config, known[node])


def input_name(node: Node, position: int, *, whole: bool = False) -> str:
    """What the op calls an input; of any number of them `arrays[1]`, or `arrays` for all."""
    op = node.plan.op
    if isinstance(node, Replay):
        return f"args[{position}]"
    if not op.variadic:
        return op.inputs[position]
    return op.inputs[0] if whole else f"{op.inputs[0]}[{position}]"


def _again(node: Node, inputs: list[Any], config: dict[str, Any]) -> Any:
    """The result, computed again; `LOST` where something is missing or chance is at work."""
    if any(value is LOST for value in (*inputs, *config.values())):
        return LOST
    state = random.get_state()
    try:
        with Switched((recording, False), (anomaly, False)), np.errstate(all="ignore"):
            out = _computed(node, inputs, config)
            if is_ours(node.op.body):
                return out
            twin = _computed(node, inputs, config)  # somebody's op may draw random numbers
            return out if np.array_equal(out, twin, equal_nan=True) else LOST
    finally:
        random.set_state(state)


def _computed(node: Node, inputs: list[Any], config: dict[str, Any]) -> Any:
    if isinstance(node, Replay):
        out = node.again().data
    else:
        out = node.op.body(*inputs, **config)
        out = out[0] if node.op.residuals else out
    out = np.asarray(out)
    return out.astype(node.dtype, copy=False)  # after `x += y` it is x's dtype
