"""Data to train on, as NumPy arrays: images (N, H, W, C) in [0, 1] and integer labels (N,)."""

from .augment import affine_warp, compose, random_affine, random_rotation, random_shift
from .dataset import Dataset, load
from .digits import digits
from .handwriting import DrawnDigit, read_digit
from .idx import read_idx
from .loader import DataLoader, Transform
from .mnist import DownloadError, cache_dir, mnist, mnist_folder

__all__ = [
    "DataLoader",
    "Dataset",
    "DownloadError",
    "DrawnDigit",
    "Transform",
    "affine_warp",
    "cache_dir",
    "compose",
    "digits",
    "load",
    "mnist",
    "mnist_folder",
    "random_affine",
    "random_rotation",
    "random_shift",
    "read_digit",
    "read_idx",
]
