"""Modules: objects that hold parameters, found by looking at their attributes.

There is no magic: a `Module` is an ordinary object, and whenever it is asked for its parameters it
looks through `vars(self)`. A `Parameter` it finds is a parameter, any other `Tensor` a buffer,
another `Module` a child, and lists, tuples and dicts are looked into. A misspelt attribute is an
AttributeError as everywhere, and a subclass need not call `super().__init__()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from reprlib import recursive_repr
from typing import Any, ParamSpec, Protocol, Self, TypeVar

import numpy as np

from minigrad.engine import Tensor
from minigrad.modes import recording
from minigrad.nn.state import IncompatibleKeys, load_arrays
from minigrad.observing import observed, observers
from minigrad.origin import Scope, entrances, scope

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Computes(Protocol[P, R_co]):
    """What has a `forward`."""

    @property
    def forward(self) -> Callable[P, R_co]:
        """Compute the output."""


class Parameter(Tensor):
    """A tensor that training changes: a `Tensor` that requires a gradient unless told otherwise.

    Frozen (`requires_grad=False`) it is still a parameter; optimizers pass over it.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype)


class Module:
    """Base class of layers and networks: set attributes in `__init__`, compute in `forward`.

    Names are attribute names joined with dots; `self.layers[0].weight` is `layers.0.weight`. What
    can be reached in two ways (shared weights) is listed once, under the name met first.
    """

    training: bool = True

    def __call__(self: Computes[P, R_co], *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute the output; for type checkers a call takes and returns what `forward` does."""
        forward = self.forward
        if observers:
            forward = partial(observed, "forward", self, partial(_enter, self))
        if not recording.get():
            return forward(*args, **kwargs)
        before = scope.set(Scope(self))
        try:
            return forward(*args, **kwargs)
        finally:
            scope.reset(before)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method; define one")

    def named_members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """The tensors and modules among this module's attributes, and in lists and dicts there.

        Everything else that a module can be asked is derived from this.
        """
        for name, value in vars(self).items():
            if isinstance(value, HOLDERS):  # most attributes are numbers
                yield from _members(name, value)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, whose name is empty, and all modules below it, parents first."""
        for name, module, _ in self._descend("", set()):
            yield name, module

    def _descend(self, name: str, seen: set[int]) -> Iterator[tuple[str, Module, Members]]:
        """This module and all below it, each once, with its name and its members."""
        if id(self) not in seen:
            seen.add(id(self))
            members = list(self.named_members())
            yield name, self, members
            for child_name, child in members:
                if isinstance(child, Module):
                    yield from child._descend(_join(name, child_name), seen)

    def _tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers of this module and below by name, each once."""
        tensors: dict[str, Tensor] = {}
        seen: set[int] = set()
        for prefix, _, members in self._descend("", set()):
            for name, member in members:
                if isinstance(member, Tensor) and id(member) not in seen:
                    seen.add(id(member))
                    path = _join(prefix, name)
                    if path in tensors:
                        raise ValueError(f"Module: two tensors are named '{path}'; rename one")
                    tensors[path] = member
        return tensors

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Names and parameters of this module and of all modules below it."""
        for name, tensor in self._tensors().items():
            if isinstance(tensor, Parameter):
                yield name, tensor

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Names and buffers: tensors that are kept with the weights but not trained."""
        for name, tensor in self._tensors().items():
            if not isinstance(tensor, Parameter):
                yield name, tensor

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Names and modules directly below this one."""
        for name, member in self.named_members():
            if isinstance(member, Module):
                yield name, member

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once: what an optimizer is given."""
        for _, parameter in self.named_parameters():
            yield parameter

    def buffers(self) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers():
            yield buffer

    def modules(self) -> Iterator[Module]:
        """This module and all modules below it, each once."""
        for _, module in self.named_modules():
            yield module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one."""
        for _, child in self.named_children():
            yield child

    def train(self, mode: bool = True) -> Self:
        """Switch everything below to training (dropout drops, batch norm uses the batch)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch everything below to evaluation; the opposite of `train`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or thaw all parameters below."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters below."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: Any) -> Self:
        """Convert all float parameters and buffers to float32 or float64, in place.

        Gradients are forgotten. Do it before making an optimizer, whose state has a dtype too.

        Raises:
            ValueError: another dtype.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"astype: dtype expects float32 or float64, got {np.dtype(dtype)}")
        for tensor in self._tensors().values():
            if tensor.data.dtype.kind == "f":
                tensor.data, tensor.grad = tensor.data.astype(dtype), None
                tensor.bump_version()
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by name: training on does not change them."""
        return {name: tensor.data.copy() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> IncompatibleKeys:
        """Copy arrays into the parameters and buffers of the same names. All or nothing.

        Args:
            state: arrays (or Tensors) by name. They are converted to the dtype of their targets.
            strict: whether every name must match. Otherwise names that do not are returned; wrong
                shapes are refused all the same.

        Raises:
            ValueError: something does not fit. The message names all of it, and nothing changed.
        """
        return load_arrays(type(self).__name__, self._tensors(), state, strict)

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses."""
        return ""

    @recursive_repr()
    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.named_children()]
        if extra := self.extra_repr():
            lines.insert(0, extra)
        inside = "\n".join(lines)
        if "\n" in inside or len(lines) > bool(extra):
            inside = "\n" + "\n".join(f"  {line}" for line in inside.splitlines()) + "\n"
        return f"{type(self).__name__}({inside})"


def _enter(module: Computes[P, R_co], /, *args: P.args, **kwargs: P.kwargs) -> R_co:
    """`forward`, as observers run it: their frames are not the module's."""
    return module.forward(*args, **kwargs)


entrances.update({Module.__call__.__code__, _enter.__code__})

HOLDERS = (Tensor, Module, list, tuple, dict)
Members = list[tuple[str, Tensor | Module]]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _members(name: str, value: Any) -> Iterator[tuple[str, Tensor | Module]]:
    if isinstance(value, (Tensor, Module)):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _members(f"{name}.{key}", item)
