r"""Checkpoints: arrays and JSON in one file that notices any change of itself.

A checkpoint is a safetensors file, so any tool that reads those can look into it, and nothing in it
can run. But safetensors has no checksum: of files with one damaged byte it loads most, with wrong
numbers. So the header begins with a SHA-256 of the whole file:

    {"__metadata__":{"minigrad":"{\"sha256\":\"<64 digits>\",\"meta\":{...}}"},"model.0.weight":...

computed with zeros in the place of its own digits. It is compared before anything is parsed. It
guards against damage, not against somebody who computes it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.files import write_atomically
from minigrad.nn.serialization import import_safetensors

_BEGINNING = rb'{"__metadata__":{"minigrad":"{\"sha256\":\"'
_DIGEST = slice(8 + len(_BEGINNING), 8 + len(_BEGINNING) + 64)  # behind the length of the header
_ZEROS = "0" * 64


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
        meta: what JSON can hold: dicts with text as keys, lists, text, finite numbers, None.
        previous: see `minigrad.files.write_atomically`.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: the file cannot be written.
        ValueError: something in arrays or meta cannot be kept.
    """
    write_atomically(path, _encode(arrays, meta), previous=previous)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_checkpoint` wrote: arrays by name, and meta. Nothing in it is executed.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is truncated, changed, or no checkpoint.
    """
    try:
        return _decode(Path(path).read_bytes())
    except _Refused as error:
        raise ValueError(f"load_checkpoint: {os.fspath(path)} {error}") from error


class _Refused(Exception):  # noqa: N818 (it becomes a ValueError)
    """Why bytes are no checkpoint."""


def _encode(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytes:
    safetensors = import_safetensors("save_checkpoint")
    try:
        text = json.dumps(
            {"sha256": _ZEROS, "meta": dict(meta)}, allow_nan=False, separators=(",", ":")
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"save_checkpoint: meta expects what JSON can hold: {error}") from error
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = bytearray(safetensors.numpy.save(contiguous, {"minigrad": text}))
    data[_DIGEST] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def _decode(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    safetensors = import_safetensors("load_checkpoint")
    if not data[8:].startswith(_BEGINNING):
        raise _Refused("is no checkpoint of minigrad, or its beginning is damaged")
    blank = bytearray(data)
    blank[_DIGEST] = _ZEROS.encode()
    if hashlib.sha256(blank).hexdigest().encode() != data[_DIGEST]:
        raise _Refused("is truncated or damaged: its contents do not fit its SHA-256")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    meta = json.loads(header["__metadata__"]["minigrad"])["meta"]
    return safetensors.numpy.load(data), meta
