"""Make minigrad/data/digits.npz from scikit-learn's load_digits: ``python tools/make_digits.py``.

The images are handwritten digits of the UCI Machine Learning Repository, under CC BY 4.0;
``minigrad/data/digits.py`` says whose and what is changed, and so does the file itself.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

CREDIT = (
    "E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, "
    "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). "
    "Changed: divided into a train and a test split."
)
OUTPUT = Path(__file__).parents[1] / "minigrad" / "data" / "digits.npz"


def split_digits() -> dict[str, NDArray[Any]]:
    """The arrays of the file: images (N, 8, 8) of 0..16 and labels (N,), uint8, and the credit.

    Every fifth image of each digit is for testing: the proportions of the digits are kept, and no
    random number is needed to do it again.
    """
    source = load_digits()
    images, labels = source.images.astype(np.uint8), source.target.astype(np.uint8)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::5]] = True
    return {
        "train_images": images[~is_test],
        "train_labels": labels[~is_test],
        "test_images": images[is_test],
        "test_labels": labels[is_test],
        "credit": np.array(CREDIT),
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Make digits.npz from scikit-learn's digits.")
    parser.add_argument("output", nargs="?", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    np.savez_compressed(output, **split_digits())
    print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
