"""What a model makes of images that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import minigrad.functional as F
from minigrad.engine import Tensor
from minigrad.modes import no_grad
from minigrad.nn import Module

BATCH = 500  # images at once: large enough for speed, small enough for memory

Loss = Callable[[Tensor, Any], Tensor]


class Evaluation(NamedTuple):
    """The mean loss of an image, and the share of images that were read right.

    The accuracy is None where labels are not integers, so that there are no classes.
    """

    loss: float
    accuracy: float | None


def predict(model: Module, images: np.ndarray) -> np.ndarray:
    """The probabilities of the classes, as the softmax of what the model returns.

    Args:
        model: (N, ...) -> (N, classes); evaluated in evaluation mode, and nothing is recorded.
        images: (N, ...), any number of them.

    Returns:
        (N, classes), of the model's dtype; `.argmax(axis=1)` gives the most likely classes.

    Raises:
        ValueError: there are no images.
    """
    _check("predict", images)
    with evaluating(model), no_grad():
        scores = np.concatenate([model(Tensor(images[part])).data for part in _parts(images)])
    probabilities: np.ndarray = F.softmax(scores, axis=1)
    return probabilities


def evaluate(
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    loss: Loss = F.cross_entropy,
    after_batch: Callable[[int], object] = lambda _: None,
) -> Evaluation:
    """Loss and accuracy on images with known labels.

    Args:
        model: evaluated in evaluation mode, and nothing is recorded.
        images: (N, ...).
        labels: (N,) integers; or what `loss` compares with, of length N.
        loss: the mean loss of a batch: `loss(outputs, labels)`.
        after_batch: called with the number of images of each batch, once it is done.

    Raises:
        ValueError: there are no images, or another number of labels.
    """
    _check("evaluate", images, labels)
    total, right = 0.0, 0
    classes = np.asarray(labels).dtype.kind in "iu"
    with evaluating(model), no_grad():
        for part in _parts(images):
            batch, outputs = labels[part], model(Tensor(images[part]))
            total += loss(outputs, batch).item() * len(batch)
            if classes:
                right += int(np.sum(outputs.data.argmax(axis=1) == batch))
            after_batch(len(batch))
    return Evaluation(total / len(images), right / len(images) if classes else None)


def _parts(images: np.ndarray) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, len(images), BATCH))


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode inside a `with` block; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check(caller: str, images: np.ndarray, labels: np.ndarray | None = None) -> None:
    if not len(images):
        raise ValueError(f"{caller}: images expects at least one image, got none")
    if labels is not None and len(labels) != len(images):
        raise ValueError(
            f"{caller}: labels expects one for each of {len(images)} images, got {len(labels)}"
        )
