"""`with mg.trace() as t:` sees every value when it is made, also those that nobody keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.arrays import as_operand
from minigrad.engine import Node, Op, Tensor
from minigrad.memory import changed_since
from minigrad.nn.module import Module
from minigrad.observing import Observer, Run
from minigrad.tracing.report import Trace, passes
from minigrad.tracing.values import Call


class Recorder(Trace, Observer):
    """Records the ops of a `with` block and its last call of `backward`."""

    noun = "trace"

    def __init__(self, model: Module | None, title: str | None) -> None:
        super().__init__(None)
        self.model, self.title = model, title
        self.calls: dict[Node, Call] = {}

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.calls.clear()

    def call(self, run: Run, op: Op, inputs: tuple[Any, ...], config: dict[str, Any]) -> Any:
        """Note a call that leaves a node."""
        out = run()
        if isinstance(out, Tensor) and out.node is not None:
            arrays = [
                x.data if isinstance(x, Tensor) else as_operand(op.name, x, weak=True)
                for x in inputs
            ]
            self.note(out.node, arrays, out.data, config)
        return out

    def backward(self, run: Run, tensor: Tensor, start: Tensor, *_: Any) -> None:
        """Run the program's backward pass, and write it down."""
        if tensor.node is None:
            run()
        else:
            self._data = passes(tensor, start, run, self.calls, self.model, self.title)

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


def _copy(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value
