"""Checkpoints: the arrays and the JSON of a training, in a file that notices any change of itself.

`minigrad/sealing.py` says what the file looks like.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import sealing
from minigrad.files import write_atomically


def save_checkpoint(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    *,
    previous: Path | None = None,
) -> None:
    """Write arrays and meta to a file, which appears whole or not at all.

    Args:
        path: the file.
        arrays: by name, of any shape; bools, integers, and floats of 16, 32 or 64 bits.
        meta: what JSON can hold: dicts by text, lists, text, finite numbers, None.
        previous: the name that the file which is there now gets; None replaces it.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: the file cannot be written.
        ValueError: something in arrays or meta cannot be kept.
    """
    write_atomically(path, sealing.seal("save_checkpoint", arrays, meta), previous=previous)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_checkpoint` wrote: arrays by name, and meta. Nothing in it is executed.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is truncated, changed, or no checkpoint.
    """
    with Path(path).open("rb") as file:
        data = file.read(sealing.START)
        if sealing.is_sealed(data):  # else it may be a film, or endless
            data += file.read()
    try:
        return sealing.unseal("load_checkpoint", data)
    except ValueError as error:
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} is truncated, damaged or no checkpoint ({error})"
        ) from error
