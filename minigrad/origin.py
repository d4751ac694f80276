"""Where an op was called: the line of the program, and the module that was running.

Each node notes both when it is made, for whoever wants to show them (`mg.trace`). Only references
to code are held, never a frame: a frame would keep all local variables of the program alive.
"""

from __future__ import annotations

import os
import sys
import weakref
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any

_getframe = sys._getframe


class _Ours(dict[str, bool]):
    """By file name: whether the code is the package's. Paths are compared once.

    The command line is not: it is a program that uses the package, and where its ops come from.
    """

    folder = __file__[: -len("origin.py")]
    program = f"{folder}cli{os.sep}"

    def __missing__(self, filename: str) -> bool:
        self[filename] = filename.startswith(self.folder) and not filename.startswith(self.program)
        return self[filename]


ours = _Ours()


def is_ours(function: Any) -> bool:
    """Whether a function stands in the package."""
    code = getattr(function, "__code__", None)
    return code is not None and ours[code.co_filename]


class Scope:
    """One call of a module: which module, called where, inside of which other call.

    The module is held weakly: a module that keeps a result of its own must not keep itself alive.
    """

    __slots__ = ("code", "instruction", "kind", "module", "outer")

    def __init__(self, module: Any) -> None:
        frame = _getframe(2)  # this method, `Module.__call__`, and who called it
        self.code, self.instruction = frame.f_code, frame.f_lasti
        self.module = weakref.ref(module)
        self.kind = type(module).__name__
        self.outer = scope.get()


scope: ContextVar[Scope | None] = ContextVar("scope", default=None)
program: list[CodeType | None] = [None]  # what called an op last, outside of the package
entrances: set[CodeType] = set()  # what calls `Module.forward`, where looking outwards ends


def here() -> FrameType:
    """A frame of the package, for where no program calls."""
    return _getframe()


def outward(frame: FrameType) -> FrameType:
    """From a frame of the package to the innermost one outside, for a node to note.

    Where another module's call comes first, that is the last frame before it: the scope knows who
    made that call.
    """
    while ours[frame.f_code.co_filename]:
        caller = frame.f_back
        if caller is None or caller.f_code in entrances:
            break
        frame = caller
    if not ours[frame.f_code.co_filename]:
        program[0] = frame.f_code  # any thread may write it: it is compared, no more
    return frame
