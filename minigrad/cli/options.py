"""Options that several commands share, and how a command is made."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import minigrad as mg
from minigrad.training.recipe import positive

Run = Callable[[argparse.Namespace], int | None]  # returns the exit code, None for 0


class Parser(argparse.ArgumentParser):
    """A parser that answers wrong use by one sentence, instead of the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


class Commands:
    """The commands of a parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._prog = parser.prog
        self._parsers = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(
        self, name: str, run: Run, *, arguments: str, summary: str, about: str, example: str
    ) -> argparse.ArgumentParser:
        """Add a command.

        Args:
            name: what users type.
            run: does it, given the parsed arguments.
            arguments: what it takes besides options, for its own `--help`.
            summary: one line for the list of commands.
            about: what to know before one uses it, too.
            example: its arguments in an example.
        """
        parser = self._parsers.add_parser(
            name,
            help=summary,
            usage=f"{self._prog} {name} [options] {arguments}".rstrip(),
            description=about,
            epilog=f"example:\n  {self._prog} {name} {example}".rstrip(),
            formatter_class=_Help,
        )
        # SUPPRESS: without it, `minigrad --debug eval` would be undone by the default of `eval`.
        parser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
        )
        parser.set_defaults(run=run, parser=parser)
        return parser


class _Help(argparse.HelpFormatter):
    """Fills descriptions, and leaves the lines of examples as they are, to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:"):
            return text
        return super()._fill_text(text, width, indent)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """`--threads`; `set_threads` obeys it."""
    parser.add_argument("--threads", type=positive, help="threads of the kernels (one per core)")


def set_threads(args: argparse.Namespace) -> None:
    """Obey `--threads`."""
    if args.threads:
        mg.set_num_threads(args.threads)


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """`--data-dir`."""
    parser.add_argument(
        "--data-dir", type=Path, help="where the MNIST files are (or set MINIGRAD_DATA)"
    )


def add_input(parser: argparse.ArgumentParser, *, batch: int) -> None:
    """`--input-shape` and `--batch`."""
    parser.add_argument(
        "--input-shape",
        type=shape,
        default=(28, 28, 1),
        metavar="HxWxC",
        help="height, width and channels of an image (28x28x1)",
    )
    parser.add_argument("--batch", type=positive, default=batch, help=f"images at once ({batch})")


def shape(text: str) -> tuple[int, ...]:
    """An option's value as a shape: "28x28x1"."""
    sizes = text.lower().split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected sizes as in 28x28x1, got {text}")
    return tuple(map(int, sizes))
