"""Files that appear whole or not at all, and locks that a killed process does not leave behind."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from pathlib import Path
from typing import IO, Any

_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.tmp")


def write_atomically(
    path: str | os.PathLike[str], data: bytes | bytearray, *, previous: Path | None = None
) -> None:
    """Write a file that is whole at any moment: the old one, then the new one.

    The bytes go to a temporary file in the same folder, from there to the disk, and only then does
    the file take its name; at last the folder goes to the disk, so that a power cut, too, finds one
    of the two. After an error, or Ctrl-C, the temporary file is gone.

    Args:
        path: the file; a symbolic link stays a link, and what it points to is written.
        data: its contents.
        previous: the name, on the same disk, that the file which is there now gets. If nothing
            has the name `path` for a moment, that file is the good one.

    Raises:
        OSError: it cannot be written (a full disk, a folder that may not be written to).
    """
    target = Path(path).resolve()
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None:
            target.replace(previous)
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        advice = "what was there before is kept, make room or choose another folder"
        if not target.parent.is_dir():
            advice = "make the folder, or choose another one"
        raise in_words(
            error, f"cannot write {os.fspath(path)}: {error.strerror}; {advice}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what `write_atomically` left in a folder when it was killed; lock the folder first."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def lock(file: IO[Any]) -> bool:
    """Lock an open file for this process until it is closed; False if it is locked already.

    The system opens the lock when the process ends, however it ends.
    """
    try:
        _lock(file)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):  # the last two: Windows
            return False
        raise
    return True


def in_words(error: OSError, sentence: str) -> OSError:
    """An error of the same type and number that says the sentence."""
    told = type(error)(sentence)
    told.errno = error.errno
    return told


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any]) -> None:
        file.seek(1 << 20)  # far behind the contents, which others can read then
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _flush_folder(folder: Path) -> None:
        """Windows has no such thing; its file system keeps a journal of names."""
else:
    import fcntl

    def _lock(file: IO[Any]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _flush_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some file systems over a network cannot
                raise
        finally:
            os.close(descriptor)
