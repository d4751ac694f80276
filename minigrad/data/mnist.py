"""MNIST: 70,000 handwritten digits of 28x28 pixels.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86(11), 1998.
"""

import os
import sys
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .idx import parse_idx, read_idx

Split = Literal["train", "test"]

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
"""Tried in this order. The original site, yann.lecun.com, has refused downloads since 2024."""


class DownloadError(OSError):
    """MNIST is not on this machine and cannot be fetched."""


class _File(NamedTuple):
    name: str
    sha256: str  # of the uncompressed file: compressing again gives other bytes


FILES = {
    "train": (
        _File(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _File(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ),
    "test": (
        _File(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _File(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}
_MAX_BYTES = 1 << 26  # the largest file is 47 MB, 10 MB compressed


def mnist(
    split: Split, data_dir: str | PathLike[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One part of MNIST, from its folder; what the folder lacks is downloaded into it (12 MB).

    The folder is ``data_dir``, else the environment variable ``MINIGRAD_DATA``, else the user's
    cache. The files may be compressed (``train-images-idx3-ubyte.gz``) or not. Their SHA-256 is
    checked every time. A file that fails is deleted from the cache, never from a folder of yours.

    Args:
        split: "train", 60,000 images, or "test", 10,000.
        data_dir: The folder that holds, or shall hold, MNIST's four files.

    Returns:
        Images (N, 28, 28, 1), float32 in [0, 1], and labels (N,), int64.

    Raises:
        ValueError: A file is damaged or is not MNIST's, or ``data_dir`` is no folder.
        DownloadError: A file is not there and cannot be downloaded.
    """
    if split not in FILES:
        raise ValueError(f'mnist: split expects "train" or "test", got {split!r}')
    folder, is_cache = _choose_folder(data_dir)
    images, labels = (_load(file, folder, is_cache) for file in FILES[split])
    return np.divide(images[..., np.newaxis], 255, dtype=np.float32), labels.astype(np.int64)


def cache_dir() -> Path:
    """Where MNIST is kept when nobody says where: the place for caches of the platform."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():  # the XDG specification has relative ones ignored
            base = Path.home() / ".cache"
    return base / "minigrad" / "mnist"


def mnist_folder(data_dir: str | PathLike[str] | None = None) -> Path:
    """The folder that ``mnist`` takes MNIST from, and downloads it into.

    Raises:
        ValueError: It was named and does not exist.
        DownloadError: It was not named, and the user has no cache.
    """
    return _choose_folder(data_dir)[0]


def _choose_folder(data_dir: str | PathLike[str] | None) -> tuple[Path, bool]:
    """The folder of MNIST's files, and whether it is the cache."""
    named = data_dir or os.environ.get("MINIGRAD_DATA")
    if not named:
        try:
            return cache_dir(), True
        except RuntimeError as error:  # a user without a home, as in some containers
            raise DownloadError(
                f"mnist: expects a folder to keep MNIST in, found none ({error}); "
                "name one with data_dir= or MINIGRAD_DATA"
            ) from error
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"mnist: data_dir= or MINIGRAD_DATA expects a folder that exists, got {folder}; "
            "make it, and MNIST is downloaded into it"
        )
    return folder, False


def _load(file: _File, folder: Path, is_cache: bool) -> NDArray[Any]:
    for path in (folder / file.name, folder / f"{file.name}.gz"):
        if path.exists():
            return _read(path, file, is_cache)
    return _download(file, folder)


def _read(path: Path, file: _File, is_cache: bool) -> NDArray[Any]:
    try:
        return read_idx(path, max_bytes=_MAX_BYTES, sha256=file.sha256)
    except ValueError as error:
        advice = f"replace it with MNIST's, for example from {MIRRORS[0]}{file.name}.gz"
        if is_cache and path.is_file():
            path.unlink(missing_ok=True)
            advice = "it was deleted from the cache, so that the next call downloads it again"
        raise ValueError(f"mnist: {error}; {advice}") from error


def _download(file: _File, folder: Path) -> NDArray[Any]:
    from .download import download  # 20 ms of urllib, which few runs need

    faults = []
    for mirror in MIRRORS:
        url = f"{mirror}{file.name}.gz"
        check = partial(parse_idx, name="the answer", max_bytes=_MAX_BYTES, sha256=file.sha256)
        try:
            return download(url, folder / f"{file.name}.gz", check, max_bytes=_MAX_BYTES)
        except (OSError, ValueError) as error:
            faults.append(f"{url}: {error}")
    names = ", ".join(f"{file.name}.gz" for files in FILES.values() for file in files)
    raise DownloadError(
        f"mnist: {file.name}.gz is not in {folder} and cannot be downloaded "
        f"({'; '.join(faults)}); put MNIST's files ({names}) there by hand, "
        "or name the folder that has them by data_dir= or MINIGRAD_DATA"
    )
