"""One step of training, watched: which module ran what, and what was kept for backward.

It is a profile that looks at modules, too: so it knows which one is running, and which made a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine import Node, Op, Tensor, walk, wrap
from minigrad.flops import NONE, Shape, Work
from minigrad.nn.module import Module, Parameter
from minigrad.observing import Run, nodes_behind
from minigrad.profiling import Event, profile


@dataclass(frozen=True, slots=True)
class Cost:
    """What a layer costs; costs can be added.

    Attributes:
        parameters: how many numbers training changes, frozen ones included; each is counted at the
            first layer that has it.
        forward: `Work(multiply_adds, flops)` of the forward pass, counted by `minigrad.flops`.
        backward: that of the backward pass.
        kept_bytes: of the arrays that nodes hold until backward, each counted at the first layer
            that keeps it. Parameters are not among them, the input is where its layer needs it.
    """

    parameters: int = 0
    forward: Work = NONE
    backward: Work = NONE
    kept_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.forward + other.forward,
            self.backward + other.backward,
            self.kept_bytes + other.kept_bytes,
        )

    @property
    def flops(self) -> int:
        """Forward and backward."""
        return self.forward.flops + self.backward.flops


@dataclass(eq=False)
class Layer:
    """A module, at one place of the tree of calls.

    Attributes:
        name: its name in the model, as `named_modules` has it; None for a module that the model
            does not hold.
        type: the name of its class.
        options: its sizes and configuration, as its `repr` shows them.
        module: the module itself.
        calls: how often it was called here, 0 for one whose parameters nobody called for.
        output_shapes: those of the tensors that its last call returned.
        own: the cost of the ops that it ran itself, and of its own parameters.
        ops: the names of these ops, in the order in which they ran first.
        children: the modules that it called.
    """

    name: str | None
    type: str
    options: str
    module: Module = field(repr=False)
    calls: int = 0
    output_shapes: tuple[Shape, ...] = ()
    own: Cost = Cost()
    ops: list[str] = field(default_factory=list)
    children: list[Layer] = field(default_factory=list, repr=False)

    @property
    def total(self) -> Cost:
        """The cost of this layer with all that it called."""
        return sum((child.total for child in self.children), self.own)

    def all(self) -> Iterator[Layer]:
        """This layer and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.all()


class Watch(profile):
    """Sorts a step of training by module: the tree `root` of layers, each with its cost."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        self.model = model
        self.names = {id(module): name for name, module in model.named_modules()}
        self.root = self._layer(model)
        self.first = {id(model): self.root}  # where a module was called first
        self.places: dict[tuple[int, int], Layer] = {}  # by caller and module
        self.running: list[Layer] = []
        self.going_back = False
        self.made_by: dict[Node, Layer] = {}
        self.failed = False
        self._noted: list[tuple[Layer, bool, Event]] = []

    def train(self, inputs: Sequence[Tensor]) -> None:
        """Forward, a look at what is kept, and backward from a gradient of ones."""
        with self:
            outputs = tensors_in(self.model(*inputs))
            self._count_kept(outputs)
            self.going_back, self.running = True, [self.root]
            back(outputs)
        self._count_work()
        self._add_layers_that_were_not_called()
        self._count_parameters()

    def forward(self, run: Run, module: Module, /, *args: Any, **kwargs: Any) -> Any:
        """Run a module as a layer; names it where it fails."""
        layer = self._enter(module)
        self.running.append(layer)
        try:
            out = run()
        except Exception as error:
            if not self.failed:  # else a module inside has said so
                name = f"'{layer.name}'" if layer.name else "the model"
                shapes = ", ".join(str(x.shape) for x in tensors_in([args, kwargs]))
                error.add_note(f"This happened in {name} ({layer.type}), given {shapes}.")
            self.failed = True
            raise
        finally:
            self.running.pop()
        layer.output_shapes = tuple([tensor.shape for tensor in tensors_in(out)])
        return out

    def call(self, run: Run, op: Op, inputs: tuple[Any, ...], config: dict[str, Any]) -> Any:
        """Note which layer made a node."""
        out = super().call(run, op, inputs, config)
        if isinstance(out, Tensor) and out.node is not None and self.running:
            self.made_by.setdefault(out.node, self.running[-1])
        return out

    def _enter(self, module: Module) -> Layer:
        if self.going_back:  # a checkpoint runs its function again
            return self.first.get(id(module), self.root)
        if not self.running and module is self.model:
            layer = self.root
        else:
            parent = self.running[-1] if self.running else self.root
            layer = self.places.setdefault((id(parent), id(module)), self._layer(module))
            if not layer.calls:
                parent.children.append(layer)
                self.first.setdefault(id(module), layer)
        layer.calls += 1
        return layer

    def _layer(self, module: Module) -> Layer:
        return Layer(self.names.get(id(module)), type(module).__name__, module.extra_repr(), module)

    def begin(self, event: Event, node: Node | None) -> None:
        """Note which layer an op, or the derivative of one, belongs to."""
        super().begin(event, node)
        if len(event.path) == 1:  # what runs inside an op is part of it
            running = self.running[-1] if self.running else self.root
            layer = running if node is None else self.made_by.get(node, running)
            self._noted.append((layer, self.going_back, event))

    def _count_work(self) -> None:
        for layer, backward, event in self._noted:
            cost = Cost(backward=event.work) if backward else Cost(forward=event.work)
            layer.own += cost
            if not backward and event.name not in layer.ops:
                layer.ops.append(event.name)

    def _count_kept(self, outputs: Iterable[Tensor]) -> None:
        """Add the bytes that each node keeps to its layer, the oldest node first."""
        nodes = nodes_behind(outputs)
        leaves = {leaf for node in nodes for leaf in node.parents if isinstance(leaf, Parameter)}
        seen = {_owner(parameter.data)[0] for parameter in leaves}
        for node in nodes:
            for array in _arrays_in(node.kept):
                address, nbytes = _owner(array)
                if nbytes and address not in seen:
                    seen.add(address)
                    self.made_by.get(node, self.root).own += Cost(kept_bytes=nbytes)

    def _add_layers_that_were_not_called(self) -> None:
        """Those with parameters of their own, below the nearest module that was."""
        for name, module in self.model.named_modules():
            if id(module) in self.first or not _own_parameters(module):
                continue
            inside = (
                layer
                for layer in self.first.values()
                if layer.name and name.startswith(f"{layer.name}.")
            )
            above = max(inside, key=lambda layer: len(layer.name or ""), default=self.root)
            above.children.append(self._layer(module))

    def _count_parameters(self) -> None:
        seen: set[int] = set()
        for layer in self.root.all():
            for parameter in _own_parameters(layer.module):
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    layer.own += Cost(parameters=parameter.size)


def back(outputs: Iterable[Tensor]) -> None:
    """Backward through all outputs, without a trace in any `.grad`."""
    outputs = [out for out in outputs if out.requires_grad]
    walk(outputs, [wrap(np.ones_like(out.data)) for out in outputs])


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in a tensor, or in lists, tuples and dicts of them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [t for each in value for t in tensors_in(each)] if isinstance(value, list | tuple) else []
    )


def _own_parameters(module: Module) -> list[Parameter]:
    return [member for _, member in module.named_members() if isinstance(member, Parameter)]


def _arrays_in(value: Any) -> Iterator[np.ndarray]:
    """The arrays in what a node keeps: inputs, results, lists and tuples of them."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _arrays_in(each)


def _owner(array: np.ndarray) -> tuple[int, int]:
    """Address and bytes of the memory that a view looks at, and keeps alive whole."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    low, high = np.lib.array_utils.byte_bounds(array)
    return low, high - low
