"""How far it is: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, Self

SECONDS = 10.0  # between two lines


class Progress(Protocol):
    """What shows how many images of a pass are done."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> object: ...

    def advance(self, images: int, note: str = "") -> None:
        """So many more are done."""


def progress(title: str, total: int, done: int = 0, *, quiet: bool = False) -> Progress:
    """A bar with images/s and the time left where standard error is a terminal and tqdm is there.

    Elsewhere (files, pipes, notebooks) there is a plain line every ten seconds on standard output,
    and nothing for a pass that is shorter.
    """
    if quiet:
        return Silence()
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            return Bar(title, total, done)
        except ImportError:
            pass
    return Lines(title, total, done)


def say(line: str) -> None:
    """A line for the user, at once."""
    print(line, flush=True)  # noqa: T201 - a loop that runs for minutes tells how it goes


class Silence:
    """No progress."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, images: int, note: str = "") -> None:
        """Nothing."""


class Bar:
    """tqdm's bar, which goes away when the pass is over."""

    def __init__(self, title: str, total: int, done: int) -> None:
        from tqdm import tqdm

        self.bar: Any = tqdm(
            desc=title, total=total, initial=done, unit=" images", leave=False, dynamic_ncols=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, images: int, note: str = "") -> None:
        """So many more are done."""
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(images)


class Lines:
    """A line every ten seconds."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.done = title, total, done
        self.at_start, self.start = done, time.perf_counter()
        self.last = self.start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, images: int, note: str = "") -> None:
        """So many more are done."""
        self.done += images
        now = time.perf_counter()
        if now - self.last >= SECONDS and self.done < self.total:
            self.last = now
            rate = (self.done - self.at_start) / (now - self.start)
            left = (self.total - self.done) / rate
            note = f", {note}" if note else ""
            say(
                f"{self.title}: {self.done:,} of {self.total:,} images, {rate:,.0f} images/s, "
                f"{left:.0f} s left{note}"
            )
