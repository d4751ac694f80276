"""What went wrong, as a sentence: minigrad's own errors are ones, others are made into one."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

import minigrad

# What the library raises on purpose, with a sentence; others are mistakes, ours or the user's.
TOLD = (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError)


class UsageError(Exception):
    """The command line asks for what cannot be meant; the text says what to write instead."""


def sentence(error: BaseException) -> str:
    """What to tell the user, beginning with the line of the user's own code that it came from."""
    place = users_line(error)
    text = _text(error)
    if place is not None:
        return f"{place}: {text}"
    if not isinstance(error, TOLD):
        return f"{text} (unexpected; --debug shows where)"
    return text


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, TOLD) and str(error):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{text}. {notes}" if notes else text


def say(line: str) -> None:
    """Tell the user something that is not the result."""
    sys.stdout.flush()  # what was printed before stands above
    print(line, file=sys.stderr, flush=True)


def users_line(error: BaseException) -> str | None:
    """Where in the user's own code an error came from, "net.py, line 7"; None if in none of it."""
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
        return f"{_shown(error.filename)}, line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    if not frames:
        return None
    return f"{_shown(frames[-1].filename)}, line {frames[-1].lineno}"


def _is_users(file: str) -> bool:
    """Whether it is neither Python's nor minigrad's nor an installed library."""
    compiled = Path(file).parts[:1] in (("minigrad",), ("minigrad_ext",))  # from the checkout
    if compiled or file.startswith("<"):  # <frozen importlib._bootstrap>
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _FOREIGN)


_FOREIGN = [
    *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")),
    *(Path(minigrad.__file__).resolve().parent.with_name(f"minigrad{end}") for end in ("", "_ext")),
]


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
