"""What the training examples share: their options, the loop, and the report on what was learned."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import minigrad as mg
import minigrad.functional as F
from minigrad import data, nn, optim

mpl.use("agg")  # pictures go to files; no screen is needed
EPOCHS = {"mnist": 5, "digits": 30}  # the digits are 1,437 images, MNIST 60,000


def options(description: str, model: str) -> argparse.ArgumentParser:
    """The options that both examples take."""
    parser = argparse.ArgumentParser(description=description)
    add, threads = parser.add_argument, mg.get_num_threads()
    add("--data", choices=["auto", "mnist", "digits"], default="auto", help="auto: MNIST or digits")
    add("--data-dir", type=Path, help="where the MNIST files are (or set MINIGRAD_DATA)")
    add("--epochs", type=positive, help="passes over the data (5 on MNIST, 30 on the digits)")
    add("--batch-size", type=positive, default=64, help="images for one step (64)")
    add("--lr", type=rate, help="the highest rate of the one-cycle schedule (0.1)")
    add("--seed", type=natural, default=0, help="of weights, order, augmentation, dropout (0)")
    add("--threads", type=positive, default=threads, help=f"threads of the kernels ({threads})")
    add("--out", type=Path, default=Path("runs", model), help=f"folder to write to (runs/{model})")
    add("--limit-train", type=positive, help="use the first so many images only (all)")
    return parser


def run(main: Callable[[], object]) -> None:
    """Run an example, and end it in one line where Ctrl-C is pressed."""
    try:
        main()
    except KeyboardInterrupt:
        print("\nInterrupted; the weights of the last whole epoch are kept.", file=sys.stderr)
        sys.exit(130)


def natural(text: str) -> int:
    """An option's value as an integer of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, got {text}")
    return int(text)


def positive(text: str) -> int:
    """An option's value as an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text}")
    return int(text)


def rate(text: str) -> float:
    """An option's value as a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def train(model: nn.Module, args: argparse.Namespace) -> float:
    """Train with SGD on a one-cycle schedule, write everything to `args.out`, return accuracy."""
    try:
        dataset = data.load(args.data, args.data_dir)
        args.out.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.jsonl", "model.safetensors", "confusion.png", "misread.png"):
            (args.out / name).unlink(missing_ok=True)  # of an earlier run
    except (OSError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    print(dataset.note)
    mg.set_num_threads(args.threads)
    epochs, lr = args.epochs or EPOCHS[dataset.name], args.lr or 0.1
    loader = data.DataLoader(
        dataset.train_images[: args.limit_train],
        dataset.train_labels[: args.limit_train],
        args.batch_size,
        shuffle=True,
        seed=args.seed,
        transform=data.random_affine(max_degrees=10, max_pixels=2),
    )
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = optim.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * len(loader))
    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, loader, optimizer, schedule, f"epoch {epoch}/{epochs}")
        seconds = time.perf_counter() - start
        predicted = predict(model, dataset.test_images)
        accuracy = float(np.mean(predicted == dataset.test_labels))
        record = {
            "epoch": epoch,
            "train_loss": loss,
            "test_accuracy": accuracy,
            "seconds": seconds,
            "images_per_second": len(loader.images) / seconds,
            "dataset": dataset.name,
        }
        with (args.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        nn.save(model, args.out / "model.safetensors")  # each epoch, so that Ctrl-C loses one
        print(
            f"epoch {epoch}/{epochs}: loss {loss:.4f}, test accuracy {accuracy:.2%} on "
            f"{dataset.name}, {seconds:.1f} s, {len(loader.images) / seconds:.0f} images/s",
            flush=True,
        )
    draw_confusion(dataset.test_labels, predicted, args.out / "confusion.png")
    draw_misread(dataset.test_images, dataset.test_labels, predicted, args.out / "misread.png")
    print(f"Test accuracy: {accuracy:.2%} on {dataset.name}. Weights and pictures: {args.out}/")
    return accuracy


def train_epoch(
    model: nn.Module,
    loader: data.DataLoader,
    optimizer: optim.SGD,
    schedule: optim.OneCycleLR,
    title: str,
) -> float:
    """One pass over the training images; returns the mean loss of an image."""
    model.train()
    total = 0.0
    with progress(title, len(loader.images)) as bar:
        for images, labels in loader:
            loss = F.cross_entropy(model(mg.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(images)
            bar.update(len(images))
    return total / len(loader.images)


def predict(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The most likely class of each image."""
    model.eval()
    predicted = []
    with mg.no_grad(), progress("test", len(images)) as bar:
        for start in range(0, len(images), 500):
            batch = images[start : start + 500]
            predicted.append(model(mg.Tensor(batch)).data.argmax(axis=1))
            bar.update(len(batch))
    return np.concatenate(predicted)


def progress(title: str, images: int) -> tqdm:
    """A bar with images/s and the time left, in a terminal; nothing where output is no terminal."""
    return tqdm(
        desc=title, total=images, unit=" images", leave=False, disable=not sys.stderr.isatty()
    )


def draw_confusion(labels: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """How often each digit (row) was read as each digit (column)."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    # The diagonal is so large that the mistakes would all look alike beside it.
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if count > counts.max() / 4 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade)
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))
    axes.set_title(f"{np.trace(counts)} of {len(labels)} read right")
    figure.savefig(path, dpi=100)


def draw_misread(images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """The first 40 digits that were read wrong."""
    wrong = np.flatnonzero(predicted != labels)
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(labels)} digits misread (digit → read as)")
    for axes, i in zip(figure.subplots(5, 8).flat, [*wrong[:40], *[None] * 40], strict=False):
        axes.axis("off")
        if i is not None:
            axes.imshow(images[i, :, :, 0], cmap="gray_r")
            axes.set_title(f"{labels[i]} → {predicted[i]}")
    figure.savefig(path, dpi=100)
