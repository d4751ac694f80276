"""Switches of the engine: is it recording, is it looking for NaN. One set of them per thread."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _Modes(threading.local):
    recording = True
    anomaly = False
    replaying = False


modes = _Modes()


class Switched:
    """Set some switches of this thread, in a `with` block or in each call of a decorated function.

    They are restored at the end, whatever happens.
    """

    def __init__(self, **values: bool) -> None:
        self.values = values
        self.before: list[dict[str, bool]] = []  # a stack, because blocks can be nested

    def __enter__(self) -> None:
        self.before.append({name: getattr(modes, name) for name in self.values})
        vars(modes).update(self.values)

    def __exit__(self, *_: object) -> None:
        vars(modes).update(self.before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with these switches set in each of its calls."""
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{function.__name__}: a generator function cannot be decorated, because its body "
                "runs between the calls; use a with block inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with Switched(**self.values):
                return function(*args, **kwargs)

        return inside


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record nothing, in a `with` block or a decorated function.

    It is written `with no_grad():`, `@no_grad()` or `@no_grad`. Results made inside have
    `requires_grad=False`, whatever they were made from. Other threads are not affected.
    """
    context = Switched(recording=False)
    return context if function is None else context(function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record again inside a `no_grad`: context manager and decorator, as `no_grad` is."""
    context = Switched(recording=True)
    return context if function is None else context(function)


def is_grad_enabled() -> bool:
    """Whether this thread is recording."""
    return modes.recording


def detect_anomaly() -> Any:
    """Raise a RuntimeError naming the op that makes the first NaN or Inf, forward or backward.

    Context manager and decorator. Every result is inspected, so it slows the work down: it is for
    looking for a fault.
    """
    return Switched(anomaly=True)
