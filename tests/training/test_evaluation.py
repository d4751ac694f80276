"""Evaluation: against numbers worked out by hand and a twin in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn, training
from minigrad.training import evaluation


class Scores(nn.Module):
    """Its images are the scores of the classes; in training it would be wrong."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.batches.append(len(x.data))
        assert not mg.is_grad_enabled()
        return -x if self.training else x


def test_loss_and_accuracy_by_hand() -> None:
    images = np.log(np.array([[1, 3], [3, 1], [1, 1]], np.float32))
    found = training.evaluate(Scores(), images, np.array([1, 1, 0]))
    assert found.accuracy == 2 / 3  # of equal scores the first is taken
    by_hand = -(math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 2)) / 3
    assert found.loss == pytest.approx(by_hand, rel=1e-6)  # float32


def test_probabilities_are_those_of_a_softmax() -> None:
    images = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    powers = np.exp(images.astype(np.float64))
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert np.allclose(training.predict(Scores(), images), expected, rtol=1e-6)


def test_many_images_go_in_batches_and_the_last_one_counts_by_its_size() -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2 * evaluation.BATCH + 7, 4)).astype(np.float32)
    labels, model, done = rng.integers(4, size=len(images)), Scores(), []
    found = training.evaluate(model, images, labels, after_batch=done.append)
    assert model.batches == done == [500, 500, 7]
    scores = images.astype(np.float64)
    chosen = scores[np.arange(len(scores)), labels]
    expected = (np.log(np.exp(scores).sum(axis=1)) - chosen).mean()
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert found.accuracy == (scores.argmax(axis=1) == labels).mean()
    assert training.predict(model, images).shape == images.shape


def test_other_losses_and_targets_that_are_no_classes() -> None:
    images = np.array([[1.0], [3.0]], np.float32)
    found = training.evaluate(Scores(), images, np.array([[0.0], [0.0]]), loss=F.mse_loss)
    assert found == (5.0, None)


def test_modes_are_put_back_whatever_happens() -> None:
    model = nn.Sequential(Scores(), Scores(), nn.Dropout(0.5))
    model[1].eval()
    before = [module.training for module in model.modules()]
    images = np.zeros((3, 2), np.float32)
    training.predict(model, images)
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ValueError, match="cross_entropy"):
        training.evaluate(model, images, np.array([0, 1, 2]))
    assert [module.training for module in model.modules()] == before
    assert mg.is_grad_enabled()


def test_nothing_to_evaluate_is_refused() -> None:
    none = np.zeros((0, 2), np.float32)
    with pytest.raises(ValueError, match="predict: images expects at least one image"):
        training.predict(Scores(), none)
    with pytest.raises(ValueError, match="labels expects one for each of 3 images, got 2"):
        training.evaluate(Scores(), np.zeros((3, 2), np.float32), np.zeros(2, int))
