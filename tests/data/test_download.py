import importlib
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.request
from types import SimpleNamespace

import pytest

from minigrad.data.download import download

download_module = importlib.import_module("minigrad.data.download")


def read_all(file):
    return file.read() if file.seek(0) == 0 else None


def test_the_checked_file_is_there_and_nothing_else(server, tmp_path):
    server.answers["/x"] = b"content" * 100_000
    path = tmp_path / "new" / "folder" / "x"
    assert download(f"{server.url}x", path, read_all, max_bytes=700_000) == b"content" * 100_000
    assert path.read_bytes() == b"content" * 100_000
    assert list(path.parent.iterdir()) == [path]


def refuse(_file):
    raise ValueError("not the right one")


def hang_up(handler):
    """Half of what is announced."""
    handler.send_response(200)
    handler.send_header("Content-Length", "2000")
    handler.end_headers()
    handler.wfile.write(bytes(1000))


def mumble(handler):
    handler.wfile.write(b"I do not speak HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "check", "error", "match"),
    [
        (None, read_all, OSError, "404"),
        (b"content", refuse, ValueError, "not the right one"),
        (b"x" * 2001, read_all, ValueError, r"x may send 2000 bytes, sends more"),
        (mumble, read_all, OSError, "does not answer in HTTP .*I do not speak"),
    ],
    ids=["404", "wrong content", "too long", "not HTTP"],
)
def test_a_failure_leaves_nothing_behind(server, tmp_path, answer, check, error, match):
    server.answers["/x"] = answer
    with pytest.raises(error, match=match):
        download(f"{server.url}x", tmp_path / "new" / "x", check, max_bytes=2000)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_failure_leaves_the_old_file(server, tmp_path):
    server.answers["/x"] = hang_up
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="not the right one"):
        download(f"{server.url}x", path, refuse, max_bytes=2000)
    assert path.read_bytes() == b"old"


def test_the_check_sees_a_cut_answer_before_the_name_exists(server, tmp_path):
    server.answers["/x"] = hang_up
    path = tmp_path / "x"

    def check(file):
        assert not path.exists()
        assert len(read_all(file)) == 1000

    download(f"{server.url}x", path, check, max_bytes=2000)
    assert path.stat().st_size == 1000


@pytest.fixture
def _sigint():
    """SIGINT raises KeyboardInterrupt, even in a process started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends itself a POSIX signal")
@pytest.mark.parametrize("sent", [0, 100_000], ids=["while connecting", "in the middle"])
def test_an_interrupt_leaves_nothing_behind(server, tmp_path, sent):
    parts, released = [], threading.Event()

    def answer(handler):
        if sent:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(bytes(sent))
        parts.extend(tmp_path.iterdir())
        while sent and parts[0].stat().st_size == 0:
            released.wait(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        released.wait(10)

    server.answers["/x"] = answer
    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}x", tmp_path / "x", read_all, max_bytes=200_000)
    released.set()
    assert [part.suffix for part in parts] == [".part"]
    assert list(tmp_path.iterdir()) == []


def test_downloads_at_once_do_not_meet(server, tmp_path):
    together = threading.Barrier(4, timeout=10)

    def answer(handler):
        together.wait()  # every one of the four is under way
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10):
            handler.wfile.write(b"content" * 1000)

    server.answers["/x"] = answer
    results = []

    def run():
        results.append(download(f"{server.url}x", tmp_path / "x", read_all, max_bytes=70_000))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"content" * 10_000] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_connecting_is_limited_as_a_whole(tmp_path, monkeypatch):
    """As when looking up a name takes minutes, which urlopen's own timeout does not cover."""
    released, closed = threading.Event(), threading.Event()

    late = SimpleNamespace(close=closed.set)

    def urlopen(_url, **_options):
        released.wait(10)
        return late

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(download_module, "TIMEOUT", 0.05)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 seconds"):
        download("http://127.0.0.1/x", tmp_path / "x", read_all, max_bytes=2000)
    released.set()
    assert closed.wait(10), "an answer that comes too late is to be closed"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_falls_silent_is_left(server, tmp_path, monkeypatch):
    released = threading.Event()

    def answer(handler):
        hang_up(handler)
        released.wait(2)

    server.answers["/x"] = answer
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    with pytest.raises(TimeoutError):
        download(f"{server.url}x", tmp_path / "x", read_all, max_bytes=2000)
    released.set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_certificate_of_its_own_is_refused(server, tmp_path):
    pem = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(pem), "-out"]
    subprocess.run([*command.split(), *names, f"{pem}.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pem}.crt", pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers["/x"] = b"content"
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        download(
            server.url.replace("http", "https") + "x", tmp_path / "x", read_all, max_bytes=2000
        )
    assert not (tmp_path / "x").exists()
