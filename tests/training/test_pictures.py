"""The pictures show the numbers; and they are whole files or none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import training
from minigrad.training import pictures

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures, as matplotlib knows them."""
    figures: list[Any] = []
    save = pictures._save
    monkeypatch.setattr(
        pictures, "_save", lambda figure, path: (figures.append(figure), save(figure, path))
    )
    return figures


def history(**columns: list[Any]) -> training.History:
    rows = zip(*columns.values(), strict=True)
    return training.History([dict(zip(columns, row, strict=True)) for row in rows])


def is_a_picture(path: Path) -> bool:
    from matplotlib.image import imread

    pixels = imread(path)
    return pixels.shape[0] >= 200 and pixels.std() > 0.05


def test_curves(drawn: list[Any], tmp_path: Path) -> None:
    losses, tests, accuracies = [2.0, 0.5, 0.2], [1.5, 0.4, 0.3], [0.5, 0.9, 1.0]
    records = history(epoch=[1, 2, 3], train_loss=losses, test_loss=tests, test_accuracy=accuracies)
    training.draw_curves(records, tmp_path / "curves.png")
    assert is_a_picture(tmp_path / "curves.png")
    above, below = drawn[0].axes
    assert [list(line.get_ydata()) for line in above.lines] == [losses, tests]
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["train", "test"]
    errors = below.lines[0].get_ydata()
    assert np.allclose(errors, [50, 10, 1e-3])  # all right is not 0 on a logarithmic axis
    assert below.get_title() == "best accuracy 100.00 %"


def test_curves_of_one_epoch_without_a_test(drawn: list[Any], tmp_path: Path) -> None:
    training.draw_curves(history(epoch=[1], train_loss=[2.0]), tmp_path / "curves.png")
    assert is_a_picture(tmp_path / "curves.png")
    assert len(drawn[0].axes[0].lines) == 1


def test_confusion(drawn: list[Any], tmp_path: Path) -> None:
    labels, predicted = np.array([0, 0, 0, 2, 2]), np.array([0, 0, 1, 2, 0])
    training.draw_confusion(labels, predicted, tmp_path / "confusion.png")
    assert is_a_picture(tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    texts = {(y, x): t.get_text() for t in axes.texts for x, y in [t.get_position()]}
    assert texts == {(0, 0): "2", (0, 1): "1", (2, 2): "1", (2, 0): "1"}
    assert axes.get_title() == "3 of 5 read right"


def test_misread(drawn: list[Any], tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((4, 5, 5, 1))
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
    labels = np.array([0, 0, 1, 1])
    training.draw_misread(images, labels, probabilities, tmp_path / "misread.png")
    assert is_a_picture(tmp_path / "misread.png")
    shown = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["1 → 0, 90%", "0 → 1, 70%"]
    for axes, i in zip(shown, (2, 1), strict=True):
        assert np.array_equal(axes.images[0].get_array(), images[i, :, :, 0])
    assert drawn[0].get_suptitle().startswith("2 of 4 misread")


def test_nothing_misread(tmp_path: Path) -> None:
    probabilities = np.array([[0.6, 0.4]])
    training.draw_misread(
        np.ones((1, 5, 5, 1)), np.array([0]), probabilities, tmp_path / "misread.png"
    )
    assert (tmp_path / "misread.png").stat().st_size > 0


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="draw_curves: expected the package matplotlib"):
        training.draw_curves(training.History(), tmp_path / "curves.png")
