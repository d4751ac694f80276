"""Where does the time go? `with mg.profile() as p: ...` and then `print(p)`.

A profile is an `Observer` that looks at the clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from minigrad.checkpoint import Replay
from minigrad.engine import Node, Op, Tensor
from minigrad.files import write_atomically
from minigrad.flops import (
    NONE,
    Shape,
    Work,
    backward_work,
    forward_work,
    handed_on,
)
from minigrad.observing import Observer, Run
from minigrad.optim.optimizer import Optimizer

PHASES = ("forward", "backward", "update")


@dataclass(slots=True)
class Event:
    """One thing that was timed.

    Attributes:
        path: the names of the op and of those that it ran inside of, the outermost first.
        phase: "forward", "backward" (of the outermost) or "update" (an optimizer's step).
        start: when, in seconds of `time.perf_counter`.
        seconds: how long, with everything that ran inside.
        shape: of the result forward, of its gradient backward.
        work: the multiply-adds and FLOPs, as `minigrad.flops` counts them.
        nbytes: of the arrays that went in and came out, each once.
    """

    path: tuple[str, ...]
    phase: str
    start: float
    seconds: float = 0.0
    shape: Shape = ()
    work: Work = NONE
    nbytes: int = 0

    @property
    def name(self) -> str:
        """The op's."""
        return self.path[-1]

    @property
    def flops(self) -> int:
        """All operations on numbers: two for each multiply-add, and the others."""
        return self.work.flops


class profile(Observer):  # noqa: N801 - it is used as a function is
    """Time every op that this thread runs inside the `with` block, forward and backward.

        with mg.profile() as p:
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
        print(p)
        p.save("trace.json")

    `minigrad.flops` says what counts as a FLOP. Bytes are those of the arrays that an op is given
    and returns. Ops that run inside others (in rules of derivatives, say) are counted there, and
    listed below them; `unbroadcast` is the sum of a gradient over what was repeated. What runs in
    other threads is not seen, and a few microseconds of each op are the profile's own.

    Attributes:
        events: all that was timed, as `Event`, in the order of their starts.
        seconds: how long the block took. Entering the same profile again adds to both.
    """

    noun = "profile"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0
        self._entered = 0.0
        self._path: tuple[str, ...] = ()
        self._phase = ""

    def __enter__(self) -> Self:
        super().__enter__()
        self._entered = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._entered
        super().__exit__(*error)

    @contextmanager
    def timed(self, name: str, phase: str, node: Node | None = None) -> Iterator[Event]:
        """Time a `with` block as one event; `node` is the one whose gradients are computed."""
        outer = self._path, self._phase
        self._path, self._phase = (*self._path, name), self._phase or phase
        event = Event(self._path, self._phase, 0.0)
        self.begin(event, node)
        event.start = time.perf_counter()
        try:
            yield event
        finally:
            event.seconds = time.perf_counter() - event.start
            self._path, self._phase = outer

    def begin(self, event: Event, node: Node | None) -> None:  # noqa: ARG002 - for subclasses
        """Note what begins now."""
        self.events.append(event)

    def call(self, run: Run, op: Op, inputs: tuple[Any, ...], config: dict[str, Any]) -> Any:
        """An op's forward."""
        with self.timed(op.name, "forward") as event:
            out = run()
        arrays, result = _arrays([*inputs, *config.values()]), np.asarray(_array(out))
        event.shape = result.shape
        if any(np.may_share_memory(result, array) for array in arrays):
            return out  # a view
        event.nbytes = sum(array.nbytes for array in [*arrays, result])
        event.work = forward_work(op, inputs, config, result)
        return out

    def gradients(
        self, run: Run, node: Node, g: Any, wanted: tuple[int, ...], *_: Any
    ) -> Iterable[tuple[Any, Any]]:
        """An op's backward."""
        if isinstance(node, Replay):
            return run()  # what it computes again is timed by itself
        held = _arrays(node.kept or ())
        with self.timed(node.op.name, "backward", node) as event:
            pairs = list(run())
        g, partials = _array(g), [_array(partial) for _, partial in pairs if partial is not None]
        event.shape, event.work = np.shape(g), backward_work(node, g, wanted, partials)
        if not all(handed_on(partial, g) for partial in partials):
            event.nbytes = sum(np.asarray(array).nbytes for array in [g, *held, *partials])
        return pairs  # else handed on, as `add` does

    def fit(self, run: Run, node: Node, gradient: Any, vertex: Any) -> Any:
        """The sum of a gradient over what was repeated."""
        if np.shape(gradient) == vertex.shape:
            return run()
        with self.timed("unbroadcast", "backward", node) as event:
            fitting = run()
        event.shape, event.work = fitting.shape, Work(0, np.size(_array(gradient)))
        event.nbytes = sum(np.asarray(_array(x)).nbytes for x in (gradient, fitting))
        return fitting

    def step(self, run: Run, optimizer: Optimizer) -> None:
        """An optimizer's update."""
        with self.timed(f"{type(optimizer).__name__}.step", "update") as event:
            run()
        groups = optimizer.param_groups
        params = [p for group in groups for p in group["params"] if p.grad is not None]
        event.work = Work(0, sum(p.size for p in params))
        event.nbytes = sum(3 * p.data.nbytes for p in params)  # w and g read, w written

    def __repr__(self) -> str:  # so that a notebook shows the table
        return str(self)

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A row for each op, those that took longest first; the ops inside it indented below."""
        header = ["op", "calls", *(f"{phase} ms" for phase in PHASES), "GFLOP/s", "MB", "share"]
        lines = [header, *self._rows((), self.events)]
        outermost = [event for event in self.events if len(event.path) == 1]
        between = self.seconds - sum(event.seconds for event in outermost)
        lines.append(["between ops", *[""] * 6, self._share(between)])
        lines.append(["all", *self._numbers(outermost)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        )

    def _rows(self, inside: tuple[str, ...], events: Sequence[Event]) -> Iterator[list[str]]:
        """The rows of the ops directly inside of this path, each with its own below it."""
        depth = len(inside)
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event.path[depth], []).append(event)
        own = {
            name: [event for event in group if len(event.path) == depth + 1]
            for name, group in groups.items()
        }
        for name in sorted(groups, key=lambda name: -sum(e.seconds for e in own[name])):
            yield ["  " * depth + name, *self._numbers(own[name])]
            nested = [event for event in groups[name] if len(event.path) > depth + 1]
            yield from self._rows((*inside, name), nested)

    def _numbers(self, events: Sequence[Event]) -> list[str]:
        by_phase = {
            phase: [event.seconds for event in events if event.phase == phase] for phase in PHASES
        }
        seconds = sum(event.seconds for event in events)
        rate = sum(event.flops for event in events) / seconds / 1e9 if seconds else 0.0
        return [
            str(max(map(len, by_phase.values()))),
            *(f"{sum(times) * 1e3:.2f}" if times else "" for times in by_phase.values()),
            f"{rate:.1f}",
            f"{sum(event.nbytes for event in events) / 1e6:.1f}",
            self._share(seconds),
        ]

    def _share(self, seconds: float) -> str:
        return f"{seconds / self.seconds:.1%}" if self.seconds else "-"  # still open

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for chrome://tracing or ui.perfetto.dev (Chrome's JSON format).

        Raises:
            OSError: the file cannot be written.
        """
        import json

        first = self.events[0].start if self.events else 0.0
        trace = [
            {
                "name": event.name,
                "cat": event.phase,
                "ph": "X",
                "ts": (event.start - first) * 1e6,
                "dur": event.seconds * 1e6,
                "pid": os.getpid(),
                "tid": 0,
                "args": {
                    "phase": event.phase,
                    "shape": str(event.shape),
                    "GFLOP/s": event.flops / event.seconds / 1e9 if event.seconds else 0.0,
                    "bytes": event.nbytes,
                },
            }
            for event in self.events
        ]
        text = json.dumps({"traceEvents": trace, "displayTimeUnit": "ms"})
        write_atomically(path, text.encode())


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
    return [array for array in map(_array, values) if isinstance(array, np.ndarray)]
