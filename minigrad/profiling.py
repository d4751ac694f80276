"""Where does the time go? `with mg.profile() as p: ...` and then `print(p)`.

While a profile is open, three methods of the engine and the optimizers are replaced by ones that
look at the clock. So the engine knows nothing of profiling, and pays nothing for it otherwise.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

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
from minigrad.observing import Replacements
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


class profile:  # noqa: N801 - it is used as a function is
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

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0
        self._entered = 0.0

    def __enter__(self) -> Self:
        if self in _here.profiles:
            raise RuntimeError(
                "profile: this profile is open already; make another one for the inner block"
            )
        _methods.add(+1)
        _here.profiles.append(self)
        self._entered = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._entered
        _here.profiles.remove(self)
        _methods.add(-1)

    def begin(self, event: Event, node: Node | None) -> None:  # noqa: ARG002 - for subclasses
        """Note what begins now; `node` is the one whose gradients are computed, if any are."""
        self.events.append(event)

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


class _Here(threading.local):
    """What is open in this thread."""

    def __init__(self) -> None:
        self.profiles: list[profile] = []
        self.path: tuple[str, ...] = ()
        self.phase = ""


_here = _Here()


class _Timer:
    """Times a `with` block as one event of all open profiles."""

    def __init__(self, name: str, phase: str, node: Node | None = None) -> None:
        self.node = node
        self.outer = _here.path, _here.phase
        _here.path, _here.phase = (*_here.path, name), _here.phase or phase
        self.event = Event(_here.path, _here.phase, 0.0)

    def __enter__(self) -> Event:
        for each in _here.profiles:
            each.begin(self.event, self.node)
        self.event.start = time.perf_counter()
        return self.event

    def __exit__(self, *_: object) -> None:
        self.event.seconds = time.perf_counter() - self.event.start
        _here.path, _here.phase = self.outer


# ------------------------------------------------------------------ what takes the methods' places

_apply, _gradients, _fit, _step = Op.apply, Node.gradients, Node.fit, Optimizer.step
_direct = vars(Op)["direct"]


def _timed_apply(op: Op, *inputs: Any, **config: Any) -> Any:
    if not _here.profiles:
        return _apply(op, *inputs, **config)
    with _Timer(op.name, "forward") as event:
        out = _apply(op, *inputs, **config)
    arrays, result = _arrays([*inputs, *config.values()]), np.asarray(_array(out))
    event.shape = result.shape
    if any(np.may_share_memory(result, array) for array in arrays):
        return out  # a view
    event.nbytes = sum(array.nbytes for array in [*arrays, result])
    event.work = forward_work(op, inputs, config, result)
    return out


# A property comes before what the instance holds, so it hides what `direct` has cached there.
_timed_direct = property(lambda op: partial(_timed_apply, op))


def _timed_gradients(
    node: Node, g: Any, wanted: tuple[int, ...], create_graph: bool
) -> Iterable[tuple[Any, Any]]:
    if not _here.profiles:
        return _gradients(node, g, wanted, create_graph)
    held = _arrays(node.kept or ())
    with _Timer(node.op.name, "backward", node) as event:
        pairs = list(_gradients(node, g, wanted, create_graph))
    g, partials = _array(g), [_array(partial) for _, partial in pairs if partial is not None]
    event.shape, event.work = np.shape(g), backward_work(node, g, wanted, partials)
    if not all(handed_on(partial, g) for partial in partials):
        event.nbytes = sum(np.asarray(array).nbytes for array in [g, *held, *partials])
    return pairs  # else handed on, as `add` does


def _timed_fit(node: Node, partial: Any, parent: Any) -> Any:
    if not _here.profiles or np.shape(partial) == parent.shape:
        return _fit(node, partial, parent)
    with _Timer("unbroadcast", "backward", node) as event:
        fitting = _fit(node, partial, parent)
    event.shape, event.work = fitting.shape, Work(0, np.size(_array(partial)))
    event.nbytes = sum(np.asarray(_array(x)).nbytes for x in (partial, fitting))
    return fitting


def _timed_step(optimizer: Optimizer) -> None:
    if not _here.profiles:
        return _step(optimizer)
    with _Timer(f"{type(optimizer).__name__}.step", "update") as event:
        _step(optimizer)
    params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    event.work = Work(0, sum(p.size for p in params))
    event.nbytes = sum(3 * p.data.nbytes for p in params)  # w and g read, w written
    return None


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
    return [array for array in map(_array, values) if isinstance(array, np.ndarray)]


# Other threads that meet them go straight on to the originals.
_methods = Replacements(
    (Op, "apply", _apply, _timed_apply),
    (Op, "direct", _direct, _timed_direct),
    (Node, "gradients", _gradients, _timed_gradients),
    (Node, "fit", _fit, _timed_fit),
    (Optimizer, "step", _step, _timed_step),
)
