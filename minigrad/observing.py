"""Looking at the engine from outside, at no cost while nobody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from minigrad.engine import Node, Tensor


class Replacements:
    """Puts other methods in the place of some while there are observers.

    Other threads that meet them must be led to the originals.

    Args:
        replaced: for each method the class, its name, the original, what takes its place.
    """

    def __init__(self, *replaced: tuple[type, str, Any, Any]) -> None:
        self.replaced = replaced
        self.observers = 0
        self.lock = threading.Lock()

    def add(self, observers: int) -> None:
        """So many observers have come, or gone."""
        with self.lock:
            self.observers += observers
            for owner, name, original, other in self.replaced:
                setattr(owner, name, other if self.observers else original)


def nodes_behind(outputs: Iterable[Tensor]) -> list[Node]:
    """All nodes that tensors were made from, in the order of their creation."""
    found: set[Node] = set()
    stack: list[Any] = [out.node for out in outputs]
    while stack:
        vertex = stack.pop()
        if isinstance(vertex, Node) and vertex not in found:
            found.add(vertex)
            stack.extend(vertex.parents)
    return sorted(found, key=lambda node: node.index)
