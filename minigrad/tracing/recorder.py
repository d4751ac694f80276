"""`with mg.trace() as t:` sees every value when it is made, also those that nobody keeps."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Self

import numpy as np

from minigrad.engine import Node, Op, Tensor, seed
from minigrad.memory import changed_since
from minigrad.nn.module import Module
from minigrad.observing import Replacements
from minigrad.tracing.report import Trace, passes
from minigrad.tracing.values import Call

_open: ContextVar[Recorder | None] = ContextVar("open", default=None)
_record, _backward = Op.record, Tensor.backward


class Recorder(Trace):
    """Records the ops of a `with` block and its last call of `backward`."""

    def __init__(self, model: Module | None, title: str | None) -> None:
        super().__init__(None)
        self.model, self.title = model, title
        self.calls: dict[Node, Call] = {}
        self._before: Token[Recorder | None] | None = None

    def __enter__(self) -> Self:
        if self._before is not None:
            raise RuntimeError("trace: this trace is open already; make another one")
        _methods.add(+1)
        self._before = _open.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _open.reset(self._before)
            self._before = None
        _methods.add(-1)
        self.calls.clear()

    def note(self, node: Node, arrays: list[Any], out: Any, config: dict[str, Any]) -> None:
        """Copy what an op was given and returned: somebody may change it later."""
        inputs = [
            self.calls[parent].output
            if isinstance(parent, Node)
            and parent in self.calls
            and not changed_since(parent.index, parent)
            else _copy(array)
            for parent, array in zip(node.parents, arrays, strict=True)
        ]
        self.calls[node] = Call(inputs, {**node.op.defaults, **config}, _copy(out))

    def watch(self, loss: Tensor, gradient: Any, retain_graph: bool) -> None:
        """Run the program's backward pass, and write it down."""
        start = seed("backward", loss, gradient)

        def run() -> None:
            _backward(loss, start, retain_graph=retain_graph)

        self._data = passes(loss, start, run, self.calls, self.model, self.title)


def _copy(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


# ------------------------------------------------------------------ what takes the methods' places


def _noted_record(
    op: Op,
    mask: int,
    arrays: list[Any],
    parents: list[Any],
    out: Any,
    residuals: Any = (),
    config: dict[str, Any] | None = None,
) -> Tensor:
    tensor = _record(op, mask, arrays, parents, out, residuals, config)
    recorder = _open.get()
    if recorder is not None and tensor.node is not None:
        recorder.note(tensor.node, arrays, tensor.data, config or {})
    return tensor


def _watched_backward(loss: Tensor, gradient: Any = None, *, retain_graph: bool = False) -> None:
    recorder = _open.get()
    if recorder is None or loss.node is None:
        _backward(loss, gradient, retain_graph=retain_graph)
    else:
        recorder.watch(loss, gradient, retain_graph)


_methods = Replacements(
    (Op, "record", _record, _noted_record), (Tensor, "backward", _backward, _watched_backward)
)
