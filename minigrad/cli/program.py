"""The parser of the command line, and what becomes of failures: sentences and exit codes."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import minigrad as mg
from minigrad.cli import learning, looking, machine, reading
from minigrad.cli.errors import UsageError, say, sentence
from minigrad.cli.options import Commands, Parser

DESCRIPTION = "Train small networks on handwritten digits, use them, and look inside."
EPILOG = """\
MODEL is nin, bottleneck, or file.py:function for a network of yours: the
function takes no arguments and returns an nn.Module. RUN is a folder that
`train` has written to.

`%(prog)s COMMAND --help` explains a command and has an example.
Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those of the command, without its name; by default the process's.

    Returns:
        The exit code: 0; 1 for a failure; 2 without a command; 130 after Ctrl-C.

    Raises:
        SystemExit: with code 2 after wrong use, and 0 after `--help` and `--version`.
        Exception: whatever the command raised, with `--debug`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that cannot be shown is no failure
    parser = make_parser()
    args, unknown = parser.parse_known_args(arguments)
    if "run" not in args:  # no command
        parser.print_help()
        return 2
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        with _warnings_as_sentences(args.parser.prog):
            code: int = args.run(args) or 0
        sys.stdout.flush()
    except UsageError as error:
        args.parser.error(str(error))
    except KeyboardInterrupt as error:  # training's own says how to go on
        say(str(error) or "Interrupted.")
        code = getattr(error, "exit_code", 130)
    except BrokenPipeError:  # as in `minigrad info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if args.debug:
            raise
        say(f"{args.parser.prog}: {sentence(error)}")
        code = 1
    return code


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    started_as_module = Path(sys.argv[0]).name == "__main__.py"
    parser = Parser(
        prog="python -m minigrad" if started_as_module else "minigrad",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minigrad {mg.__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of failures")
    commands = Commands(parser)
    for family in (learning, reading, looking, machine):
        family.add_to(commands)
    return parser


@contextmanager
def _warnings_as_sentences(prog: str) -> Iterator[None]:
    def show(message: Warning | str, *_: object, **__: object) -> None:
        say(f"{prog}: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
