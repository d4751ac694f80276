"""Weights in files, as safetensors: a plain table of arrays that cannot run code when opened."""

from __future__ import annotations

import os
from pathlib import Path

from minigrad.files import write_atomically
from minigrad.nn.module import Module
from minigrad.nn.state import IncompatibleKeys
from minigrad.sealing import import_safetensors, is_sealed, seal, unseal


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write the module's parameters and buffers to a safetensors file.

    The file appears whole or not at all, so an interrupted save leaves an earlier file as it was.
    It holds a SHA-256 of its contents, which `load` compares and other tools pass over.

    Raises:
        ImportError: the safetensors package is not installed.
        OSError: the file cannot be written.
    """
    write_atomically(path, seal("save", module.state_dict(), {}))


def load(module: Module, path: str | os.PathLike[str], *, strict: bool = True) -> IncompatibleKeys:
    """Read a safetensors file into the module; see `Module.load_state_dict` for `strict`.

    Files that `save` wrote are checked; those of other tools have nothing to check them by.

    Raises:
        ImportError: the safetensors package is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not fit the module. Nothing was changed.
    """
    safetensors = import_safetensors("load")
    data = Path(path).read_bytes()
    try:
        state = unseal("load", data)[0] if is_sealed(data) else safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # KeyError: BF16, FP8
        raise ValueError(
            f"load: {os.fspath(path)} is damaged, or not a safetensors file of NumPy's dtypes "
            f"({error!r}); nothing was loaded, save it again"
        ) from error
    return module.load_state_dict(state, strict=strict)
