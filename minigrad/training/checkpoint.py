r"""Checkpoints: arrays and JSON in one file that notices any change of itself.

A checkpoint is a safetensors file, so any tool that reads those can look into it, and nothing in it
can run. But safetensors has no checksum: of the files with one damaged byte it loads most, with
wrong numbers. So the header begins with the SHA-256 of the whole file,

    {"__metadata__":{"minigrad":"{\"sha256\":\"<64 digits>\",\"meta\":{...}}"},"model.0.weight":...

computed with zeros in the place of its own digits, and it is compared before anything is parsed. It
guards against damage, not against people, who can compute it anew.
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
_START = 8 + len(_BEGINNING)  # where the digits are; the first 8 bytes are the header's length
_END = _START + 64


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
    write_atomically(path, _encode(arrays, meta), previous=previous)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save_checkpoint` wrote: arrays by name, and meta. Nothing in it is executed.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is truncated, changed, or no checkpoint.
    """
    with Path(path).open("rb") as file:
        beginning = file.read(_START)
        if beginning[8:] != _BEGINNING:  # before reading all of what may be a film
            raise ValueError(
                f"load_checkpoint: {os.fspath(path)} is no checkpoint of minigrad, or its "
                "beginning is damaged"
            )
        data = beginning + file.read()
    if _digest(data) != data[_START:_END]:
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} is truncated or damaged, for its contents do not "
            "fit its SHA-256"
        )
    try:
        return _decode(data)
    except _not_as_written() as error:
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} was not written by this version of minigrad, "
            f"which cannot read it ({error!r})"
        ) from error


def _encode(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytearray:
    safetensors = import_safetensors("save_checkpoint")
    everything = {"sha256": "0" * 64, "meta": dict(meta)}
    try:
        text = json.dumps(everything, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"save_checkpoint: meta expects what JSON can hold: {error}") from error
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in _DTYPES or name == "__metadata__":
            raise ValueError(
                f"save_checkpoint: arrays expects bools, integers, or floats of 16, 32 or 64 bits, "
                f"under a name that is not '__metadata__', got {array.dtype} under '{name}'"
            )
    # The library would take the memory of others as it lies there.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = bytearray(safetensors.numpy.save(contiguous, {"minigrad": text}))
    data[_START:_END] = _digest(data)
    return data


_DTYPES = [np.dtype(kind) for kind in "?bhiqBHIQefd"]


def _digest(data: bytes | bytearray) -> bytes:
    """The SHA-256 of a file, as text, with zeros in its place."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:_START])
    digest.update(b"0" * 64)
    digest.update(view[_END:])
    return digest.hexdigest().encode()


def _decode(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = import_safetensors("load_checkpoint").numpy.load(data)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size], object_pairs_hook=_unique)
    return arrays, dict(json.loads(header["__metadata__"]["minigrad"])["meta"])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands twice in the header")
    return names


def _not_as_written() -> tuple[type[Exception], ...]:
    """What parsing raises where a file of another make has a fitting SHA-256."""
    safetensors = import_safetensors("load_checkpoint")
    return (safetensors.SafetensorError, KeyError, RecursionError, TypeError, ValueError)
