"""A training that takes milliseconds and draws from every kind of random generator."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import minigrad.functional as F
from minigrad import data, nn, optim, training

IMAGES, BATCH, EPOCHS = 22, 4, 3
STEPS = 6  # of an epoch; the last batch has two images


def images_and_labels(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((IMAGES, 6, 6, 1)).astype(np.float32)
    return images, rng.integers(3, size=IMAGES)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, activation="relu"),
        nn.Dropout(0.2),
        nn.Dropout(0.2, rng=np.random.default_rng(5)),
        nn.GlobalAvgPool2d(),
        nn.Linear(4, 3),
    )


def noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return images + 0.1 * rng.standard_normal(images.shape, np.float32)


def careless(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A transform that draws from the global generators, as people do."""
    return noise(images, rng) + random.random() + np.float32(np.random.uniform())  # noqa: NPY002


@dataclass
class Run:
    """What is needed for a call of `fit`, always built alike."""

    kind: Callable[..., optim.Optimizer] = optim.SGD
    options: dict[str, Any] = field(default_factory=lambda: {"lr": 0.1, "momentum": 0.9})
    batch: int = BATCH
    epochs: int = EPOCHS
    steps_before: dict[int, Callable[[], object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mg.manual_seed(1)
        random.seed(2)
        np.random.seed(3)  # noqa: NPY002
        self.model = network()
        self.images, self.labels = images_and_labels()
        self.loader = data.DataLoader(
            self.images, self.labels, self.batch, shuffle=True, seed=4, transform=careless
        )
        self.optimizer = self.kind(self.model.parameters(), **self.options)
        self.schedule = optim.OneCycleLR(
            self.optimizer, self.options["lr"], self.epochs * len(self.loader)
        )
        self.calls = 0

    def loss(self, outputs: mg.Tensor, labels: np.ndarray) -> mg.Tensor:
        """Cross-entropy; in the step of a given number something happens before."""
        if mg.is_grad_enabled():
            self.calls += 1
            self.steps_before.get(self.calls, int)()
        return F.cross_entropy(outputs, labels)

    def fit(self, **options: Any) -> training.History:
        arguments: dict[str, Any] = {
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "epochs": self.epochs,
            "loss": self.loss,
            "validation": images_and_labels(9),
        }
        return training.fit(self.model, self.loader, **{**arguments, **options})


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what is different each time."""
    measured = ("seconds", "images_per_second")
    return [{k: v for k, v in record.items() if k not in measured} for record in records]


def kept(out: Path) -> tuple[dict[str, bytes], Any]:
    """What a checkpoint holds, but for the times."""
    arrays, meta = training.read_run(out)
    loop = meta["state"]["loop"]["state"]
    loop["history"]["records"] = timeless(loop["history"]["records"])
    loop.pop("seconds")
    return {name: array.tobytes() for name, array in arrays.items()}, meta


def press(number: signal.Signals) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)
