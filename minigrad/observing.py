"""Looking at the engine from outside, at next to no cost while nobody looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from minigrad.engine import Node, Tensor

Run = Callable[[], Any]


class Observer:
    """Stands around what its thread does while it is open, and changes nothing of it.

    A subclass defines a method for each thing that it wants to see. The method gets `run`, which
    does the thing, then what follows; it returns what `run()` returned.

    ========= =======================================================================
    call      an op is called: the op, its inputs, its configuration
    forward   a module computes: the module, its arguments
    backward  of a tensor: the tensor, its gradient, whether to keep the graph
    gradients a node's rules are applied: the node, the gradient of its result, which
              inputs want theirs, whether to record them
    fit       a gradient is given shape and dtype of what it belongs to: the node, the
              gradient, the node or leaf that it goes to
    step      of an optimizer: the optimizer
    ========= =======================================================================
    """

    noun = "observer"
    thread: int | None = None  # the one that is looked at, while this is open

    def __enter__(self) -> Self:
        if self.thread is not None:
            raise RuntimeError(
                f"{self.noun}: this {self.noun} is open already; make another one for the inner "
                "block"
            )
        self.thread = threading.get_ident()
        observers.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        observers.remove(self)
        self.thread = None


observers: list[Observer] = []  # those that are open, in any thread


def observed(what: str, of: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)` with the thread's observers around it, the last one outermost."""
    run = partial(function, *args, **kwargs)
    thread = threading.get_ident()
    for observer in observers.copy():  # another thread may open or close one meanwhile
        if observer.thread == thread and hasattr(observer, what):
            run = partial(getattr(observer, what), run, of, *args, **kwargs)
    return run()


def nodes_behind(outputs: Iterable[Tensor]) -> list[Node]:
    """All nodes that tensors were made from, in the order of their creation."""
    found: set[Node] = set()
    stack: list[Any] = [out.node for out in outputs]
    while stack:
        vertex = stack.pop()
        if hasattr(vertex, "parents") and vertex not in found:  # a node, not a leaf
            found.add(vertex)
            stack.extend(vertex.parents)
    return sorted(found, key=lambda node: node.index)
