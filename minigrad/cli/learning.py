"""The commands `train` and `eval`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

import minigrad as mg
from minigrad import data, training
from minigrad.cli import models, options
from minigrad.training import recipe

SETS = {"mnist": "MNIST", "digits": "the embedded UCI digits"}


def add_to(commands: options.Commands) -> None:
    """Add `train` and `eval`."""
    parser = commands.add(
        "train",
        train,
        arguments="MODEL",
        summary="train a network to read digits",
        about="Train a network to read digits. Weights, checkpoints, metrics and pictures go to a "
        "folder. Ctrl-C saves, and --resume goes on as if nothing had been.",
        example="nin --epochs 5 --out runs/nin",
    )
    models.add_model(parser)
    recipe.add_options(parser)

    parser = commands.add(
        "eval",
        evaluate,
        arguments="RUN",
        summary="test what a run has learned",
        about="Test what a run has learned on the test images of its data set, or of another.",
        example="runs/nin --confusion confusion.png",
    )
    models.add_run(parser)
    parser.add_argument("--data", choices=[*SETS], help="the data set (the one of the run)")
    options.add_data_dir(parser)
    options.add_threads(parser)
    parser.add_argument(
        "--confusion", type=Path, metavar="FILE", help="draw which digits are taken for which"
    )


def train(args: argparse.Namespace) -> None:
    """Train as the options say."""
    model = models.model_of(args)
    if args.lr is None and model.options.get("batch_norm") is False:
        args.lr = 0.02  # at 0.1 the plain network does not begin to learn
    mg.manual_seed(args.seed)
    recipe.train(model.build(), args, name=model.name, options=model.options)


def evaluate(args: argparse.Namespace) -> None:
    """Print accuracy and loss, and how well each digit is read."""
    run = models.trained_model(args)
    options.set_threads(args)
    name: Literal["mnist", "digits"] = args.data or run.dataset
    dataset = data.load(name, args.data_dir)
    images, labels = dataset.test_images, dataset.test_labels
    result = training.evaluate(run.model, images, labels)
    predicted = training.predict(run.model, images).argmax(axis=1)
    print(f"{args.folder}: {run.name}, trained on {SETS[run.dataset]}")
    print(f"tested on {SETS[name]}: {len(labels):,} images that it has not learned from")
    print(f"accuracy {result.accuracy:.2%}, loss {result.loss:.4f}\n")
    print("\n".join(digits_table(labels, predicted)))
    if args.confusion is not None:
        training.draw_confusion(labels, predicted, args.confusion)
        print(f"\n{args.confusion}: which digits are taken for which")


def digits_table(labels: np.ndarray, predicted: np.ndarray) -> Iterator[str]:
    """For each digit, how many images, how many of them read right, and what it is taken for.

    Args:
        labels: (N,) integers.
        predicted: (N,) integers.
    """
    yield "digit  images   right   mostly taken for"
    for digit in np.unique(labels):
        read = predicted[labels == digit]
        wrong = np.bincount(read[read != digit], minlength=1)
        right = np.mean(read == digit)
        most = f"{wrong.argmax()} ({wrong.max()} of {wrong.sum()})" if wrong.any() else ""
        yield f"{digit:5}  {len(read):6,}  {right:6.1%}   {most}".rstrip()
