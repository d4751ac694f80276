"""A bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import io
import re
import sys

import pytest
from small_runs import Run

from minigrad.training import progress as module
from minigrad.training.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_captured_output_is_one_plain_line_for_an_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Run().fit()
    out, err = capsys.readouterr()
    assert err == ""
    assert "\r" not in out
    assert "\x1b" not in out
    line = r"epoch (\d)/3: loss \d\.\d+, test accuracy \d+\.\d\d%, \d+\.\d s, \d+ images/s"
    assert re.fullmatch(rf"({line}\n){{3}}", out)


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    Run().fit(quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress("epoch 1/3", 100, 40) as shown:
        shown.advance(10, "loss 0.5")
        shown.bar.refresh()  # type: ignore[attr-defined]
    text = terminal.getvalue()
    assert "epoch 1/3:  50%" in text
    assert "50/100" in text
    assert "loss 0.5" in text
    assert re.search(r"\r *\r$", text)  # what follows begins on an empty line
    assert capsys.readouterr().out == ""


def test_without_tqdm_a_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(progress("test", 3), module.Lines)


def test_long_passes_say_now_and_then_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 4.0, 11.0, 12.0, 25.0, 40.0])  # at the start and at each advance
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    with progress("epoch 1/2", 5000, 1000) as shown:
        for _ in range(4):
            shown.advance(550, "loss 0.5")
        shown.advance(1800)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/2: 2,100 of 5,000 images, 100 images/s, 29 s left, loss 0.5",
        "epoch 1/2: 3,200 of 5,000 images, 88 images/s, 20 s left, loss 0.5",
    ]
