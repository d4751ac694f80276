"""A trace: a forward and a backward pass, step by step, as `mg.trace` returns them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import minigrad
from minigrad.engine import Node, Tensor, seed, walk
from minigrad.files import write_atomically
from minigrad.nn.module import Module
from minigrad.observing import nodes_behind
from minigrad.tracing.modules import Row
from minigrad.tracing.tables import Tables, given_inputs
from minigrad.tracing.values import Call, recover
from minigrad.tracing.walk import Visit, Watched


class Trace:
    """What happened in a forward and a backward pass.

    It is made by `mg.trace`, and shows itself in notebooks.
    """

    def __init__(self, data: Row | None) -> None:
        self._data = data

    @property
    def data(self) -> Row:
        """Tables of arrays, tensors, nodes, modules and steps, as JSON holds them."""
        if self._data is None:
            raise RuntimeError(
                "trace: no backward pass was recorded; call loss.backward() inside the with block"
            )
        return self._data

    def to_json(self) -> str:
        """The data as text."""
        return json.dumps(self.data, allow_nan=False, separators=(",", ":"))

    def to_html(self) -> str:
        """The page: one file that needs nothing else, neither a server nor a network."""
        from minigrad.tracing.page import render

        return render(self.data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, to be opened in a browser; whole or not at all.

        Raises:
            OSError: the file cannot be written.
            RuntimeError: there is no trace yet.
        """
        write_atomically(path, self.to_html().encode())

    def _repr_html_(self) -> str:
        """The page inside a notebook."""
        page = escape(self.to_html(), quote=True)
        return (
            f'<iframe srcdoc="{page}" title="{escape(self.data["title"], quote=True)}" '
            'width="100%" height="720" style="border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        nodes, steps = len(self.data["nodes"]), len(self.data["steps"])
        return (
            f"<trace of {self.data['title']}: {nodes} ops, {steps} steps; "
            'save("trace.html") and open it in a browser>'
        )


def trace_of(loss: Tensor, model: Module | None, title: str | None) -> Trace:
    """Run the backward pass, watched, and write down both passes."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"trace: expected the loss as a Tensor, got {type(loss).__name__}")
    if loss.requires_grad and loss.size != 1:
        raise RuntimeError(
            f"trace: expected a single number as the loss, got shape {loss.shape}; sum it first, "
            "or record its backward(gradient) inside of `with mg.trace() as t:`"
        )
    start = seed("trace", loss, None)
    for node in nodes_behind([loss]):
        if node.kept is None:
            raise RuntimeError(
                f"trace: the graph was freed by an earlier backward (at {node.op.name}); call "
                "mg.trace(loss) before loss.backward(), or compute the loss again"
            )

    def run() -> None:
        walk([loss], [start], retain_graph=True)

    return Trace(passes(loss, start, run, {}, model, title))


def passes(
    loss: Tensor,
    start: Tensor,
    run: Callable[[], Any],
    noted: dict[Node, Call],
    model: Module | None,
    title: str | None,
) -> Row:
    """The data of a forward and a backward pass.

    Args:
        loss: where the walk begins, with `start`, its gradient.
        run: walks.
        noted: the calls that somebody saw; the others are recovered. It may grow while it runs.
        model: where the names of modules begin, or None.
        title: of the page, or None.
    """
    nodes = nodes_behind([loss])
    if not nodes:
        raise RuntimeError(
            "trace: the loss was not computed by any op, so there is nothing to show; compute it "
            "from tensors that require a gradient"
        )
    known: dict[Any, Any] = {**_outputs(noted), loss.node: loss.data}
    calls = recover(nodes, known)
    with Watched(loss) as watched:
        run()
    known |= _outputs(noted)
    fresh = {visit.node for visit in watched.visits} - set(nodes)
    calls |= recover(sorted(fresh, key=lambda node: node.index), known)
    for node in noted.keys() & calls.keys():
        calls[node].inputs, calls[node].config = noted[node].inputs, noted[node].config
    return written(loss, start, calls, watched, fresh, model, title)


def _outputs(noted: dict[Node, Call]) -> dict[Node, Any]:
    """Results in the dtype that they have after `x += y`, which is that of x."""
    return {node: call.output.astype(node.dtype, copy=False) for node, call in noted.items()}


def written(
    loss: Tensor,
    start: Tensor,
    calls: dict[Node, Call],
    watched: Watched,
    fresh: set[Node],
    model: Module | None,
    title: str | None,
) -> Row:
    """The data of a trace.

    Args:
        loss: where the walk began, `start` the gradient it began with.
        calls: all ops, in the order in which they were recorded.
        watched: the walk.
        fresh: those nodes that checkpoints recorded during the walk.
        model: where the names of modules begin, or None.
        title: of the page, or None.
    """
    tables = Tables(calls, model)
    place = tables.places[loss.node]
    steps = _forward(tables, (node for node in calls if node not in fresh))
    steps.append({"kind": "seed", "tensor": place})
    waiting = [node for node in calls if node in fresh]
    for visit in watched.visits:
        if visit.node in waiting:  # a checkpoint has just computed this and what is older, again
            count = waiting.index(visit.node) + 1
            steps += _forward(tables, waiting[:count])
            waiting = waiting[count:]
        steps.append(_backward(tables, watched, visit))
    for vertex, total in [(loss.node, start.data), *watched.totals.items()]:
        tables.tensors[tables.places[vertex]]["grad"] = tables.add_gradient(vertex, total)
    return {
        "version": 1,
        "title": title or _title(tables, loss),
        "minigrad": minigrad.__version__,
        "files": tables.files(),
        "modules": tables.modules.rows,
        "arrays": tables.arrays.table,
        "tensors": tables.tensors,
        "nodes": tables.nodes,
        "steps": steps,
        "loss": place,
    }


def _forward(tables: Tables, nodes: Iterable[Node]) -> list[Row]:
    return [{"kind": "forward", "node": tables.order[node]} for node in nodes]


def _backward(tables: Tables, watched: Watched, visit: Visit) -> Row:
    given = given_inputs(visit.node, tables.calls[visit.node])
    passed = [
        {
            "input": None if each.position is None else given.index(each.position),
            "tensor": tables.places[each.vertex],
            "gradient": tables.add_gradient(each.vertex, each.gradient),
            "arrived": each.arrived,
            "of": watched.arrivals[each.vertex],
            "total": tables.add_gradient(each.vertex, each.total),
        }
        for each in visit.passed
    ]
    g = tables.add_gradient(visit.node, visit.g)
    return {"kind": "backward", "node": tables.order[visit.node], "g": g, "passed": passed}


def _title(tables: Tables, loss: Tensor) -> str:
    model = tables.modules.rows[0]["type"]
    value = f"loss {loss.item():.6g}" if loss.size == 1 else "a trace"
    return f"{model}, {value}" if model else value
