"""The benchmarks' own arithmetic, and that what they write can be read."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import ops, peers, report, time_to_accuracy
from benchmarks.harness import options, results
from benchmarks.harness.contest import contest, measure

ROOT = Path(__file__).parent.parent.parent
ROW = {
    "case": "nin",
    "threads": 2,
    "batch": 128,
    "group": "g",
    "seconds": {"minigrad": 0.02, "torch NCHW": 0.05, "torch-compile NHWC": 0.04, "jax": 0.01},
}


def test_a_speedup_is_the_peers_best_time_over_ours() -> None:
    assert results.best(ROW["seconds"]) == {"jax": "jax", "torch": "torch-compile NHWC"}
    assert results.speedups(ROW) == {"jax": pytest.approx(0.5), "torch": pytest.approx(2)}
    assert results.peer_cells(ROW, ["torch", "jax", "tinygrad"]) == [
        *("40 compile NHWC", "2.00x", "10", "0.50x", "-", "-")
    ]
    slower = {**ROW, "seconds": {"minigrad": 0.02, "torch NCHW": 0.01}}
    (mean,) = results.group_means([ROW, slower])
    assert mean["speedups"]["torch"] == pytest.approx(math.sqrt(2 * 0.5))


def test_tables() -> None:
    header, lines = ["a", "bb"], [["long", "1"], ["x", "22.5"]]
    assert results.table(header, lines).splitlines() == [
        "a       bb",
        "long     1",
        "x     22.5",
    ]
    assert results.markdown(header, lines).splitlines()[1:3] == ["| --- | --: |", "| long | 1 |"]


def test_sides_take_turns_and_those_that_cannot_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with contest(["minigrad"], 1) as sides:
        work = {"network": "conv1-2 relu", "image": (4, 4, 1), "batch": 1}
        seconds = measure(sides, 3, "forward", **work)
        assert 0 < seconds["minigrad"] < 1
        assert measure(sides, 3, "forward", **{**work, "network": "nonsense"}) == {}
        assert "minigrad: ValueError: network: 'nonsense'" in capsys.readouterr().out
        assert sides[0].ask("config")["kernels"]["threads"] == "1"
        processes = [side._process for side in sides]
    assert not any(process.is_alive() for process in processes)


def test_a_framework_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    chosen = options.read(options.parser("", iterations=3), ["--peers", "torch,jax"])
    assert capsys.readouterr().out == "left out: torch (not installed), jax (not installed)\n"
    assert chosen.sides == ["minigrad"]


def test_avx2_only_is_said_to_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    options.read(options.parser("", iterations=3), ["--isa", "avx2", "--peers", ""])
    assert os.environ["MINIGRAD_ISA"] == os.environ["ATEN_CPU_CAPABILITY"] == "avx2"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peers", "caffe"],
        ["--threads", "0"],
        ["--image", "28"],
        ["--network", "conv3-32 rely"],
    ],
)
def test_bad_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.read(options.parser("", iterations=3, networks=["nin"]), arguments)
    assert arguments[-1].split()[-1] in capsys.readouterr().err


def test_every_shape_of_ops_is_a_network() -> None:
    names = [(case.name, case.group) for case in ops.cases()]
    assert len(names) == len(set(names))


def test_rates_rise_and_fall() -> None:
    rates = [time_to_accuracy.rate(i / 20, 1.0) for i in range(21)]
    assert max(rates) == rates[4] == 1
    assert 0 < rates[0] < rates[2] < rates[4] > rates[12] > rates[20] == 0


def test_what_a_benchmark_writes_becomes_a_report(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nafter\n")
    common = ["--iterations", "1", "--threads", "1", "--peers", ""]
    small = ["--network", "conv3-4 relu pool2 gap linear3", "--image", "8x8x1", "--batch", "2"]
    for name in ("train_step", "breakdown"):
        command = [sys.executable, "-m", f"benchmarks.{name}", *common, *small]
        command += ["--json", str(tmp_path / f"{name}.json")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "conv3-4" in done.stdout
    record = json.loads((tmp_path / "train_step.json").read_text())
    # 8x8 pixels, 9 taps, 4 filters, no gradient of the image; then 4 x 3
    assert record["rows"][0]["flops"] == 2 * (2 * 2 * 64 * 9 * 4 + 3 * 2 * 4 * 3)
    record["rows"] = [ROW | {"flops": 1e9, "sgemm": 1e11}]
    (tmp_path / "train_step.json").write_text(json.dumps(record))
    report.main([str(tmp_path), "--docs", str(tmp_path / "docs")])
    page = (tmp_path / "docs" / "performance.md").read_text()
    assert "| nin | 128 | 2 | 20 | 6400 | 50% | 40 compile NHWC | 2.00x |" in page
    for picture in ("train_step.png", "breakdown.png"):
        assert f"({picture})" in page
        assert (tmp_path / "docs" / picture).read_bytes()[:4] == b"\x89PNG"
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| training `nin`, images/s | 6,400 | 3,200 | 2.0x |" in text
    assert "old" not in text
