"""A backward pass that is watched: the engine's own walk, with its arrivals written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minigrad.arrays import plus
from minigrad.checkpoint import Replay
from minigrad.engine import Node, Tensor
from minigrad.observing import Observer, Run, observed


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


class Watched(Observer):
    """Watches the walks from an output while the `with` block is open.

    Attributes:
        visits: the turns of the nodes, in the walk's order.
        totals: by node or leaf what arrived, summed up as the engine does.
        arrivals: and how many gradients that were.
    """

    def __init__(self, output: Tensor) -> None:
        self.visits: list[Visit] = []
        self.totals: dict[Any, Any] = {}
        self.arrivals: Counter[Any] = Counter()
        self._reached: set[Any] = {output.node}

    def gradients(
        self, run: Run, node: Node, g: Any, wanted: tuple[int, ...], *_: Any
    ) -> Iterable[tuple[Any, Any]]:
        """What the node gives, written down on its way."""
        return self._written(run, node, g, wanted) if node in self._reached else run()

    def _written(
        self, run: Run, node: Node, g: Any, wanted: tuple[int, ...]
    ) -> Iterator[tuple[Any, Any]]:
        visit = Visit(node, g)
        self.visits.append(visit)
        for position, (vertex, gradient) in enumerate(run()):
            fitting = observed("fit", node, node.fit, gradient, vertex)
            place = None if isinstance(node, Replay) else wanted[position]
            self.arrivals[vertex] += 1
            before = self.totals.get(vertex)
            total = self.totals[vertex] = fitting if before is None else plus(before, fitting)
            visit.passed.append(Passed(place, vertex, fitting, self.arrivals[vertex], total))
            self._reached.add(vertex)
            yield vertex, fitting
