"""Ctrl-C and SIGTERM: end the step, save, say how to go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Self

ECHO = 0.5  # seconds in which a signal that comes again was sent once


class Interrupted(KeyboardInterrupt):
    """Training was interrupted between two steps; `str` of it is what to tell the user.

    Attributes:
        exit_code: what shells expect of a process that such a signal ended: 130 for Ctrl-C, 143
            for SIGTERM.
        place: how far the training came, "epoch 2 of 5, step 310 of 938".
        out: the folder that it was saved to, or None.
        advice: how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        self.place = "training"
        self.out: Path | None = None
        self.advice = ""

    def __str__(self) -> str:
        saved = "not saved" if self.out is None else f"saved in {os.fspath(self.out)}"
        return f"Interrupted in {self.place}; {saved}.\n{self.advice}".rstrip()


class Interruption:
    """Inside the `with` block a first signal is noted, and `check` raises; a second acts at once.

    What comes within half a second is an echo of the first: Ctrl-C reaches all programs of a
    terminal, and those that start others pass it on as well.

    Only the main thread may handle signals; in others, and where a signal is ignored (as a shell
    does for what it runs in the background), nothing changes.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()

    def check(self) -> None:
        """Raise `Interrupted` if there was a signal."""
        if self.number is not None:
            raise Interrupted(self.number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._since = number, now
        elif now - self._since >= ECHO:
            self._put_back()
            signal.raise_signal(number)

    def _put_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
