"""How the example networks are trained: SGD on a one-cycle schedule, on digits moved at random.

The examples and `python -m minigrad train` share it.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import minigrad as mg
from minigrad import data, nn, optim
from minigrad.training.evaluation import predict
from minigrad.training.fitting import fit
from minigrad.training.history import History
from minigrad.training.interruption import Interrupted
from minigrad.training.pictures import draw_confusion, draw_curves, draw_misread

EPOCHS = {"mnist": 5, "digits": 30}  # the digits are 1,437 images, MNIST 60,000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `train` looks at."""
    add, threads = parser.add_argument, mg.get_num_threads()
    add(
        "--data",
        choices=["auto", "mnist", "digits"],
        default="auto",
        help="auto: MNIST, else the embedded digits",
    )
    add("--data-dir", type=Path, help="where the MNIST files are (or set MINIGRAD_DATA)")
    add("--epochs", type=positive, help="passes over the data (5 on MNIST, 30 on the digits)")
    add("--batch-size", type=positive, default=64, help="images for one step (64)")
    add("--lr", type=number, help="the highest rate of the one-cycle schedule (0.1)")
    add("--seed", type=natural, default=0, help="of weights, order, augmentation, dropout (0)")
    add("--threads", type=positive, default=threads, help=f"threads of the kernels ({threads})")
    add("--limit-train", type=positive, help="use the first so many images only (all)")
    add("--max-norm", type=number, help="clip the gradients to this norm (no)")
    add("--patience", type=positive, help="stop after so many epochs with no lower test loss (no)")
    add("--out", type=Path, help="folder to write to (runs/ and the name of the model)")
    add("--resume", action="store_true", help="go on with the run in that folder")
    add("--save-every", type=number, default=60.0, help="seconds between checkpoints (60)")
    add("--tensorboard", action="store_true", help="write events for TensorBoard, too")


def out_folder(args: argparse.Namespace, name: str) -> Path:
    """The folder of a run: as the options say, or runs/ and the name of the model."""
    return args.out or Path("runs", name.rpartition(":")[2])


def train(
    model: nn.Module, args: argparse.Namespace, *, name: str, options: Mapping[str, Any]
) -> float:
    """Train as the options say; returns the test accuracy.

    Weights, checkpoints, metrics and pictures go to `out_folder(args, name)`.

    Args:
        model: (N, 28, 28, 1) -> (N, 10), built after `mg.manual_seed(args.seed)`.
        args: with the options of `add_options`.
        name: of the model, for the checkpoint: "nin", or "file.py:function".
        options: what the model was built with.

    Raises:
        Interrupted: its text says how to resume.
        FloatingPointError: the loss became NaN or Inf.
        ValueError: see `fit` and `data.load`.
        OSError: the data cannot be had, or something cannot be written.
    """
    dataset = data.load(args.data, args.data_dir)
    print(dataset.note, flush=True)  # noqa: T201 - it is the programs' own text
    mg.set_num_threads(args.threads)
    out = out_folder(args, name)
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
    said = ("batch_size", "seed", "limit_train", "max_norm", "patience")
    meta = {
        "model": name,
        "model_options": dict(options),
        "dataset": dataset.name,
        "image_shape": list(loader.images.shape[1:]),
        "classes": 10,
        "config": {"epochs": epochs, "lr": lr, **{key: getattr(args, key) for key in said}},
    }
    try:
        history = fit(
            model,
            loader,
            optimizer=optimizer,
            epochs=epochs,
            schedule=optim.OneCycleLR(optimizer, max_lr=lr, total_steps=epochs * len(loader)),
            validation=(dataset.test_images, dataset.test_labels),
            max_norm=args.max_norm,
            patience=args.patience,
            out=out,
            resume=args.resume,
            save_every=args.save_every,
            tensorboard=args.tensorboard,
            meta=meta,
        )
    except Interrupted as interrupted:
        interrupted.advice = f"To continue: {resume_command()}"
        raise
    return report(model, dataset, history, out)


def report(model: nn.Module, dataset: data.Dataset, history: History, out: Path) -> float:
    """Draw what was learned, say how well it reads, and return the test accuracy."""
    images, labels = dataset.test_images, dataset.test_labels
    probabilities = predict(model, images)
    predicted = probabilities.argmax(axis=1)
    draw_curves(history, out / "curves.png")
    draw_confusion(labels, predicted, out / "confusion.png")
    draw_misread(images, labels, probabilities, out / "misread.png")
    accuracy = float(np.mean(predicted == labels))
    print(  # noqa: T201
        f"Test accuracy: {accuracy:.2%} on {dataset.name}. Weights and pictures: {out}/"
    )
    return accuracy


def run(main: Callable[[], object]) -> None:
    """Run a program that trains; whatever ends it ends in a line, with the exit code for it."""
    try:
        main()
    except Interrupted as interrupted:
        _end(str(interrupted), interrupted.exit_code)
    except KeyboardInterrupt:
        _end("Interrupted.", 130)
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        _end(f"{Path(sys.argv[0]).name}: {error}", 1)


def _end(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr)  # noqa: T201
    sys.exit(code)


def resume_command() -> str:
    """What to type to resume the run of this process."""
    interpreter, *arguments = sys.orig_argv
    if Path(sys.argv[0]).name == "minigrad":  # installed as a command
        command = ["minigrad", *sys.argv[1:]]
    else:
        command = [Path(interpreter).name, *arguments]
    return shlex.join(command if "--resume" in command else [*command, "--resume"])


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


def number(text: str) -> float:
    """An option's value as a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value
