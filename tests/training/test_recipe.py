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

import numpy as np
import pytest
from small_runs import timeless

from minigrad import training
from minigrad.training import recipe

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "train_bottleneck.py")
OPTIONS = ["--data", "digits", "--limit-train", "100", "--batch-size", "10", "--epochs", "3"]


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A child hears Ctrl-C where its parent does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", EXAMPLE, *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_saves_and_the_command_that_it_names_goes_on(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "with space"
    example = start("--out", str(cut))
    assert example.stdout is not None
    while not example.stdout.readline().startswith("epoch 1/3"):
        pass
    example.send_signal(signal.SIGINT)
    _, err = example.communicate(timeout=60)
    assert example.returncode == 130
    first, command = err.splitlines()
    assert re.fullmatch(
        rf"Interrupted in epoch \d of 3, .*; saved in {re.escape(str(cut))}\.", first
    )
    words = shlex.split(command.removeprefix("To continue: "))
    assert words[0] == Path(sys.executable).name
    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, check=True, timeout=60
    )
    assert f"Resuming the run in {cut}" in done.stdout
    assert start("--out", str(whole)).wait(timeout=60) == 0
    arrays = [training.read_run(out)[0] for out in (cut, whole)]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    records = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (cut, whole)
    ]
    assert timeless(records[0]) == timeless(records[1])
    for name in ("curves.png", "confusion.png", "misread.png", "metrics.csv"):
        assert (cut / name).stat().st_size > 0
    _, meta = training.read_run(cut)
    assert meta["model"] == "bottleneck"
    assert meta["dataset"] == "digits"
    assert (meta["image_shape"], meta["classes"]) == ([28, 28, 1], 10)
    assert meta["config"]["limit_train"] == 100


def test_a_folder_in_use_and_a_wrong_option_are_one_line(tmp_path: Path) -> None:
    with training.RunFolder(tmp_path):
        done = start("--out", str(tmp_path))
        out, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"train_bottleneck\.py: .*in use by process.*\n", err)
    assert "epoch" not in out


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
