"""Runs to evaluate, pictures to read, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from minigrad import cli
from minigrad.training import RunFolder

Result = tuple[int, str, str]  # exit code, output, errors


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`run("eval", folder)` returns the exit code, the output and the errors."""
    monkeypatch.setattr("sys.argv", ["minigrad"])
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)

    def call(*arguments: object) -> Result:
        threads = mg.get_num_threads()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else -1
        finally:
            mg.set_num_threads(threads)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A run of a network that has learned nothing, as training writes it."""

    def make(network: Any = None, *, named: Any = "nin", **changes: Any) -> Path:
        mg.manual_seed(0)
        model = network or mg.models.nin(batch_norm=True)
        arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
        meta = {
            "model": named,
            "model_options": {"batch_norm": True},
            "dataset": "digits",
            "image_shape": [28, 28, 1],
            "classes": 10,
        }
        with RunFolder(tmp_path / "run") as folder:
            folder.save(arrays, {**meta, **changes})
        return tmp_path / "run"

    return make


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A picture of a seven, black on white."""
    image = pytest.importorskip("PIL.Image")
    draw = pytest.importorskip("PIL.ImageDraw")
    picture = image.new("L", (300, 200), 255)
    draw.Draw(picture).line([(100, 30), (180, 35), (130, 170)], fill=0, width=12)
    picture.save(tmp_path / "seven.png")
    return tmp_path / "seven.png"
