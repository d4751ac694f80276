"""What is known of the memory under tensors: so that a change in place cannot pass unnoticed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

# One clock for the process: when a node was made, and when a memory was last changed in place. A
# node that is older than a change to an array that it keeps cannot be walked any more.
clock = itertools.count(1)


class Memory:
    """One stretch of memory, shared by all tensors that look at it (views)."""

    __slots__ = ("changed", "viewed")

    def __init__(self) -> None:
        self.changed = 0  # when it was last written to
        self.viewed = False  # whether a view of it was made

    def change(self) -> None:
        """Note that it was just written to."""
        self.changed = latest.changed = next(clock)


# The newest change of any memory: a node that is younger needs no look at what it keeps.
latest = Memory()


def memory_of(vertex: Any) -> Memory:
    """The memory of a leaf tensor, or of a node's result; noted from now on."""
    if vertex.memory is None:
        vertex.memory = Memory()
    memory: Memory = vertex.memory
    return memory


def viewed_memory(out: np.ndarray, arrays: Sequence[Any], owners: Sequence[Any]) -> Memory | None:
    """The memory that `out` shares with one of the arrays, each with its owner in the graph."""
    for array, owner in zip(arrays, owners, strict=True):
        if owner is not None and np.may_share_memory(out, array):
            memory = memory_of(owner)
            memory.viewed = True
            return memory
    return None


def changed_since(index: int, owner: Any) -> bool:
    """Whether the memory of a node or leaf, or that of one in a list, was written to since then."""
    if isinstance(owner, list):
        return any(changed_since(index, each) for each in owner)
    return owner is not None and owner.memory is not None and owner.memory.changed > index
