"""Pictures of a run, by matplotlib: curves, the confusion matrix, and what was misread."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from minigrad.extras import import_extra
from minigrad.files import write_atomically
from minigrad.training.history import History


def draw_curves(history: History, path: str | os.PathLike[str]) -> None:
    """The losses, and the share that was misread in the test, after each epoch, as a PNG.

    Raises:
        ImportError: the matplotlib package is not installed.
        OSError: the file cannot be written.
    """
    figure = _figure("draw_curves", (9, 6))
    from matplotlib.ticker import LogLocator

    above, below = figure.subplots(2, 1, sharex=True)
    epochs = history.column("epoch")
    losses = {name: _numbers(history, f"{name}_loss") for name in ("train", "test")}
    for (name, numbers), color in zip(losses.items(), ("tab:blue", "tab:orange"), strict=True):
        if np.isfinite(numbers).any():
            above.plot(epochs, numbers, "o-", color=color, label=name)
    above.set(ylabel="loss of an image", ylim=(0, 1.05 * np.nanmax([*losses.values()])))
    above.legend()
    if history.best_accuracy is not None:
        errors = 100 * (1 - _numbers(history, "test_accuracy"))
        below.semilogy(epochs, np.maximum(errors, 1e-3), "o-", color="tab:green")
        below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        below.yaxis.set_major_formatter("{x:g}")  # 20, not 2 × 10¹
        below.yaxis.set_minor_formatter("")
        below.set_ylabel("misread in the test, %")
        best = 100 * history.best_accuracy
        below.set_title(f"best accuracy {best:.2f} %", fontsize="medium")
    below.set(xlabel="epoch", xlim=(0.5, len(epochs) + 0.5))
    below.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_confusion(labels: np.ndarray, predicted: np.ndarray, path: str | os.PathLike[str]) -> None:
    """How often each class (row) was read as each class (column), as a PNG.

    Args:
        labels: (N,) integers.
        predicted: (N,) integers.
        path: the file.

    Raises:
        ImportError: the matplotlib package is not installed.
        OSError: the file cannot be written.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    figure = _figure("draw_confusion", (6, 6))
    axes = figure.subplots()
    # The diagonal is so large that the mistakes would all look alike beside it.
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if count > counts.max() / 4 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade)
    axes.set(xlabel="read as", ylabel="label", xticks=range(classes), yticks=range(classes))
    axes.set_title(f"{np.trace(counts):,} of {len(labels):,} read right")
    _save(figure, path)


def draw_misread(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, path: str | os.PathLike[str]
) -> None:
    """The 40 images that were read wrong with the most confidence, as a PNG.

    Args:
        images: (N, H, W, channels); the first channel is shown.
        labels: (N,) integers.
        probabilities: (N, classes), as `predict` returns them.
        path: the file.

    Raises:
        ImportError: the matplotlib package is not installed.
        OSError: the file cannot be written.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:40]
    rows = max(1, -(-len(shown) // 8))
    figure = _figure("draw_misread", (10, 0.5 + 1.5 * rows))
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} misread (label → read as, how surely)")
    for axes in figure.subplots(rows, 8).flat:
        axes.axis("off")
    for axes, i in zip(figure.axes, shown, strict=False):
        axes.imshow(images[i, :, :, 0], cmap="gray_r")
        axes.set_title(f"{labels[i]} → {predicted[i]}, {confidence[i]:.0%}", fontsize="medium")
    _save(figure, path)


def _numbers(history: History, name: str) -> np.ndarray:
    """A column, with NaN where there is none."""
    return np.array(history.column(name), float)


def _figure(caller: str, inches: tuple[float, float]) -> Any:
    figures = import_extra(caller, "matplotlib.figure")  # without pyplot: no window, no screen
    return figures.Figure(figsize=inches, layout="constrained")


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    write_atomically(path, picture.getvalue())
