"""The digits that come with the package: 1,797 real handwritten ones, so that all works offline.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/); the test part of it, as scikit-learn's
``load_digits`` gives it. Changed here: divided into a train and a test split, and enlarged when
it is loaded. ``tools/make_digits.py`` makes ``digits.npz``.
"""

from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_SIZE = 28  # MNIST's, so that the same networks take both


def digits(split: Literal["train", "test"]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One part of the embedded digits, enlarged from 8x8 to 28x28 pixels, the size of MNIST's.

    The division is fixed in the file, the ten digits in the same proportions on both sides. The
    same 13 people wrote both sides, so a test accuracy says nothing about other people's hands.

    Args:
        split: "train", 1,437 images, or "test", 360.

    Returns:
        Images (N, 28, 28, 1), float32 in [0, 1], and labels (N,), int64.

    Raises:
        ValueError: ``split`` is neither.
    """
    if split not in ("train", "test"):
        raise ValueError(f'digits: split expects "train" or "test", got {split!r}')
    path = resources.files(__package__) / "digits.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    return enlarge(images / np.float32(16), _SIZE)[..., np.newaxis], labels.astype(np.int64)


def enlarge(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Square images (N, H, H) to (N, size, size), bilinear: one matrix for rows and columns."""
    weights = _bilinear_matrix(size, images.shape[1])
    enlarged: NDArray[np.float32] = np.matmul(weights @ images, weights.T)
    return enlarged


def _bilinear_matrix(rows: int, columns: int) -> NDArray[np.float32]:
    """Matrix (rows, columns) that resamples a line of ``columns`` pixels to ``rows``.

    Pixels are areas: their centres lie at half-integers, and beyond the outer centres the line is
    continued as it ends (``align_corners=False`` in PyTorch).
    """
    centre = (np.arange(rows) + 0.5) * (columns / rows) - 0.5
    distance = np.abs(centre.clip(0, columns - 1)[:, np.newaxis] - np.arange(columns))
    return (1 - distance).clip(0).astype(np.float32)
