import gzip
import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from minigrad.data import DownloadError, cache_dir, mnist

mnist_module = importlib.import_module("minigrad.data.mnist")

TRAIN_IMAGES = "train-images-idx3-ubyte"
REAL = os.environ.get("MINIGRAD_DATA")  # read here, before the tests take it away


def check_small(small_mnist, data_dir=None):
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = mnist(split, data_dir)
        expected = small_mnist[f"{prefix}-images-idx3-ubyte"]
        assert images.shape == (*expected.shape, 1)
        assert images.dtype == np.float32
        # Dividing in float64 and rounding once is what float32 division gives.
        np.testing.assert_array_equal(images[..., 0], (expected / 255.0).astype(np.float32))
        np.testing.assert_array_equal(labels, small_mnist[f"{prefix}-labels-idx1-ubyte"])
        assert labels.dtype == np.int64


def spoil(path: Path) -> bytes:
    """Change one pixel: a sound IDX file still, but not MNIST's."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    return path.read_bytes()


class TestFolder:
    def test_data_dir(self, small_mnist, mnist_dir):
        check_small(small_mnist, mnist_dir)
        check_small(small_mnist, str(mnist_dir))

    def test_environment_variable(self, small_mnist, mnist_dir, monkeypatch):
        monkeypatch.setenv("MINIGRAD_DATA", str(mnist_dir))
        check_small(small_mnist)

    def test_data_dir_goes_before_the_environment_variable(
        self, small_mnist, mnist_dir, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path / "nowhere"))
        check_small(small_mnist, mnist_dir)

    def test_cache(self, small_mnist, mnist_dir, cache, monkeypatch):
        cache.parent.mkdir(parents=True)
        mnist_dir.rename(cache)
        monkeypatch.setenv("MINIGRAD_DATA", "")
        check_small(small_mnist)

    def test_home_is_understood(self, small_mnist, mnist_dir, monkeypatch):
        monkeypatch.setenv("HOME", str(mnist_dir.parent))
        monkeypatch.setenv("USERPROFILE", str(mnist_dir.parent))
        check_small(small_mnist, f"~/{mnist_dir.name}")

    def test_uncompressed_files(self, small_mnist, mnist_dir):
        for path in list(mnist_dir.iterdir()):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
        check_small(small_mnist, mnist_dir)

    def test_must_exist(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"MINIGRAD_DATA expects a folder that exists, got .*typo"
        ):
            mnist("train", tmp_path / "typo")
        assert not (tmp_path / "typo").exists()

    @pytest.mark.parametrize(
        ("platform", "variable", "expected"),
        [
            ("linux", "XDG_CACHE_HOME", "{base}/minigrad/mnist"),
            ("linux", None, "{home}/.cache/minigrad/mnist"),
            ("darwin", "XDG_CACHE_HOME", "{home}/Library/Caches/minigrad/mnist"),
            ("win32", "LOCALAPPDATA", "{base}/minigrad/mnist"),
            ("win32", None, "{home}/AppData/Local/minigrad/mnist"),
        ],
    )
    def test_cache_of_each_platform(self, platform, variable, expected, tmp_path, monkeypatch):
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        if variable:
            monkeypatch.setenv(variable, str(tmp_path / "base"))
        assert cache_dir() == Path(expected.format(base=tmp_path / "base", home=tmp_path / "home"))

    def test_a_relative_cache_is_ignored(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
        assert cache_dir() == tmp_path / ".cache" / "minigrad" / "mnist"

    def test_without_a_home(self, monkeypatch):
        def home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", home)
        with pytest.raises(
            DownloadError, match=r"folder to keep MNIST in, found none .* MINIGRAD_DATA"
        ):
            mnist("train")


class TestDamagedFile:
    def test_in_a_folder_of_the_user_is_named_and_kept(self, mnist_dir, mirrors):
        path = mnist_dir / f"{TRAIN_IMAGES}.gz"
        content = spoil(path)
        with pytest.raises(ValueError, match=rf"mnist: .*{path.name} .*SHA-256 .* replace it"):
            mnist("train", mnist_dir)
        assert path.read_bytes() == content
        assert mirrors.requests == []

    def test_in_the_folder_of_the_environment_variable_too(self, mnist_dir, monkeypatch):
        monkeypatch.setenv("MINIGRAD_DATA", str(mnist_dir))
        path = mnist_dir / "t10k-labels-idx1-ubyte.gz"
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz expects a magic number"):
            mnist("test")
        assert path.exists()

    @pytest.mark.usefixtures("mirrors")
    @pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzip"])
    def test_in_the_cache_is_deleted_and_then_fetched_again(self, small_mnist, cache, suffix):
        cache.mkdir(parents=True)
        path = cache / f"{TRAIN_IMAGES}{suffix}"
        path.write_bytes(b"damaged")
        with pytest.raises(ValueError, match=rf"{path.name} .*not an IDX file; it was deleted"):
            mnist("train")
        assert list(cache.iterdir()) == []
        check_small(small_mnist)

    def test_a_directory_in_its_place(self, cache):
        path = cache / TRAIN_IMAGES
        path.mkdir(parents=True)
        with pytest.raises(ValueError, match=rf"{path.name} expects a regular file.* replace it"):
            mnist("train")
        assert path.is_dir()


class TestDownload:
    def test_from_the_second_mirror_into_the_cache_once(self, small_mnist, cache, mirrors):
        check_small(small_mnist)
        assert mirrors.requests[:2] == [f"/{m}/{TRAIN_IMAGES}.gz" for m in ("first", "second")]
        assert {path.name for path in cache.iterdir()} == {f"{name}.gz" for name in small_mnist}
        mirrors.requests.clear()
        check_small(small_mnist)
        assert mirrors.requests == []

    def test_the_first_mirror_is_enough(self, small_mnist, mirrors, mnist_files):
        mirrors.answers = {f"/first/{name}": content for name, content in mnist_files.items()}
        check_small(small_mnist)
        assert all(request.startswith("/first/") for request in mirrors.requests)

    def test_only_what_the_folder_lacks(self, small_mnist, mnist_dir, cache, mirrors):
        (mnist_dir / f"{TRAIN_IMAGES}.gz").unlink()
        check_small(small_mnist, mnist_dir)
        assert len(mirrors.requests) == 2
        assert (mnist_dir / f"{TRAIN_IMAGES}.gz").exists()
        assert not cache.exists()

    @pytest.mark.parametrize(
        ("spoilt", "fault"),
        [
            (lambda _content: b"<html>log in to the network</html>", "not an IDX file"),
            (lambda content: content[:-10], "expects a whole gzip stream"),
            (lambda _content: b"", "magic number of 4 bytes, got 0"),
            (lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"x"), "SHA-256"),
        ],
        ids=["html", "truncated", "empty", "other images"],
    )
    def test_bad_content_is_not_kept_and_the_next_mirror_tried(
        self, small_mnist, mnist_files, cache, mirrors, spoilt, fault
    ):
        bad = spoilt(mnist_files[f"{TRAIN_IMAGES}.gz"])
        mirrors.answers[f"/first/{TRAIN_IMAGES}.gz"] = bad
        check_small(small_mnist)

        (cache / f"{TRAIN_IMAGES}.gz").unlink()
        mirrors.answers[f"/second/{TRAIN_IMAGES}.gz"] = bad
        with pytest.raises(DownloadError, match=rf"first/{TRAIN_IMAGES}.gz: .*{fault}"):
            mnist("train")
        assert len(list(cache.iterdir())) == 3

    def test_an_endless_answer_is_cut(self, cache, mirrors, monkeypatch):
        monkeypatch.setattr(mnist_module, "_MAX_BYTES", 1000)
        mirrors.answers = {f"/second/{TRAIN_IMAGES}.gz": bytes(1001)}
        with pytest.raises(DownloadError, match=r"second/.* may send 1000 bytes, sends more"):
            mnist("train")
        assert list(cache.iterdir()) == []

    def test_the_error_tells_what_was_tried_and_what_to_do(self, cache):
        with pytest.raises(DownloadError) as caught:
            mnist("train")
        message = str(caught.value)
        for part in (
            f"http://127.0.0.1:9/a/{TRAIN_IMAGES}.gz: ",
            f"http://127.0.0.1:9/b/{TRAIN_IMAGES}.gz: ",
            f"is not in {cache} and cannot be downloaded",
            "t10k-labels-idx1-ubyte.gz) there by hand",
            "data_dir= or MINIGRAD_DATA",
        ):
            assert part in message
        assert list(cache.iterdir()) == []

    @pytest.mark.usefixtures("mirrors")
    def test_a_folder_that_cannot_be_written(self, cache):
        cache.parent.parent.write_bytes(b"a file where the cache should be")
        with pytest.raises(DownloadError, match="cannot be downloaded"):
            mnist("train")


def test_split_is_train_or_test():
    with pytest.raises(ValueError, match='mnist: split expects "train" or "test", got \'valid\''):
        mnist("valid")


@pytest.mark.skipif(not REAL, reason="MINIGRAD_DATA names no folder with MNIST")
def test_the_real_mnist():
    images, labels = mnist("train", REAL)
    assert images.shape == (60000, 28, 28, 1)
    # The mean and deviation that every tutorial normalises with, and the first labels.
    assert images.mean() == pytest.approx(0.1307, abs=5e-5)
    assert images.std() == pytest.approx(0.3081, abs=5e-5)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]

    images, labels = mnist("test", REAL)
    assert images.shape == (10000, 28, 28, 1)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as the literature has them
    assert np.bincount(labels).tolist() == counts
