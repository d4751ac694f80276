"""Switches of the engine: is it recording, is it looking for NaN.

They are context variables: each thread (and each asyncio task) has its own, and they are what can
be asked at the least cost, which every op does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar, cast, overload

recording = ContextVar("recording", default=True)
anomaly = ContextVar("anomaly", default=False)
replaying = ContextVar("replaying", default=False)

Function = TypeVar("Function", bound=Callable[..., Any])
Mode = tuple[ContextVar[bool], bool]


class Switched:
    """Set some switches, in a `with` block or in each call of a decorated function.

    They are restored at the end, whatever happens.
    """

    def __init__(self, *switches: Mode) -> None:
        self.switches = switches
        self.before: list[list[Mode]] = []  # a stack, because blocks can be nested

    def __enter__(self) -> None:
        self.before.append([(mode, mode.get()) for mode, _ in self.switches])
        _set(self.switches)

    def __exit__(self, *_: object) -> None:
        _set(self.before.pop())

    def __call__(self, function: Function) -> Function:
        """The function, with these switches set in each of its calls."""
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{function.__name__}: a generator function cannot be decorated, because its body "
                "runs between the calls; use a with block inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with Switched(*self.switches):
                return function(*args, **kwargs)

        return cast(Function, inside)


def _set(switches: Iterable[Mode]) -> None:
    for mode, value in switches:
        mode.set(value)


@overload
def no_grad(function: None = None) -> Switched: ...
@overload
def no_grad(function: Function) -> Function: ...
def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record nothing, in a `with` block or a decorated function.

    It is written `with no_grad():`, `@no_grad()` or `@no_grad`. Results made inside have
    `requires_grad=False`, whatever they were made from. Other threads are not affected.
    """
    context = Switched((recording, False))
    return context if function is None else context(function)


@overload
def enable_grad(function: None = None) -> Switched: ...
@overload
def enable_grad(function: Function) -> Function: ...
def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record again inside a `no_grad`: context manager and decorator, as `no_grad` is."""
    context = Switched((recording, True))
    return context if function is None else context(function)


def is_grad_enabled() -> bool:
    """Whether ops are recorded now."""
    return recording.get()


def detect_anomaly() -> Switched:
    """Raise a RuntimeError naming the op that makes the first NaN or Inf, forward or backward.

    Context manager and decorator. Every result is inspected, so it slows the work down: it is for
    looking for a fault.
    """
    return Switched((anomaly, True))
