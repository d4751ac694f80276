"""Which text runs: the engine as it was compiled, or its Python source.

The files listed here are compiled as they stand, because every op passes through them. Their source
runs instead where `MINIGRAD_INTERPRETED=1` asks for it, so that a debugger can step through, and
where one of them was edited after it was compiled. It computes the same, and takes three times as
long for a tiny op.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from typing import Any

# setup.py compiles these.
MODULES = ("arrays", "declaration", "engine", "functional.methods")

# The files of one installation are written within seconds of each other, in any order.
SAME_TIME = 10.0


class Sources:
    """Finds the source of these modules, before anybody finds what was compiled of it."""

    @staticmethod
    def find_spec(name: str, _path: Any, _target: Any = None) -> ModuleSpec | None:
        """As `sys.meta_path` asks for it."""
        package, _, module = name.partition(".")
        if package != "minigrad" or module not in MODULES:
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, f"{stem(module)}.py")


def stem(module: str) -> str:
    """The path of a module's files without what tells them apart."""
    return os.path.join(os.path.dirname(__file__), *module.split("."))  # noqa: PTH118, PTH120


def edited(module: str) -> bool:
    """Whether a module was edited after it was compiled, or never was."""
    try:
        source = os.stat(f"{stem(module)}.py").st_mtime  # noqa: PTH116
    except OSError:
        return False  # there is nothing else that could run
    try:
        compiled = os.stat(stem(module) + EXTENSION_SUFFIXES[0]).st_mtime  # noqa: PTH116
    except FileNotFoundError:
        return True
    return source > compiled + SAME_TIME


def reason() -> str | None:
    """Why the source runs; None where what was compiled of it does."""
    if os.environ.get("MINIGRAD_INTERPRETED", "0") not in ("", "0"):
        return "MINIGRAD_INTERPRETED asks for it"
    names = [module for module in MODULES if edited(module)]
    return f"not compiled as it stands: {', '.join(names)}" if names else None


why = reason()
if why:  # for all of them: a compiled module knows where the fields of another one lie
    sys.meta_path.insert(0, Sources())
