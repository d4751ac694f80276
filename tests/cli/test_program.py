"""What all commands have in common: help, exit codes, and failures told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from minigrad import cli

COMMANDS = ["train", "eval", "predict", "summary", "trace", "profile", "fetch", "info"]
PROGRAM = [sys.executable, "-W", "error", "-m", "minigrad"]


def test_help_lists_the_commands(run: Callable[..., Any]) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert f"\n    {name} " in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_that_parses(
    name: str, run: Callable[..., Any]
) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    example = out.partition("example:\n")[2].strip()
    assert example.startswith(f"minigrad {name}")
    args = cli.program.make_parser().parse_args(example.split()[1:])
    assert args.parser.prog == f"minigrad {name}"


@pytest.mark.parametrize("columns", ["40", "80"])
def test_help_fits_the_terminal(
    columns: str, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for name in COMMANDS:
        body = run(name, "--help")[1].partition("example:")[0].splitlines()
        assert max(map(len, body[1:])) <= int(columns)  # the usage is a line to be copied


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tran", "nin"], "invalid choice: 'tran'"),
        (["summary", "nim"], "expected nin, bottleneck or file.py:function, got nim; did you mean"),
        (["summary", "net.py"], "expected nin, bottleneck or file.py:function, got net.py"),
        (["summary", "nin", "--input-shape", "28x0"], "expected sizes as in 28x28x1, got 28x0"),
        (["summary", "nin", "--batch", "0"], "expected an integer of at least 1, got 0"),
        (["summary", "bottleneck", "--no-batch-norm"], "are for nin, not for bottleneck"),
        (["predict", "runs/nin"], "required: IMAGE"),
        (["fetch", "imagenet"], "invalid choice: 'imagenet'"),
        (["summary", "nin", "--depth", "3"], "minigrad summary: unrecognized arguments: --depth 3"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, run: Callable[..., Any]
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert "--help`" in err


def test_without_a_command_there_is_help_and_exit_code_2(run: Callable[..., Any]) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert out == run("--help")[1]


def test_failures_are_one_sentence_and_exit_code_1(run: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = run("eval", tmp_path / "nowhere")
    assert (code, out) == (1, "")
    assert err.startswith("minigrad eval: ")
    assert "holds no checkpoint" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(place: str, run: Callable[..., Any], tmp_path: Path) -> None:
    arguments: list[object] = ["eval", tmp_path / "nowhere"]
    arguments.insert(0 if place == "before" else 2, "--debug")
    with pytest.raises(FileNotFoundError):
        run(*arguments)


def test_mistakes_of_ours_are_told_as_such(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mg, "show_config", lambda: {}["x"])
    # The line is in this file, which is not minigrad's: it is taken for the user's.
    assert run("info")[2].startswith("minigrad info: ")
    assert run("info")[2].endswith("KeyError: 'x'\n")
    monkeypatch.setattr(mg, "show_config", iter(()).__next__)
    code, _, err = run("info")
    assert code == 1
    assert err == "minigrad info: StopIteration (unexpected; --debug shows where)\n"


def test_warnings_are_sentences(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mg, "show_config", lambda: warnings.warn("take care", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("info") == (0, "", "minigrad info: take care\n")


class _Terminated(KeyboardInterrupt):
    exit_code = 143


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (_Terminated("Resume it."), 143, "Resume it.\n"),
    ],
)
def test_interruptions(
    error: BaseException,
    code: int,
    line: str,
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(mg, "show_config", fail)
    assert run("info") == (code, "", line)


def test_a_reader_that_has_enough_is_no_error() -> None:
    process = subprocess.Popen([*PROGRAM, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # before anything was written: starting takes longer than this
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 1


def test_ctrl_c_ends_a_process_with_130() -> None:
    code = """
import signal, sys
import minigrad as mg
from minigrad.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may run where it is ignored
mg.show_config = lambda: signal.raise_signal(signal.SIGINT)
sys.exit(main(["info"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"Interrupted.\n")


def test_it_runs_as_a_module_and_calls_itself_so() -> None:
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"minigrad {mg.__version__}\n", "")
    done = subprocess.run([*PROGRAM, "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m minigrad: ")


def test_a_stream_that_cannot_show_a_character_is_no_failure() -> None:
    done = subprocess.run(
        [*PROGRAM, "summary", "nin"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"71,402" in done.stdout
