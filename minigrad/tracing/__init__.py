"""See a forward and a backward pass step by step: `mg.trace(loss)`, `mg.graph(loss)`."""

from __future__ import annotations

from typing import overload

from minigrad.engine import Tensor
from minigrad.nn.module import Module
from minigrad.tracing.dot import graph
from minigrad.tracing.recorder import Recorder
from minigrad.tracing.report import Trace, trace_of

__all__ = ["Trace", "graph", "trace"]


@overload
def trace(loss: Tensor, *, model: Module | None = None, title: str | None = None) -> Trace: ...


@overload
def trace(
    loss: None = None, *, model: Module | None = None, title: str | None = None
) -> Recorder: ...


def trace(
    loss: Tensor | None = None, *, model: Module | None = None, title: str | None = None
) -> Trace:
    """A forward and a backward pass, step by step, as a page to look at.

        loss = F.cross_entropy(model(x), labels)
        mg.trace(loss).save("trace.html")

    The backward pass is run by this call; `.grad` stays as it is, and `loss.backward()` can follow.
    (Hooks of tensors are called.) Values that the engine keeps are shown as they are, others are
    computed again from them, to the bit; what was not kept because no derivative needs it is left
    out. To see that, too, record:

        with mg.trace() as t:
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
        t.save("trace.html")

    Args:
        loss: what the backward pass starts from, a single number; None to record a block, of which
            the last `backward` is shown.
        model: the module that names begin at, where it is not the one that was called.
        title: of the page.

    Raises:
        RuntimeError: nothing was recorded for the loss, or its graph was freed.
    """
    return Recorder(model, title) if loss is None else trace_of(loss, model, title)
