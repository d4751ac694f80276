"""`mg.show_config`: what goes into a bug report."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg


def test_says_versions_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    config = mg.config()
    assert config["versions"]["numpy"] == np.__version__
    assert config["versions"]["python"].endswith(platform.python_version())
    assert config["environment"]["OMP_WAIT_POLICY"] == "passive"
    assert "OPENBLAS_CORETYPE" not in config["environment"]
    assert config["kernels"]["threads"] == str(mg.get_num_threads())
    assert config["blas"]["library"] == "OpenBLAS"
    with mg.kernels("reference"):
        assert mg.config()["kernels"]["dial"] == "reference"


def test_says_where_data_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").touch()
    (tmp_path / "t10k-labels-idx1-ubyte").touch()
    assert mg.config()["data"]["named"] == f"{tmp_path} (2 of 4 files)"
    monkeypatch.delenv("MINIGRAD_DATA")
    assert list(mg.config()["data"]) == ["cache"]


def test_an_isa_that_was_asked_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_ISA", raising=False)
    assert mg.config()["kernels"]["isa"].endswith("(the best that this CPU has)")
    monkeypatch.setenv("MINIGRAD_ISA", "avx2")
    assert mg.config()["kernels"]["isa"].endswith("(MINIGRAD_ISA=avx2 asks for it)")


def test_is_printed_section_by_section(capsys: pytest.CaptureFixture[str]) -> None:
    mg.show_config()
    out = capsys.readouterr().out
    for section, entries in mg.config().items():
        assert f"{section}:\n" in out
        for value in entries.values():
            assert value in out
