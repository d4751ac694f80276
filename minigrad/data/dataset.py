"""Which data set to train on: MNIST where it can be had, else the embedded digits."""

from dataclasses import dataclass
from os import PathLike
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .digits import digits
from .mnist import DownloadError, mnist


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to learn from and images to test with.

    Attributes:
        name: "mnist" or "digits"; belongs beside every accuracy that is printed.
        train_images: (N, 28, 28, 1), float32 in [0, 1].
        train_labels: (N,), int64.
        test_images: As ``train_images``.
        test_labels: As ``train_labels``.
        note: One line to print before training: which data these are and, where MNIST was wanted
            but could not be had, why, and how to get it.
    """

    name: str
    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    note: str


def load(
    name: Literal["auto", "mnist", "digits"] = "auto",
    data_dir: str | PathLike[str] | None = None,
) -> Dataset:
    """MNIST, the embedded digits, or ("auto") MNIST if it is there or can be downloaded.

    Only where MNIST cannot be had does "auto" turn to the digits, and ``note`` says so. A file
    that is there but damaged is an error.

    Args:
        name: "auto", "mnist" or "digits".
        data_dir: The folder of MNIST's files; see ``mnist``.

    Raises:
        ValueError: Another name, or what ``mnist`` raises it for.
        DownloadError: ``name`` is "mnist", and it cannot be had.
    """
    if name not in ("auto", "mnist", "digits"):
        raise ValueError(f'load: name expects "auto", "mnist" or "digits", got {name!r}')
    if name == "digits":
        return _load_digits()
    try:
        return _load_mnist(data_dir)
    except DownloadError as error:
        if name == "mnist":
            raise
        return _load_digits(f", because MNIST cannot be had: {error}")


def _load_mnist(data_dir: str | PathLike[str] | None) -> Dataset:
    note = "Data: MNIST (60,000 images to train on, 10,000 to test with)"
    return Dataset("mnist", *mnist("train", data_dir), *mnist("test", data_dir), note)


def _load_digits(reason: str = "") -> Dataset:
    note = f"Data: the embedded UCI digits (1,437 images to train on, 360 to test with){reason}"
    return Dataset("digits", *digits("train"), *digits("test"), note)
