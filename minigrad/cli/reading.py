"""The command `predict`: the digits in pictures."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from minigrad import data, training
from minigrad.cli import models, options
from minigrad.cli.errors import say, sentence

EIGHTHS = " ▏▎▍▌▋▊▉█"
SHADES = " ░▒▓█"
ASCII_SHADES = " .+%#"


def add_to(commands: options.Commands) -> None:
    """Add `predict`."""
    parser = commands.add(
        "predict",
        predict,
        arguments="RUN IMAGE...",
        summary="read the digits in pictures",
        about="Read one digit in each picture: drawn, photographed or scanned, of any size, dark "
        "on light or light on dark. It is found, cut out, scaled and centred as the images "
        "were that the network was trained on.",
        example="runs/nin seven.png --show",
    )
    models.add_run(parser)
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", type=Path, help="a PNG, JPEG or other picture"
    )
    parser.add_argument("--show", action="store_true", help="draw what the network is given")
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    options.add_threads(parser)


def predict(args: argparse.Namespace) -> int:
    """Print the digit and the probability of each; go on where a picture cannot be read.

    Returns:
        The exit code: 1 if one could not be read.
    """
    run = models.trained_model(args)
    options.set_threads(args)
    records, failed = [], False
    for path in args.images:
        try:
            reading = Reading.of(path, run)
        except (OSError, ValueError) as error:
            failed = True
            records.append({"image": str(path), "error": sentence(error)})
            if not args.json:
                say(f"{args.parser.prog}: {sentence(error)}")
        else:
            records.append(reading.record())
            if not args.json:
                reading.tell(show=args.show)
    if args.json:
        print(json.dumps(records, indent=2))
    return int(failed)


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in a picture.

    Attributes:
        path: of the picture.
        drawn: what the network was given.
        probabilities: of the classes.
    """

    path: Path
    drawn: data.DrawnDigit
    probabilities: np.ndarray

    @classmethod
    def of(cls, path: Path, run: models.TrainedModel) -> Self:
        """Read a picture.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no picture, or blank.
        """
        drawn = data.read_digit(path, like=run.dataset)
        return cls(path, drawn, training.predict(run.model, drawn.image[np.newaxis])[0])

    @property
    def digit(self) -> int:
        """The most likely class."""
        return int(self.probabilities.argmax())

    @property
    def read_as(self) -> str:
        """Which of ink and background was taken for the darker."""
        return "dark on light" if self.drawn.dark else "light on dark"

    def record(self) -> dict[str, Any]:
        """For programs, as JSON."""
        return {
            "image": str(self.path),
            "digit": self.digit,
            "probabilities": self.probabilities.tolist(),
            "read_as": self.read_as,
        }

    def tell(self, *, show: bool) -> None:
        """For people, in the terminal."""
        print(f"{self.path}: {self.digit} (read as {self.read_as})")
        if show:
            print("\n".join(picture(self.drawn.image[..., 0])))
        print("\n".join(bars(self.probabilities)))


def bars(probabilities: np.ndarray) -> Iterator[str]:
    """A line for each class: its number, its probability and a bar, as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns, 80) - len("  0  100.0 %  ") - 1
    full = EIGHTHS[-1] if can_show(EIGHTHS) else "#"
    for label, p in enumerate(probabilities):
        eighths = round(8 * width * p)
        rest = EIGHTHS[eighths % 8] if full == EIGHTHS[-1] else ""
        yield f"  {label}  {100 * p:5.1f} %  {full * (eighths // 8)}{rest}".rstrip()


def picture(image: np.ndarray) -> Iterator[str]:
    """An image (28, 28) in characters, two rows in each line, since they are tall."""
    shades = SHADES if can_show(SHADES) else ASCII_SHADES
    pairs = image.reshape(len(image) // 2, 2, -1).mean(axis=1)
    for row in np.rint(pairs * (len(shades) - 1)).astype(int):
        yield "  " + "".join(shades[amount] for amount in row)


def can_show(characters: str) -> bool:
    """Whether the output's encoding has these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
