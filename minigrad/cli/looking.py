"""The commands that look inside of a network: `summary`, `trace`, `profile`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import minigrad as mg
import minigrad.functional as F
from minigrad import data, nn, optim
from minigrad.cli import models, options
from minigrad.training.recipe import positive


def add_to(commands: options.Commands) -> None:
    """Add `summary`, `trace` and `profile`."""
    parser = commands.add(
        "summary",
        summary,
        arguments="MODEL",
        summary="what each layer costs",
        about="Output shape, parameters, arithmetic and memory of each layer.",
        example="nin --batch 64",
    )
    models.add_model(parser)
    options.add_input(parser, batch=1)

    parser = commands.add(
        "trace",
        trace,
        arguments="MODEL",
        summary="a page to step through forward and backward",
        about="Run one step of training and write a page that shows it, op by op, forward and "
        "backward. Open it in a browser; it needs no network.",
        example="nin --out trace.html",
    )
    models.add_model(parser)
    options.add_input(parser, batch=8)
    options.add_threads(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("trace.html"), help="the file (trace.html)"
    )

    parser = commands.add(
        "profile",
        profile,
        arguments="MODEL",
        summary="where the time of a training step goes",
        about="Time every op of training steps, forward, backward and update, after one step that "
        "is not counted.",
        example="nin --batch 64 --steps 10",
    )
    models.add_model(parser)
    options.add_input(parser, batch=64)
    options.add_threads(parser)
    parser.add_argument("--steps", type=positive, default=5, help="how many (5)")
    parser.add_argument(
        "--out", type=Path, help="also write them for chrome://tracing or ui.perfetto.dev"
    )


def summary(args: argparse.Namespace) -> None:
    """Print the table of `mg.summary`."""
    print(mg.summary(models.model_of(args).build(), (args.batch, *args.input_shape)))


def trace(args: argparse.Namespace) -> None:
    """Write the page of `mg.trace`."""
    options.set_threads(args)
    mg.manual_seed(0)
    chosen = models.model_of(args)
    model = chosen.build()
    images, labels = example(args)
    with mg.trace(model=model, title=chosen.name) as trace:
        loss_of(model, images, labels).backward()
    trace.save(args.out)
    print(f"{args.out}: open it in a browser")


def profile(args: argparse.Namespace) -> None:
    """Print the table of `mg.profile`, and write its trace."""
    options.set_threads(args)
    mg.manual_seed(0)
    model = models.model_of(args).build()
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, labels = example(args)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model, images, labels).backward()
        optimizer.step()

    step()
    with mg.profile() as profile:
        for _ in range(args.steps):
            step()
    print(f"{args.steps} steps of {args.batch} images, {mg.get_num_threads()} threads:\n")
    print(profile)
    if args.out is not None:
        profile.save(args.out)
        print(f"\n{args.out}: open it in chrome://tracing or ui.perfetto.dev")


def example(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Images of `--batch` and `--input-shape`, and labels: digits where they fit, else noise."""
    images, labels = data.digits("test")
    chosen = np.arange(args.batch) % len(images)
    if args.input_shape != images.shape[1:]:
        rng = np.random.default_rng(0)
        return rng.random((args.batch, *args.input_shape), np.float32), labels[chosen]
    return images[chosen], labels[chosen]


def loss_of(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> mg.Tensor:
    """The cross-entropy of a classifier's scores; the mean square of any other output."""
    scores = model(mg.Tensor(images))
    if scores.ndim == 2 and scores.shape[1] > 1:
        return F.cross_entropy(scores, labels % scores.shape[1])
    return (scores * scores).mean()
