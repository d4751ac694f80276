"""Changes in place: what `+=` and `x[i] = v` do, recorded like any op where gradients flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine import Op, Tensor, restore
from minigrad.memory import memory_of
from minigrad.modes import recording


def update(x: Any, op: Op, *operands: Any, **config: Any) -> Any:
    """`x = op(x, ...)` in the memory of x. Backward refuses where the old values were needed.

    The new values get a node of their own, whose parent is the node of the old ones; x moves from
    the one to the other. What looked at the memory before is told by its `changed`.
    """
    memory = memory_of(x.node or x)
    recorded = recording.get() and any(
        isinstance(y, Tensor) and y.requires_grad for y in (x, *operands)
    )
    if recorded and x.requires_grad and x.node is None:
        raise RuntimeError(
            f"{op.name}: a leaf that requires a gradient cannot be changed in place while "
            "recording; do it inside no_grad(), or write x = x + y"
        )
    if recorded and memory.viewed:
        raise RuntimeError(
            f"{op.name}: cannot record an in-place change of memory that a view (reshape, "
            "transpose, x[...]) shares; write x = x + y instead"
        )
    if not x.data.flags.writeable:
        raise ValueError(f"{op.name}: cannot change a read-only array in place; copy it first")
    before = restore(x.node or x, x.data) if x.requires_grad else x.detach()
    after = op(before, *operands, **config)
    if after.shape != x.shape:
        raise ValueError(
            f"{op.name}: an in-place change keeps the shape {x.shape}, but the result has shape "
            f"{after.shape}; write x = x + y instead"
        )
    np.copyto(x.data, after.data, casting="same_kind")
    memory.change()
    if after.node is not None:
        after.node.memory, after.node.dtype = memory, x.data.dtype
        x.node, x.requires_grad = after.node, True
    return x
