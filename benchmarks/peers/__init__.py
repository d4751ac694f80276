"""The frameworks that are compared, each in a file of its own, with one way to ask them.

A side is a framework in one configuration, named as `minigrad`, `torch NHWC` or `torch-compile
NCHW`. Frameworks are imported in the worker processes only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Work = Callable[[], object]

SIDES = {
    "minigrad": ("minigrad",),
    "torch": ("torch NCHW", "torch NHWC"),
    "torch-compile": ("torch-compile NCHW", "torch-compile NHWC"),
    "jax": ("jax",),
    "tinygrad": ("tinygrad",),
}


class Learner(Protocol):
    """A network in training."""

    def step(self, images: NDArray[Any], labels: NDArray[Any], lr: float) -> None:
        """SGD with momentum 0.9 and Nesterov's look ahead, on images (N, H, W, C)."""

    def predict(self, images: NDArray[Any]) -> NDArray[Any]:
        """The class of each image."""


class Peer(Protocol):
    """What a framework is asked. Networks are texts, images are (H, W, C) shapes.

    Each method but the first prepares some work and returns it as a function to be timed; when that
    returns, the work is done.
    """

    def evaluate(
        self, network: str, image: tuple[int, ...], batch: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The output, and in minigrad's layout the gradients of its squares' sum."""

    def forward(
        self, network: str, image: tuple[int, ...], batch: int, training: bool = False
    ) -> Work:
        """The network without recording; `training` says how batch norm and dropout behave."""

    def backward(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """All gradients, that of the image included, from a recorded forward pass."""

    def train_step(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """Forward, cross-entropy, backward, SGD with momentum."""

    def learner(self, network: str, image: tuple[int, ...]) -> Learner:
        """A network to be trained step by step."""

    def chain(self, op: str, length: int, size: int) -> Work:
        """An op ("add", "mul", "relu") so many times in a row on `size` floats, and backward."""


def load(side: str, threads: int) -> Peer:
    """Import a framework and configure it."""
    family, _, layout = side.partition(" ")
    framework = family.removesuffix("-compile")
    module: Any = importlib.import_module(f"benchmarks.peers.{framework}")
    if framework == "torch":
        return cast(Peer, module.Torch(threads, layout, compiled=family.endswith("compile")))
    return cast(Peer, module.PEER(threads))


def missing(family: str) -> str:
    """Why a family of sides cannot be measured here, or ""."""
    if importlib.util.find_spec(family.removesuffix("-compile")) is None:
        return f"{family} (not installed)"
    if family == "torch-compile" and shutil.which(os.environ.get("CXX", "g++")) is None:
        return f"{family} (no C++ compiler)"
    return ""


def versions(families: Sequence[str]) -> dict[str, str]:
    """The versions of these frameworks and of NumPy."""
    names = ["numpy", *(family.removesuffix("-compile") for family in families)]
    return {name: importlib.metadata.version(name) for name in names}


def use_cpus(threads: int) -> None:
    """Keep this process on so many CPUs, for frameworks that have no setting for threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
