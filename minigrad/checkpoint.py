"""Activation checkpointing: remember the inputs, forget the activations, compute them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad import random
from minigrad.declaration import Plan
from minigrad.engine import Node, Op, Tensor, restore, wrap
from minigrad.memory import clock, memory_of
from minigrad.modes import Switched, no_grad, recording, replaying


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, keeping only its arguments for backward instead of every activation.

    When the gradient arrives, the function runs again, recorded this time, and the gradient goes
    on through what it recorded; so tensors that the function uses without taking them as arguments
    (its parameters) get their gradients too. The default random generator is put back for the
    second run, so dropout falls the same way, and batch norm does not count the batch twice.
    See Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".

    Args:
        function: takes the arguments and returns one Tensor. It must compute the same when called
            again.
    """
    if not recording.get():
        return function(*args)
    state, start = random.get_state(), next(clock)
    with no_grad():
        out = function(*args)
    if not isinstance(out, Tensor):
        raise TypeError(f"checkpoint: function must return one Tensor, got {type(out).__name__}")
    if out.dtype.kind != "f":
        return out
    replay = Replay(function, args, out, state)
    replay.index = start  # so that a change of the arguments by the function itself is noticed
    is_view = isinstance(out.data.base, np.ndarray)
    if is_view or out.memory is not None or any(out is x for x in args):
        replay.memory = memory_of(out.node or out)
        replay.memory.viewed = True
    return wrap(out.data, replay)


def _body(*args: Any) -> Any:
    raise NotImplementedError("a checkpoint is replayed, not computed")


_body.__name__ = "checkpoint"
_checkpoint = Op(_body)
_checkpoint.vjp_joint(lambda: ())


class Replay(Node):
    """A node whose gradient goes on into a fresh recording of the function."""

    def __init__(
        self, function: Callable[..., Any], args: Sequence[Any], out: Tensor, state: Any
    ) -> None:
        parents = [(x.node or x) if isinstance(x, Tensor) else None for x in args]
        kept = tuple(x.data if isinstance(x, Tensor) else x for x in args)
        plan = Plan(_checkpoint, tuple(range(len(args) or 1)), len(args))
        super().__init__(plan, parents, kept, out.shape, out.dtype)
        self.function = function
        self.state = state

    def owners(self) -> Sequence[Any]:
        """The arguments are what is kept."""
        return self.parents

    def gradients(self, g: Any, _wanted: Sequence[int], _create_graph: bool) -> Iterator[Any]:
        """Run the function again and yield its result's vertex, which the gradient belongs to."""
        with Switched((recording, True)):
            out = self.again()
        if out.requires_grad:
            yield out.node or out, g

    def again(self) -> Tensor:
        """What the function makes of its arguments, as it did the first time."""
        args = [
            array if parent is None else restore(parent, array)
            for parent, array in zip(self.parents, self.kept or (), strict=True)
        ]
        now = random.get_state()
        random.set_state(self.state)
        try:
            with Switched((replaying, True)):
                return self.function(*args)
        finally:
            random.set_state(now)

    def leading_to(self, _needed: set[Any]) -> tuple[int, ...]:
        """Always all: what the function uses beside its arguments is not known before."""
        return self.plan.wanted
