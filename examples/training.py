"""What the training examples share: their options, the loop, and the report on what was learned."""

from __future__ import annotations

import argparse
import json
import sys
import time
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
    """The options that both examples take; where the default is None, the help says more."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--data", choices=["auto", "mnist", "digits"], default="auto", help="auto: MNIST or digits")
    add("--data-dir", type=Path, help="where the MNIST files are (or set MINIGRAD_DATA)")
    add("--epochs", type=positive, help="passes over the data; None: 5 for MNIST, 30 for digits")
    add("--batch-size", type=positive, default=64, help="images for one step")
    add("--lr", type=float, default=0.1, help="the highest rate of the one-cycle schedule")
    add("--seed", type=int, default=0, help="of weights, order, augmentation and dropout")
    add("--threads", type=positive, default=mg.get_num_threads(), help="threads of the kernels")
    add("--out", type=Path, default=Path("runs") / model, help="folder for what is written")
    add("--limit-train", type=positive, help="use the first so many images only")
    return parser


def positive(text: str) -> int:
    """An option's value as an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def train(model: nn.Module, args: argparse.Namespace) -> float:
    """Train with SGD on a one-cycle schedule, write everything to `args.out`, return accuracy."""
    dataset = data.load(args.data, args.data_dir)
    print(dataset.note)
    mg.set_num_threads(args.threads)
    epochs = args.epochs or EPOCHS[dataset.name]
    loader = data.DataLoader(
        dataset.train_images[: args.limit_train],
        dataset.train_labels[: args.limit_train],
        args.batch_size,
        shuffle=True,
        seed=args.seed,
        transform=data.random_affine(max_degrees=10, max_pixels=2),
    )
    optimizer = optim.SGD(
        model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = optim.OneCycleLR(optimizer, max_lr=args.lr, total_steps=epochs * len(loader))

    args.out.mkdir(parents=True, exist_ok=True)
    metrics = args.out / "metrics.jsonl"
    metrics.write_text("")
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, loader, optimizer, schedule, f"epoch {epoch}/{epochs}")
        seconds = time.perf_counter() - start
        predicted = predict(model, dataset.test_images)
        accuracy = float(np.mean(predicted == dataset.test_labels))
        speed = len(loader.images) / seconds
        print(
            f"epoch {epoch}/{epochs}: loss {loss:.4f}, test accuracy {accuracy:.2%} on "
            f"{dataset.name}, {seconds:.1f} s, {speed:.0f} images/s",
            flush=True,
        )
        record = {
            "epoch": epoch,
            "train_loss": loss,
            "test_accuracy": accuracy,
            "seconds": seconds,
            "images_per_second": speed,
            "dataset": dataset.name,
        }
        with metrics.open("a") as file:
            file.write(json.dumps(record) + "\n")
    nn.save(model, args.out / "model.safetensors")
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
    with tqdm(
        desc=title,
        total=len(loader.images),
        unit=" images",
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
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
    with mg.no_grad():
        batches = [images[i : i + 500] for i in range(0, len(images), 500)]
        return np.concatenate([model(mg.Tensor(x)).data.argmax(axis=1) for x in batches])


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
            shade = "white" if row == column else "black"
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
