"""Sides that take turns, each in a process of its own.

So no side's threads, allocator or environment reach another's, and whatever else the machine does
meets all of them alike. In each turn a side works once untimed, to warm its caches, then for at
least 20 ms; a turn gives the mean of its calls, and a side's time is the median of its turns.
Preparing (building, compiling) is never timed.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import peers

TURN = 0.02  # seconds
REST = 0.02  # before it: threads of the side before may still look for work, for some milliseconds


class Side:
    """A worker process with one framework in it."""

    def __init__(self, name: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, name, threads), daemon=True)
        self._process.start()
        there.close()
        self._answer()

    def ask(self, order: str, *arguments: Any) -> Any:
        """Have the worker do something, and wait for it.

        Raises:
            RuntimeError: it failed; the message is its own.
        """
        self._here.send((order, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer, error = self._here.recv()
        except EOFError:
            raise RuntimeError(f"{self.name}: the process ended") from None
        if error:
            raise RuntimeError(f"{self.name}: {error}")
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._here.send(None)
        self._process.join(10)
        self._process.kill()


@contextlib.contextmanager
def contest(names: Sequence[str], threads: int) -> Iterator[list[Side]]:
    """Start these sides; they are ended with the block."""
    sides: list[Side] = []
    try:
        for name in names:
            sides.append(Side(name, threads))  # noqa: PERF401 - so that those started are ended
        yield sides
    finally:
        for side in sides:
            side.close()


def measure(sides: Sequence[Side], turns: int, task: str, **arguments: Any) -> dict[str, float]:
    """The median seconds of this task at each side, in turns; sides that cannot do it are left out.

    Args:
        sides: whose turn it is, in this order.
        turns: how many each gets.
        task: a method of `peers.Peer`.
        arguments: its arguments.
    """
    able = []
    for side in sides:
        try:
            side.ask("prepare", task, arguments, TURN if turns > 1 else 0)
            able.append(side)
        except RuntimeError as error:
            print(f"({error})")
    times = [{side.name: side.ask("run") for side in able} for _ in range(turns)]
    return {side.name: statistics.median(turn[side.name] for turn in times) for side in able}


def _serve(connection: Connection, name: str, threads: int) -> None:
    """What a worker does."""
    worker: Worker | None = None
    order: tuple[str, Any] | None = ("start", (name, threads))
    while order is not None:
        try:
            if worker is None:
                worker, answer = Worker(*order[1]), None
            else:
                answer = getattr(worker, order[0])(*order[1])
            connection.send((answer, None))
        except Exception as error:
            summary = traceback.format_exception_only(error)[-1].strip().splitlines()
            connection.send((None, summary[0] if summary else repr(error)))
        order = connection.recv()


class Worker:
    """The other end of a Side."""

    def __init__(self, name: str, threads: int) -> None:
        self.peer = peers.load(name, threads)

    def prepare(self, task: str, arguments: dict[str, Any], least: float) -> None:
        """Build, compile and warm up; find how many calls take `least` seconds."""
        self.work: peers.Work = lambda: None  # lets go of the last one
        self.work = getattr(self.peer, task)(**arguments)
        self.work()
        self.calls = 1
        if least:
            self.work()
            self.calls = max(1, math.ceil(least / _seconds(self.work, 1)))

    def run(self) -> float:
        """The seconds of one call, the mean of a turn."""
        time.sleep(REST)
        self.work()
        return _seconds(self.work, self.calls)

    def call(self, task: str, arguments: dict[str, Any]) -> Any:
        """What a method of the peer returns."""
        return getattr(self.peer, task)(**arguments)

    def peak_memory(self, steps: int) -> float:
        """The most bytes of memory that this process ever had, after so many calls."""
        for _ in range(steps):
            self.work()
        return peak_memory()

    def config(self) -> Any:
        """What `minigrad.config` says in this process."""
        import minigrad as mg

        return mg.config()


def _seconds(work: peers.Work, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def peak_memory() -> float:
    """The largest resident memory of this process so far, in bytes.

    Linux says it per program; `getrusage` hands on that of the process which started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
