"""The folder of a run: one process writes to it, and its last two checkpoints are kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from minigrad.files import in_words, lock, remove_temporaries
from minigrad.training.checkpoint import load_checkpoint, save_checkpoint

Checkpoint = tuple[dict[str, np.ndarray], dict[str, Any]]

NEWEST, PREVIOUS, LOCK = "checkpoint.safetensors", "checkpoint.previous.safetensors", "run.lock"


class RunFolder:
    """A folder that one process at a time trains in.

        with RunFolder("runs/nin") as run:
            ...
            run.save(arrays, meta)

    Entering makes the folder, locks it, and removes what a killed process left half written. The
    system opens the lock when the process ends, however it ends; the lock's file stays.

    Args:
        path: the folder.

    Raises:
        BlockingIOError: it is in use, by another process or by this one.
        OSError: it cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                file = closing.enter_context((self.path / LOCK).open("a+b", buffering=0))
                if lock(file):
                    remove_temporaries(self.path)
                    file.truncate(0)
                    file.write(b"%d\n" % os.getpid())
                    closing.pop_all()
                    self._lock = file
                    return self
            except OSError as error:
                raise in_words(
                    error,
                    f"RunFolder: {self.path} cannot be written to: {error.strerror}; "
                    "choose another folder",
                ) from error
            raise BlockingIOError(
                f"RunFolder: {self.path} is in use by process {_read_pid(self.path / LOCK)}; "
                "wait until it ends, or choose another folder"
            )

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Write a checkpoint (see `save_checkpoint`); the one before is kept as the previous one.

        Raises:
            OSError: it cannot be written; the earlier ones are as they were.
            RuntimeError: the folder is not locked, for want of a `with`.
            ValueError: something in arrays or meta cannot be kept.
        """
        self._expect_lock("save")
        newest, previous = self.path / NEWEST, self.path / PREVIOUS
        # A damaged file must not take the place of a good one.
        save_checkpoint(newest, arrays, meta, previous=previous if _is_good(newest) else None)

    def load(self) -> Checkpoint | None:
        """The newest good checkpoint: arrays and meta. None if there is none at all.

        Where the newest is refused and the previous one is used, a warning says so.

        Raises:
            ValueError: there are checkpoints, but none is good.
        """
        return _load(self.path)

    def clear(self) -> None:
        """Remove the checkpoints, so that a new run can begin."""
        self._expect_lock("clear")
        for name in (PREVIOUS, NEWEST):
            (self.path / name).unlink(missing_ok=True)

    def _expect_lock(self, method: str) -> None:
        if self._lock is None:
            raise RuntimeError(
                f"RunFolder: {method} expects the folder to be locked; "
                "use `with RunFolder(path) as run:`"
            )


def read_run(path: str | os.PathLike[str]) -> Checkpoint:
    """The newest good checkpoint of a run, which may be going on: arrays and meta.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are checkpoints, but none is good.
    """
    checkpoint = None if Path(path).is_file() else _load(Path(path))
    if checkpoint is None:
        raise FileNotFoundError(
            f"read_run: {os.fspath(path)} holds no checkpoint; name the folder of a run"
        )
    return checkpoint


def _read_pid(path: Path) -> int | str:
    digits = path.read_bytes()[:20].strip()
    return int(digits) if digits.isdigit() else "unknown"  # it may be about to be written


def _load(folder: Path) -> Checkpoint | None:
    refused = []
    for name in (NEWEST, PREVIOUS):
        try:
            checkpoint = load_checkpoint(folder / name)
        except FileNotFoundError:  # the newest, too, if a kill came between its two renames
            continue
        except (OSError, ValueError) as error:
            refused.append(str(error))
            continue
        if refused:
            warnings.warn(f"{refused[0]}; the previous checkpoint is used", stacklevel=3)
        return checkpoint
    if refused:
        raise ValueError(f"{', and '.join(refused)}; begin the run anew")
    return None


def _is_good(path: Path) -> bool:
    try:
        load_checkpoint(path)
    except (OSError, ValueError):
        return False
    return True
