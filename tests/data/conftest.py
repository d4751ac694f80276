"""IDX files written by hand, a small MNIST, a web server on this machine; no way to the net."""

import gzip
import hashlib
import importlib
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

# By name, because in the package `mnist` is the function.
mnist_module = importlib.import_module("minigrad.data.mnist")


def to_idx(array: np.ndarray) -> bytes:
    """An IDX file, written independently of the reader."""
    kinds = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    kind = kinds[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    return to_idx


class Server(ThreadingHTTPServer):
    """Answers each path by ``answers[path]``: a body, or a function that is given the handler."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        elif callable(answer):
            answer(self)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Keep silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty; and mirrors that nobody answers."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(mnist_module, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    return tmp_path / "cache" / "minigrad" / "mnist"


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """MNIST with 5 and 3 images: the arrays by file name, their checksums in place of the real."""
    rng = np.random.default_rng(0)
    arrays, files = {}, {}
    for N, (split, parts) in zip((5, 3), mnist_module.FILES.items(), strict=True):
        images = rng.integers(0, 256, (N, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, N, dtype=np.uint8)
        checked = []
        for file, array in zip(parts, (images, labels), strict=True):
            arrays[file.name] = array
            checked.append(file._replace(sha256=hashlib.sha256(to_idx(array)).hexdigest()))
        files[split] = tuple(checked)
    monkeypatch.setattr(mnist_module, "FILES", files)
    return arrays


@pytest.fixture
def mnist_files(small_mnist: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The small MNIST's files as they are distributed, by name."""
    return {f"{name}.gz": gzip.compress(to_idx(array)) for name, array in small_mnist.items()}


@pytest.fixture
def mnist_dir(tmp_path: Path, mnist_files: dict[str, bytes]) -> Path:
    """A user's folder with the small MNIST."""
    folder = tmp_path / "my data"
    folder.mkdir()
    for name, content in mnist_files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def mirrors(
    server: Server, mnist_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Server:
    """Two mirrors, /first/ without any file and /second/ with all of the small MNIST."""
    monkeypatch.setattr(mnist_module, "MIRRORS", (f"{server.url}first/", f"{server.url}second/"))
    server.answers |= {f"/second/{name}": content for name, content in mnist_files.items()}
    return server
