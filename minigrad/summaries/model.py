"""`mg.summary`: what each layer of a model costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.flops import Shape
from minigrad.nn.module import Module
from minigrad.summaries.measure import watch_and_measure
from minigrad.summaries.table import Column, Row, Table, as_bytes, as_exact, as_shape, as_share
from minigrad.summaries.watch import Cost, Layer

Shapes = Shape | Sequence[Shape]


def summary(model: Module, input_shape: Shapes) -> Summary:
    """A table of every layer: output shape, parameters, arithmetic, and memory kept for backward.

        >>> print(mg.summary(mg.models.nin(), (28, 28, 1)))

    The numbers come from a step of training on inputs of ones. So whatever runs inside `forward`
    is counted, at the module that runs it: layers, functional calls, the user's own modules, each
    as often as it is called. A module that is called in several places is a layer in each; its
    parameters are counted at the first. What ops count is the table of `minigrad.flops`:
    convolutions are `F = H W C_out (2 C_in k² + 1)` for each image. Afterwards the model is as it
    was: training or not, gradients, running statistics, and the random generators (the default
    one, and those that are attributes of modules).

    Args:
        model: a module. Frozen parameters are taken as they are, and cost no gradient.
        input_shape: (H, W, C) or (C,), one image or one row of features, which becomes a batch of
            1; or with the size of the batch, (N, H, W, C) or (N, C). For a model with several
            inputs a sequence of shapes, each taken as it is; so ((N, L, C),) is one input of three
            axes. Batch norm wants a batch where it sees a single pixel.

    Returns:
        A `Summary`: text when printed, a table in notebooks, numbers in its attributes.

    Raises:
        TypeError: `model` is not a module.
        ValueError: `input_shape` is not made of positive ints. What the model raises goes on, with
            a note that names the layer.
    """
    if not isinstance(model, Module):
        raise TypeError(
            f"summary: model expects a module, got {_described(model)}; pass an object, as in "
            "mg.summary(mg.models.nin(), (28, 28, 1))"
        )
    shapes = input_shapes(input_shape)
    watch, peak_bytes = watch_and_measure(model, shapes)
    return Summary(watch.root, shapes, peak_bytes)


class Summary:
    """What `summary` found.

    Attributes:
        root: the model itself, as a `Layer` with all others below it.
        total: its `Cost`.
        input_shapes: those that it was run on, with the batch.
        peak_bytes: the most memory that the input, forward and backward took at once, measured by
            tracemalloc, which knows of all arrays, and of Python's objects. The model's own
            parameters are not among it, their gradients are.
    """

    def __init__(self, root: Layer, input_shapes: Sequence[Shape], peak_bytes: int) -> None:
        self.root, self.total = root, root.total
        self.input_shapes = tuple(input_shapes)
        self.peak_bytes = peak_bytes

    @property
    def batch(self) -> int:
        """The size of the batch, N."""
        return self.input_shapes[0][0]

    @property
    def layers(self) -> list[Layer]:
        """The model and all its layers, in the order of their first calls."""
        return list(self.root.all())

    def __getitem__(self, name: str) -> Layer:
        """The layer of this name, where it was called first; "" is the model."""
        for layer in self.root.all():
            if layer.name == name:
                return layer
        names = ", ".join(repr(layer.name) for layer in self.root.all() if layer.name)
        raise KeyError(f"summary: there is no layer {name!r}; there are {names}")

    def share(self, cost: Cost) -> float:
        """The part of all FLOPs, forward and backward, that a layer's cost is: from 0 to 1."""
        return cost.flops / self.total.flops if self.total.flops else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All numbers, as JSON can hold them; those of a layer include what it called."""
        return {
            "model": self.root.type,
            "input_shapes": [list(shape) for shape in self.input_shapes],
            "peak_bytes": self.peak_bytes,
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.type,
                    "options": layer.options,
                    "calls": layer.calls,
                    "output_shapes": [list(shape) for shape in layer.output_shapes],
                    "ops": layer.ops,
                    "share": self.share(layer.total),
                    **numbers(layer.total),
                }
                for layer in self.root.all()
            ],
        }

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        notes = [
            f"peak memory {as_bytes(self.peak_bytes)} (tracemalloc): input, activations, gradients "
            "at their most",
            "mult-adds: terms of products; FLOPs: all operations (minigrad.flops)",
            "kept: arrays that backward needs; share: of all FLOPs, forward and backward",
        ]
        if frozen := sum(p.size for p in self.root.module.parameters() if not p.requires_grad):
            notes.append(f"{frozen:,} of the parameters are frozen")
        shapes = " and ".join(as_shape(shape) for shape in self.input_shapes)
        title = f"{self.root.type}: a step of training on {shapes}, N = {self.batch}"
        rows = list(self._below(self.root, 0)) or [self._row(self.root, self.root.type, 0)]
        return Table(title, COLUMNS, rows, self._row(self.root, "total", 0), notes)

    def _below(self, layer: Layer, depth: int) -> Iterator[Row]:
        """The rows of what a layer called, each with its own below it; then of its own ops."""
        for child in layer.children:
            last = _only_layer(child)
            name = (last.name or "-").removeprefix(f"{layer.name}." if layer.name else "")
            calls = f", {child.calls} calls" if child.calls > 1 else ""
            yield self._row(last, f"{name} {last.type}{calls}", depth)
            yield from self._below(last, depth + 1)
        if layer.children and (layer.ops or layer.own != Cost()):
            ops = ", ".join(layer.ops)
            more = ", ..." if len(layer.ops) > 2 else ""
            label = f"· {', '.join(layer.ops[:2])}{more}" if ops else "· parameters"
            cells = [None, *self._cells(layer.own)]
            yield Row(label, cells, depth, ops * bool(more), self.share(layer.own))

    def _row(self, layer: Layer, label: str, depth: int) -> Row:
        output = ", ".join(as_shape(shape, self.batch) for shape in layer.output_shapes)
        parameters, *cells = self._cells(layer.total)
        if parameters == 0 and any(True for _ in layer.module.parameters()):
            parameters = "shared"
        output = output if layer.calls else "not called"
        share = self.share(layer.total) if depth or layer is not self.root else 0.0
        return Row(label, [output, parameters, *cells], depth, layer.options, share)

    def _cells(self, cost: Cost) -> list[Any]:
        return [*numbers(cost).values(), self.share(cost)]


COLUMNS = [
    Column("output"),
    Column("params", as_exact),
    Column("fwd", group="mult-adds"),
    Column("bwd", group="mult-adds"),
    Column("fwd", group="FLOPs"),
    Column("bwd", group="FLOPs"),
    Column("kept", as_bytes),
    Column("share", as_share),
]


def numbers(cost: Cost) -> dict[str, int]:
    """A cost as a flat dict, in the order of the columns."""
    return {
        "parameters": cost.parameters,
        "forward_multiply_adds": cost.forward.multiply_adds,
        "backward_multiply_adds": cost.backward.multiply_adds,
        "forward_flops": cost.forward.flops,
        "backward_flops": cost.backward.flops,
        "kept_bytes": cost.kept_bytes,
    }


def _only_layer(layer: Layer) -> Layer:
    """The one layer in a container that does nothing else; or the layer itself."""
    while len(layer.children) == 1 and not layer.ops and layer.own == Cost():
        child = layer.children[0]
        if not child.calls or child.calls != layer.calls:
            break
        layer = child
    return layer


def _described(thing: Any) -> str:
    kind = type(thing).__name__
    return f"the {kind} {thing.__name__}" if hasattr(thing, "__name__") else kind


def input_shapes(shapes: Shapes) -> list[Shape]:
    """The shape of each input, with the batch."""
    several = isinstance(shapes, tuple | list) and not any(isinstance(n, INTEGERS) for n in shapes)
    if several and shapes:
        return [_checked(shape) for shape in shapes]
    shape = _checked(shapes)
    return [(1, *shape) if len(shape) in (1, 3) else shape]


def _checked(shape: Any) -> Shape:
    good = isinstance(shape, tuple | list) and all(isinstance(n, INTEGERS) and n > 0 for n in shape)
    if not good or not shape:
        raise ValueError(
            "summary: input_shape expects (H, W, C), (N, H, W, C), (C,) or (N, C) in positive "
            f"ints, or a sequence of shapes with their batch for several inputs, got {shape!r}"
        )
    return tuple([int(n) for n in shape])


INTEGERS = (int, np.integer)
