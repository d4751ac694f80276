"""One file from the net, either whole and checked or not there at all."""

import threading
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from http.client import HTTPException
from io import BufferedIOBase
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError

TIMEOUT = 10.0
"""Seconds for a server to answer, and then for each piece of the file to come."""

_CHUNK = 1 << 16

T = TypeVar("T")


def download(url: str, path: Path, check: Callable[[BufferedIOBase], T], *, max_bytes: int) -> T:
    """Fetch ``url`` into ``path`` if ``check`` accepts it, and return what ``check`` returns.

    The file is written under a name of its own in the same folder, checked there, and renamed:
    ``path`` is never partly written, and processes that fetch it at once do not meet. Whatever
    goes wrong, KeyboardInterrupt included, leaves nothing behind. Certificates are verified.

    Args:
        url: Where the file is.
        path: Where it goes; the folder is made if it is not there.
        check: Reads the open file and raises if it is not the right one.
        max_bytes: The most bytes to accept.

    Raises:
        OSError: The file cannot be fetched or written.
        ValueError: The server sends more than ``max_bytes``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("x+b") as file:
            _fetch(url, file, max_bytes)
            result = check(file)
        part.replace(path)
        return result
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, file: BufferedIOBase, max_bytes: int) -> None:
    try:
        with _connect(url) as response:
            while chunk := response.read(_CHUNK):
                if file.tell() + len(chunk) > max_bytes:
                    raise ValueError(f"download: {url} may send {max_bytes} bytes, sends more")
                file.write(chunk)
    except HTTPException as error:
        raise OSError(f"download: {url} does not answer in HTTP ({error!r})") from error


def _connect(url: str) -> BufferedIOBase:
    """``urlopen``, in ``TIMEOUT`` seconds as a whole.

    Its own limit holds for each address of a server, of which there may be twenty, and not for
    looking up the name: behind a firewall that drops packets it would wait for minutes. So it
    runs in a thread that is left to itself when the time is over.
    """
    answer: Future[BufferedIOBase] = Future()

    def connect() -> None:
        try:
            answer.set_result(urllib.request.urlopen(url, timeout=TIMEOUT))
        except BaseException as error:  # whatever it is, it belongs to the thread that waits
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        wait([answer], TIMEOUT)
        if not answer.done():
            raise TimeoutError(f"no answer within {TIMEOUT:g} seconds")
    except BaseException:  # KeyboardInterrupt too: nobody wants the answer any more
        answer.add_done_callback(_close)
        raise
    return answer.result()


def _close(answer: Future[BufferedIOBase]) -> None:
    if answer.exception() is None:
        answer.result().close()
