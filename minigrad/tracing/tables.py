"""The tables that a trace is written down as: arrays, tensors, nodes, modules, files."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.checkpoint import Replay
from minigrad.declaration import LOST
from minigrad.engine import Node
from minigrad.nn.module import Module
from minigrad.tracing import sampling, source
from minigrad.tracing.modules import Modules, Row
from minigrad.tracing.values import Call, input_name

AROUND = 6  # lines of source above and below those that made nodes
CHECKPOINT = "Only its arguments are kept; it runs again when the gradient arrives."


class Tables:
    """What a graph is made of, in rows that name each other by number.

    Attributes:
        nodes, tensors: their rows.
        order: the row of each node.
        places: the row of the tensor that each node made, or each leaf is.
        modules: the table of modules.
        arrays: the table of arrays.
    """

    def __init__(self, calls: dict[Node, Call], model: Module | None = None) -> None:
        source.reread()
        self.calls = calls
        self.modules = Modules(list(calls), model)
        self.arrays = sampling.Arrays()
        self.order = {node: position for position, node in enumerate(calls)}
        self.places: dict[Any, int] = {}
        self.tensors: list[Row] = []
        self.sites = {node: source.site_of(node) for node in calls}
        self.cuts: dict[Any, sampling.Cut] = {}
        for node in calls:
            self._choose_cuts(node)
        self.nodes = [self._node(node, call) for node, call in calls.items()]
        self._name_results()

    def _choose_cuts(self, node: Node) -> None:
        """What convolutions read and write is shown such that their products can be followed."""
        if is_convolution(node):
            x, w, *_ = node.parents
            self.cuts[node] = self.cuts[x] = sampling.pixels
            self.cuts[w] = sampling.taps

    def _node(self, node: Node, call: Call) -> Row:
        """A row of the nodes; its inputs and its output get rows of their own."""
        site, replayed = self.sites[node], isinstance(node, Replay)
        expression = source.file(site.filename).text(site.span)
        variables = _operands(node, site, expression)
        given = given_inputs(node, call)
        row: Row = {
            "op": node.op.name,
            "inputs": [self._input(node, i, call.inputs[i], variables.get(i)) for i in given],
            "names": [input_name(node, i) for i in given],
            "output": self._tensor(node, "value", call.output),
            "config": _config(call.config),
            "module": self.modules.place(node.scope),
            "line": {"file": source.shown(site.filename), "number": site.line},
            "expression": expression and expression[: source.LONGEST],
            "value_rule": source.value_rule(node),
            "rules": [] if replayed else source.rules(node),
            "doc": CHECKPOINT if replayed else source.sentence(node),
        }
        self.tensors[row["output"]] |= {"node": self.order[node], "module": row["module"]}
        if is_convolution(node):
            row |= self._convolution(node, call, row["inputs"][1])
        return row

    def _convolution(self, node: Node, call: Call, w: int) -> Row:
        """What its picture needs to know, where that was kept."""
        shape, geometry = self.tensors[w]["shape"], call.config.get("geometry", LOST)
        if shape is None or geometry is LOST:
            return {}
        activation = "relu" if node.op.name == "conv2d_relu" else None
        return {"convolution": {"kernel": shape[:2], "activation": activation, **geometry}}

    def _input(self, node: Node, position: int, value: Any, variable: str | None) -> int:
        vertex = node.parents[position]
        if vertex is None:
            vertex, role = (node, position), "constant"
        elif isinstance(vertex, Node):
            return self._tensor(vertex, "value", value)
        else:
            role = "parameter" if vertex.requires_grad else "input"
        place = self._tensor(vertex, role, value)
        row = self.tensors[place]
        row["name"] = row["name"] or self.modules.names.get(vertex, variable)
        row["module"] = self.modules.owner(self.modules.names.get(vertex, ""))
        return place

    def _tensor(self, vertex: Any, role: str, value: Any) -> int:
        """The row of a node's result, a leaf, or a constant."""
        if vertex not in self.places:
            self.places[vertex] = len(self.tensors)
            columns = ("name", "role", "module", "node", "shape", "dtype", "value", "grad")
            self.tensors.append(dict.fromkeys(columns) | {"role": role, "module": 0})
        row = self.tensors[self.places[vertex]]
        if value is not LOST and row["value"] is None:
            row["value"] = self.arrays.add(value, self.cuts.get(vertex, sampling.maps))
        if value is not LOST or not isinstance(vertex, tuple):
            known = np.asarray(value) if isinstance(vertex, tuple) else vertex
            row["shape"], row["dtype"] = list(known.shape), str(known.dtype)
        return self.places[vertex]

    def add_gradient(self, vertex: Any, g: Any) -> int:
        """The place of a gradient among the arrays; that of weights is cut as they are."""
        cut = self.cuts.get(vertex)
        return self.arrays.add(g, cut if cut is sampling.taps else sampling.maps)

    def _name_results(self) -> None:
        """Give results the names of the variables that they were assigned to."""
        sites = [*self.sites.values(), None]
        for row, site, following in zip(self.nodes, sites, sites[1:], strict=False):
            if site is not None and site != following:
                name = source.file(site.filename).assigned(site.span)
                self.tensors[row["output"]]["name"] = name

    def files(self) -> Row:
        """The lines around those that made nodes."""
        numbers: dict[str, list[int]] = {}
        for site in self.sites.values():
            numbers.setdefault(site.filename, []).append(site.line)
        files = {}
        for filename, lines in numbers.items():
            text, first = source.file(filename).lines, max(min(lines) - AROUND, 1)
            if text:
                part = text[first - 1 : max(lines) + AROUND]
                files[source.shown(filename)] = {"first": first, "lines": part}
        return files


def given_inputs(node: Node, call: Call) -> list[int]:
    """The positions of the inputs that are not None."""
    pairs = enumerate(zip(call.inputs, node.parents, strict=True))
    return [i for i, (value, parent) in pairs if value is not None or parent is not None]


def is_convolution(node: Node) -> bool:
    """Whether it is one of ours, whose dot products can be shown."""
    return node.op.name in ("conv2d", "conv2d_relu") and "geometry" in node.op.config


def _operands(node: Node, site: source.Site, expression: str | None) -> dict[int, str]:
    """The names of variables in the expression, where it is the program's own call of the op."""
    if expression is None or site.filename != node.code.co_filename:
        return {}
    names = source.operand_names(expression, node.op.name, node.op.inputs)
    return {position: name for position, name in enumerate(names) if name is not None}


def _config(config: dict[str, Any]) -> dict[str, str]:
    """Configuration as text, with the arguments of convolutions and pooling one by one."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= value if isinstance(value, dict) else {name: value}
    with np.printoptions(threshold=20, edgeitems=3, precision=4):
        texts = {k: "not kept" if v is LOST else " ".join(repr(v).split()) for k, v in flat.items()}
    return {name: text if len(text) <= 80 else text[:79] + "…" for name, text in texts.items()}
