"""What the examples and the command line share, as a user meets it: by processes and signals."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import timeless

from minigrad import training
from minigrad.training import recipe

PROGRAM = """
import argparse
import minigrad as mg
from minigrad import nn
from minigrad.training import recipe

def main():
    parser = argparse.ArgumentParser()
    recipe.add_options(parser)
    args = parser.parse_args()
    mg.manual_seed(args.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=3, activation="relu"),
        nn.Dropout(0.1),
        nn.GlobalAvgPool2d(),
        nn.Linear(4, 10),
    )
    recipe.train(model, args, name="tiny.py:network", options={})

recipe.run(main)
"""


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A child hears Ctrl-C where its parent does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    program = tmp_path / "tiny.py"
    program.write_text(PROGRAM)
    options = ["--data", "digits", "--limit-train", "300", "--epochs", "20"]
    return [sys.executable, "-W", "error", str(program), *options, "--out"]


def finish(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def interrupt(command: list[str]) -> tuple[int, str]:
    """Run until the first epoch is over, press Ctrl-C; the exit code and the standard error."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:  # to its end, if the program fails
            if line.startswith("epoch 1/20"):
                break
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=100)
        return program.returncode, err


def test_ctrl_c_saves_and_the_command_that_it_names_goes_on(
    command: list[str], tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "with space"
    code, err = interrupt([*command, str(cut)])
    assert code == 130
    first, second = err.splitlines()
    place = rf"Interrupted in epoch \d+ of 20, .*; saved in {re.escape(str(cut))}\."
    assert re.fullmatch(place, first)
    words = shlex.split(second.removeprefix("To continue: "))
    assert words[0] == Path(sys.executable).name
    assert f"Resuming the run in {cut}" in finish([sys.executable, *words[1:]])
    finish([*command, str(whole)])
    assert weights(cut) == weights(whole)
    records = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (cut, whole)
    ]
    assert timeless(records[0]) == timeless(records[1])
    for name in ("curves.png", "confusion.png", "misread.png", "metrics.csv"):
        assert (cut / name).stat().st_size > 0
    _, meta = training.read_run(cut)
    assert (meta["model"], meta["dataset"]) == ("tiny.py:network", "digits")
    assert (meta["image_shape"], meta["classes"]) == ([28, 28, 1], 10)
    assert meta["config"]["limit_train"] == 300


def weights(out: Path) -> dict[str, bytes]:
    """With what the optimizer remembers of them."""
    arrays, _ = training.read_run(out)
    parts = ("model.", "optimizer.")
    return {name: x.tobytes() for name, x in arrays.items() if name.startswith(parts)}


def test_a_folder_in_use_is_one_line(command: list[str], tmp_path: Path) -> None:
    with training.RunFolder(tmp_path):
        done = subprocess.run(
            [*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=100
        )
    assert done.returncode == 1
    assert re.fullmatch(r"tiny\.py: .*in use by process.*\n", done.stderr)
    assert "epoch" not in done.stdout


def ends(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> str:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        recipe.run(main)
    assert ended.value.code == code
    return capsys.readouterr().err


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["examples/train_nin.py"])
    for error in (FloatingPointError("fit: x"), ValueError("fit: x"), OSError("fit: x")):
        assert ends(error, 1, capsys) == "train_nin.py: fit: x\n"
    assert ends(KeyboardInterrupt(), 130, capsys) == "Interrupted.\n"
    assert ends(training.Interrupted(signal.SIGTERM), 143, capsys).startswith("Interrupted in")
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        recipe.run(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("original", "argv", "expected"),
    [
        (["/usr/bin/python3", "x.py", "--lr", "1"], ["x.py", "--lr", "1"], "python3 x.py --lr 1"),
        (["python", "x.py", "--resume"], ["x.py", "--resume"], "python x.py"),
        (["python", "-m", "minigrad", "train", "nin"], ["/a/__main__.py", "train", "nin"], None),
        (["/v/python", "/v/minigrad", "train"], ["/v/minigrad", "train"], "minigrad train"),
    ],
)
def test_the_command_to_resume(
    original: list[str], argv: list[str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", original)
    monkeypatch.setattr(sys, "argv", argv)
    expected = expected or "python -m minigrad train nin"
    assert recipe.resume_command() == f"{expected} --resume"


def test_where_runs_go() -> None:
    parser = argparse.ArgumentParser()
    recipe.add_options(parser)
    args = parser.parse_args([])
    assert recipe.out_folder(args, "nin") == Path("runs/nin")
    assert recipe.out_folder(args, "a/b.py:tiny") == Path("runs/tiny")
    assert recipe.out_folder(parser.parse_args(["--out", "x"]), "nin") == Path("x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "expected an integer of at least 1, got 0"),
        (["--seed", "-1"], "expected an integer of at least 0, got -1"),
        (["--lr", "nan"], "expected a number above 0, got nan"),
        (["--max-norm", "0"], "expected a number above 0, got 0"),
    ],
)
def test_wrong_options(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    recipe.add_options(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(options)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
