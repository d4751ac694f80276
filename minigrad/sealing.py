r"""Safetensors files that notice any change of themselves.

Safetensors is a plain table of arrays, and nothing in it can run. But it has no checksum: of the
files with one damaged byte it loads most, with wrong numbers. So the header of ours begins with the
SHA-256 of the whole file,

    {"__metadata__":{"minigrad":"{\"sha256\":\"<64 digits>\",\"meta\":{...}}"},"0.weight":...

computed with zeros in the place of its own digits, and it is compared before anything is parsed. It
guards against damage, not against people, who can compute it anew. Other tools read these files as
any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.extras import import_extra

_BEGINNING = rb'{"__metadata__":{"minigrad":"{\"sha256\":\"'
START = 8 + len(_BEGINNING)  # where the digits are; the first 8 bytes are the header's length
_END = START + 64
_DTYPES = [np.dtype(kind) for kind in "?bhiqBHIQefd"]


def import_safetensors(caller: str) -> Any:
    """The package safetensors, which is an extra, with its module `numpy`."""
    import_extra(caller, "safetensors.numpy")
    return import_extra(caller, "safetensors")


def seal(caller: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytearray:
    """The bytes of a file with arrays and meta.

    Raises:
        ImportError: the safetensors package is not installed.
        ValueError: arrays or meta hold something that cannot be kept.
    """
    safetensors = import_safetensors(caller)
    everything = {"sha256": "0" * 64, "meta": dict(meta)}
    try:
        text = json.dumps(everything, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{caller}: meta expects what JSON can hold: {error}") from error
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in _DTYPES or name == "__metadata__":
            raise ValueError(
                f"{caller}: arrays expects bools, integers, or floats of 16, 32 or 64 bits, "
                f"under a name that is not '__metadata__', got {array.dtype} under '{name}'"
            )
    # The library would take the memory of others as it lies there.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = bytearray(safetensors.numpy.save(contiguous, {"minigrad": text}))
    data[START:_END] = _digest(data)
    return data


def is_sealed(data: bytes) -> bool:
    """Whether bytes begin as a sealed file does; START of them are enough."""
    return data[8:START] == _BEGINNING


def unseal(caller: str, data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the meta in the bytes of a file.

    Raises:
        ImportError: the safetensors package is not installed.
        ValueError: the file is not as `seal` made it; the message says only why.
    """
    safetensors = import_safetensors(caller)
    if not is_sealed(data):
        raise ValueError("it is not of minigrad, or its beginning is damaged")
    if _digest(data) != data[START:_END]:
        raise ValueError("its contents do not fit its SHA-256")
    # What follows can go wrong only where somebody has computed a digest for another table.
    try:
        header = data[8 : 8 + int.from_bytes(data[:8], "little")]
        metadata = json.loads(header, object_pairs_hook=_unique)["__metadata__"]
        meta = json.loads(metadata["minigrad"])["meta"]
        return safetensors.numpy.load(data), dict(meta)
    except (
        safetensors.SafetensorError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(f"this version of minigrad cannot read it: {error!r}") from error


def _digest(data: bytes | bytearray) -> bytes:
    """The SHA-256 of a file, as text, with zeros in its place."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:START])
    digest.update(b"0" * 64)
    digest.update(view[_END:])
    return digest.hexdigest().encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return names
