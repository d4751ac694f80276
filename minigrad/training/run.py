"""The folder of a run: one process writes to it, and its last two checkpoints are kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from minigrad.files import lock, remove_temporaries
from minigrad.training.checkpoint import load_checkpoint, save_checkpoint

Checkpoint = tuple[dict[str, np.ndarray], dict[str, Any]]

NEWEST, PREVIOUS, LOCK = "checkpoint.safetensors", "checkpoint.previous.safetensors", "run.lock"


class RunFolder:
    """A folder that one process at a time trains in.

        with RunFolder("runs/nin") as run:
            ...
            run.save(arrays, meta)

    Entering makes the folder, locks it, and removes what a kill left half written in it. The system
    takes the lock back when the process ends, however it ends; the lock's file stays.

    Args:
        path: the folder.

    Raises:
        BlockingIOError: another process trains in it.
        OSError: it cannot be made or written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        file = (self.path / LOCK).open("a+", encoding="ascii")
        if not lock(file):
            file.seek(0)
            pid = file.read(20).strip()
            file.close()
            raise BlockingIOError(
                f"RunFolder: {self.path} is in use by process {pid}; "
                "wait until it ends, or choose another folder"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._lock = file
        remove_temporaries(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Write a checkpoint; the one before is kept as the previous one.

        Raises:
            OSError: it cannot be written; the earlier ones are as they were.
            RuntimeError: the folder is not locked, for want of a `with`.
            ValueError: see `save_checkpoint`.
        """
        self._expect_lock("save")
        newest, previous = self.path / NEWEST, self.path / PREVIOUS
        # A damaged file must not take the place of a good one.
        keep = previous if _refusal(newest) == "" else None
        save_checkpoint(newest, arrays, meta, previous=keep)

    def load(self) -> Checkpoint | None:
        """The newest good checkpoint, with a warning if it is the previous one; None if none is.

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
    """The newest good checkpoint of a run that may still be going on: arrays and meta.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are checkpoints, but none is good.
    """
    if (checkpoint := _load(Path(path))) is None:
        raise FileNotFoundError(
            f"read_run: {os.fspath(path)} holds no checkpoint; train with this folder first"
        )
    return checkpoint


def _load(folder: Path) -> Checkpoint | None:
    reasons = []
    for name in (NEWEST, PREVIOUS):
        try:
            checkpoint = load_checkpoint(folder / name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            reasons.append(str(error))
            continue
        if reasons:
            warnings.warn(f"{reasons[0]}; the one before it is used", stacklevel=3)
        return checkpoint
    if reasons:
        raise ValueError(f"{'; '.join(reasons)}; begin the run anew")
    return None


def _refusal(path: Path) -> str | None:
    """Why a checkpoint is refused; empty if it is good, None if there is none."""
    try:
        load_checkpoint(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return str(error)
    return ""
