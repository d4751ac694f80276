"""A backward pass that is watched: the engine's own walk, with its arrivals written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minigrad.arrays import plus
from minigrad.checkpoint import Replay
from minigrad.engine import Node, Tensor


@dataclass(slots=True, eq=False)
class Passed:
    """A gradient on its way to an input: how many have arrived there with it, and their sum."""

    position: int | None  # among the inputs; None where a checkpoint goes on in what it recorded
    vertex: Any
    gradient: Any
    arrived: int
    total: Any


@dataclass(slots=True, eq=False)
class Visit:
    """One node's turn."""

    node: Node
    g: Any
    passed: list[Passed] = field(default_factory=list)


class Watched:
    """Watches the walks from an output while the `with` block is open.

    The nodes that a walk reaches belong to another class for that time, whose `gradients` reports
    what it gives. So the engine knows nothing of it, and other graphs do not notice.

    Attributes:
        visits: the turns of the nodes, in the walk's order.
        totals: by node or leaf what arrived, summed up as the engine does.
        arrivals: and how many gradients that were.
    """

    def __init__(self, output: Tensor) -> None:
        self.visits: list[Visit] = []
        self.totals: dict[Any, Any] = {}
        self.arrivals: Counter[Any] = Counter()
        self._output = output
        self._watched: list[Node] = []

    def __enter__(self) -> Watched:
        if self._output.node is not None:
            self._watch(self._output.node)
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._watched:
            node.__class__ = _unwatched[type(node)]
            del _watchers[node]
        self._watched.clear()

    def _watch(self, node: Node) -> None:
        if node not in _watchers:
            node.__class__ = Watching if type(node) is Node else WatchingReplay
            _watchers[node] = self
            self._watched.append(node)

    def gradients(
        self, node: Node, g: Any, wanted: tuple[int, ...], create_graph: bool
    ) -> Iterator[tuple[Any, Any]]:
        """What the node gives, written down on its way."""
        visit = Visit(node, g)
        self.visits.append(visit)
        pairs: Iterable[Any] = _unwatched[type(node)].gradients(node, g, wanted, create_graph)
        for position, (vertex, gradient) in enumerate(pairs):
            fitting = node.fit(gradient, vertex)
            place = None if isinstance(node, Replay) else wanted[position]
            self.arrivals[vertex] += 1
            before = self.totals.get(vertex)
            total = self.totals[vertex] = fitting if before is None else plus(before, fitting)
            visit.passed.append(Passed(place, vertex, fitting, self.arrivals[vertex], total))
            if isinstance(vertex, Node):
                self._watch(vertex)
            yield vertex, fitting


_watchers: dict[Node, Watched] = {}


class Watching(Node):
    """A node that reports to its watcher."""

    __slots__ = ()

    def gradients(
        self, g: Any, wanted: tuple[int, ...], create_graph: bool
    ) -> Iterable[tuple[Any, Any]]:
        """As a node's, with the watcher between."""
        return _watchers[self].gradients(self, g, wanted, create_graph)


class WatchingReplay(Replay):
    """A checkpoint that reports to its watcher."""

    gradients = Watching.gradients  # type: ignore[assignment]


_unwatched: dict[type, type[Node]] = {Watching: Node, WatchingReplay: Replay}
