"""Packages that only a part of minigrad needs, and that an installation may lack."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(caller: str, module: str, package: str | None = None) -> Any:
    """Import a module of another package when it is needed.

    Args:
        caller: who needs it, as errors begin.
        module: its full name.
        package: what pip calls the package, if not as the module begins.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    package = package or module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{caller}: expected the package {package}, which is not installed; "
            f"run `pip install {package}`"
        ) from error
