"""Each command, on little data and with networks that know nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import data
from minigrad.cli import learning, looking, machine, reading

PNG = b"\x89PNG\r\n\x1a\n"


def test_train_eval_and_predict_go_together(
    run: Callable[..., Any], tmp_path: Path, seven: Path
) -> None:
    out = tmp_path / "runs"
    small = ["--data", "digits", "--limit-train", 200, "--epochs", 1, "--threads", 1]
    code, text, _ = run("train", "nin", *small, "--out", out)
    assert code == 0
    trained = re.search(r"Test accuracy: (\S+) ?% on digits", text)
    assert trained
    code, text, err = run("eval", out, "--confusion", tmp_path / "c.png")
    assert (code, err) == (0, "")
    assert f"accuracy {trained[1]}%" in text
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    code, text, err = run("predict", out, seven)
    assert (code, err) == (0, "")
    assert text.startswith(f"{seven}: ")


def test_eval_counts_each_digit(run: Callable[..., Any], make_run: Callable[..., Path]) -> None:
    model = mg.models.nin(batch_norm=True)
    folder = make_run(model)
    images, labels = data.digits("test")
    with mg.no_grad():
        scores = model.eval()(mg.Tensor(images)).data
    loss = F.cross_entropy(mg.Tensor(scores.astype(np.float64)), labels).item()
    predicted = scores.argmax(axis=1)
    code, out, err = run("eval", folder)
    assert (code, err) == (0, "")
    assert "nin, trained on the embedded UCI digits\ntested on the embedded UCI digits: 360" in out
    assert f"accuracy {np.mean(predicted == labels):.2%}, loss {loss:.4f}\n" in out
    rows = [line.split() for line in out.splitlines() if re.match(r"^ +\d  ", line)]
    assert [int(row[0]) for row in rows] == list(range(10))
    for digit, row in enumerate(rows):
        read = predicted[labels == digit]
        assert row[1] == str(len(read))
        assert row[2] == f"{np.mean(read == digit):.1%}"
        wrong = [int(k) for k in read if k != digit]
        if wrong:
            most = max(map(wrong.count, range(10)))
            assert wrong.count(int(row[3])) == most
            assert row[4:] == [f"({most}", "of", f"{len(wrong)})"]


def test_the_table_of_digits_says_what_each_is_taken_for() -> None:
    labels = np.array([0, 0, 0, 0, 7, 7, 2])
    predicted = np.array([0, 5, 5, 9, 7, 7, 0])
    header, *rows = learning.digits_table(labels, predicted)
    assert header.split() == ["digit", "images", "right", "mostly", "taken", "for"]
    assert [row.split() for row in rows] == [
        ["0", "4", "25.0%", "5", "(2", "of", "3)"],
        ["2", "1", "0.0%", "0", "(1", "of", "1)"],
        ["7", "2", "100.0%"],
    ]


def test_predict_prints_what_the_network_computes(
    run: Callable[..., Any], make_run: Callable[..., Path], seven: Path
) -> None:
    model = mg.models.nin(batch_norm=True)
    folder = make_run(model)
    code, out, err = run("predict", folder, seven, "--json")
    assert (code, err) == (0, "")
    (record,) = json.loads(out)
    image = data.read_digit(seven, like="digits").image
    with mg.no_grad():
        scores = model.eval()(mg.Tensor(image[np.newaxis])).data[0].astype(np.float64)
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(record["probabilities"], expected, rtol=1e-5)  # float32 softmax
    assert record["digit"] == expected.argmax()
    assert (record["image"], record["read_as"]) == (str(seven), "dark on light")
    _, out, _ = run("predict", folder, seven)
    lines = out.splitlines()
    assert lines[0] == f"{seven}: {record['digit']} (read as dark on light)"
    for label, (line, p) in enumerate(zip(lines[1:], expected, strict=True)):
        assert line.startswith(f"  {label}  {100 * p:5.1f} %")


def test_predict_takes_the_way_of_the_data_set_that_was_learned(
    run: Callable[..., Any], make_run: Callable[..., Path], seven: Path
) -> None:
    def probabilities(**changes: Any) -> list[float]:
        records = json.loads(run("predict", make_run(**changes), seven, "--json")[1])
        found: list[float] = records[0]["probabilities"]
        return found

    assert probabilities(dataset="mnist") != probabilities(dataset="digits")


def test_predict_goes_on_after_a_picture_that_cannot_be_read(
    run: Callable[..., Any], make_run: Callable[..., Path], seven: Path, tmp_path: Path
) -> None:
    folder, none = make_run(), tmp_path / "none.png"
    code, out, err = run("predict", folder, none, seven)
    assert code == 1
    assert err == f"minigrad predict: {none}: No such file or directory\n"
    assert out.startswith(f"{seven}: ")
    code, out, err = run("predict", folder, none, seven, "--json")
    assert (code, err) == (1, "")
    assert [sorted(record) for record in json.loads(out)] == [
        ["error", "image"],
        ["digit", "image", "probabilities", "read_as"],
    ]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars_fit_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(reading, "can_show", lambda _: True)
    lines = list(reading.bars(np.array([1.0, 0.5, 0.0])))
    widths = [line.count("█") for line in lines]
    assert max(map(len, lines)) == min(columns, 80) - 1
    assert widths[0] == min(columns, 80) - 15
    assert widths[1] == widths[0] // 2
    assert lines[2] == "  2    0.0 %"


def test_where_blocks_cannot_be_shown_there_is_ascii(
    make_run: Callable[..., Path], seven: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minigrad", "predict", make_run(), seven, "--show"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert done.stdout.isascii()
    assert b"#" in done.stdout
    assert b"?" not in done.stdout


def test_show_draws_the_image_in_two_rows_a_line() -> None:
    image = np.zeros((28, 28), np.float32)
    image[2:4, 5] = 1
    image[6, 7] = 0.5  # a quarter, with the pixel below
    lines = list(reading.picture(image))
    assert len(lines) == 14
    assert [line for line in lines if line.strip()] == [lines[1], lines[3]]
    assert (lines[1][2 + 5], lines[3][2 + 7]) in [("█", "░"), ("#", ".")]


def test_summary_is_that_of_mg(run: Callable[..., Any]) -> None:
    code, out, err = run("summary", "bottleneck", "--batch", 3, "--input-shape", "14x14x1")
    assert (code, err) == (0, "")
    table = str(mg.summary(mg.models.bottleneck(), (3, 14, 14, 1)))
    without_memory = [line for line in table.splitlines() if "peak memory" not in line]
    assert without_memory == [line for line in out.splitlines() if "peak memory" not in line]


def test_profile_times_steps_and_writes_them(run: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    code, text, err = run("profile", "nin", "--batch", 2, "--steps", 3, "--out", out)
    assert (code, err) == (0, "")
    assert text.startswith("3 steps of 2 images, ")
    (row,) = (line.split() for line in text.splitlines() if line.startswith("SGD.step"))
    assert row[1] == "3"
    steps = [e for e in json.loads(out.read_text())["traceEvents"] if e["name"] == "SGD.step"]
    assert len(steps) == 3


def test_trace_writes_a_page(run: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "t.html"
    code, text, err = run("trace", "nin", "--batch", 2, "--out", out)
    assert (code, text, err) == (0, f"{out}: open it in a browser\n", "")
    assert "<html" in out.read_text(encoding="utf-8")


def test_trace_says_where_the_loss_was_computed(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[dict[str, Any]] = []
    monkeypatch.setattr("minigrad.tracing.page.render", lambda page: pages.append(page) or "")
    run("trace", "nin", "--batch", 2, "--out", tmp_path / "t.html")
    lines = {node["op"]: (node["line"]["file"], node["expression"]) for node in pages[0]["nodes"]}
    loss = "minigrad/cli/looking.py", "F.cross_entropy(scores, labels % scores.shape[1])"
    assert lines["cross_entropy"] == loss
    assert lines["conv2d"][0] == "minigrad/nn/layers.py"


def test_networks_for_other_images_are_looked_at_with_noise() -> None:
    args = cli_args("profile", "nin", "--input-shape", "8x8x3", "--batch", "400")
    images, labels = looking.example(args)
    assert (images.shape, images.dtype, labels.shape) == ((400, 8, 8, 3), np.float32, (400,))
    images, labels = looking.example(cli_args("profile", "nin", "--batch", "400"))
    np.testing.assert_array_equal(images[360:], images[:40])  # there are 360
    assert images.shape == (400, 28, 28, 1)


def cli_args(*arguments: str) -> Any:
    from minigrad.cli import program

    return program.make_parser().parse_args(arguments)


def test_a_loss_is_found_for_any_output() -> None:
    class Twice(mg.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    images, labels = np.full((2, 3), 0.5, np.float32), np.array([8, 1])
    loss = looking.loss_of(Twice(), images, labels)
    assert loss.item() == pytest.approx(np.log(3))  # labels are taken modulo the classes
    assert looking.loss_of(Twice(), images[:, :1], labels).item() == pytest.approx(1.0)


def test_fetch_fills_a_folder_that_was_named(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def mnist(split: str, data_dir: Path) -> tuple[np.ndarray, np.ndarray]:
        asked.append((split, data_dir))
        return np.zeros((1234, 28, 28, 1)), np.zeros(1234)

    monkeypatch.setattr(machine.data, "mnist", mnist)
    folder = tmp_path / "new"
    code, out, err = run("fetch", "mnist", "--data-dir", folder)
    assert (code, err) == (0, "")
    assert asked == [("train", folder), ("test", folder)]
    assert out.splitlines()[0] == f"MNIST in {folder}:"
    assert "train  1,234 images" in out
    assert folder.is_dir()


def test_info_is_what_to_paste_into_a_bug_report(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run("info")
    assert (code, err) == (0, "")
    for section in ("versions:", "kernels:", "blas:", "data:", "packages:"):
        assert section in out
    mg.show_config()
    assert out == capsys.readouterr().out
