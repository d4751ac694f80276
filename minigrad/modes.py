"""Switches of the engine: is it recording, is it looking for NaN. One set of them per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Modes(threading.local):
    recording = True
    anomaly = False
    replaying = False


modes = _Modes()


@contextmanager
def switched(**values: bool) -> Iterator[None]:
    """Set some switches of this thread, and restore them at the end, whatever happens."""
    before = {name: getattr(modes, name) for name in values}
    vars(modes).update(values)
    try:
        yield
    finally:
        vars(modes).update(before)


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record nothing, in a `with` block or a decorated function.

    It is written `with no_grad():`, `@no_grad()` or `@no_grad`. Results made inside have
    `requires_grad=False`, whatever they were made from. Other threads are not affected.
    """
    context = switched(recording=False)
    return context if function is None else context(function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record again inside a `no_grad`: context manager and decorator, as `no_grad` is."""
    context = switched(recording=True)
    return context if function is None else context(function)


def is_grad_enabled() -> bool:
    """Whether this thread is recording."""
    return modes.recording


def detect_anomaly() -> Any:
    """Raise a RuntimeError naming the op that makes the first NaN or Inf, forward or backward.

    Context manager and decorator. Every result is inspected, so it slows the work down: it is for
    looking for a fault.
    """
    return switched(anomaly=True)
