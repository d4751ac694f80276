"""See a forward and a backward pass step by step: `mg.trace(loss)`, `mg.graph(loss)`."""

from __future__ import annotations

from minigrad.engine import Tensor
from minigrad.nn.module import Module
from minigrad.tracing.report import Trace, trace_of


def trace(
    loss: Tensor | None = None, *, model: Module | None = None, title: str | None = None
) -> Trace:
    return trace_of(loss, model, title)
