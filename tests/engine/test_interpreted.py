"""The engine is compiled, and its source runs where that is asked for or was edited."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import minigrad as mg
from minigrad import interpreted

STEP = """
import hashlib
import numpy as np
import minigrad as mg
import minigrad.functional as F
from minigrad.engine import walk

mg.manual_seed(0)
model = mg.models.nin(batch_norm=True)
images = mg.Tensor(np.random.default_rng(0).standard_normal((4, 28, 28, 1)), dtype=np.float32)
F.cross_entropy(model(images), np.arange(4)).backward()
x = mg.Tensor([1.0, 2.0], requires_grad=True)
slopes = mg.grad(mg.grad((x * x * x).sum(), x, create_graph=True)[0].sum(), x)
gradients = [p.grad.data for p in model.parameters()] + [slopes[0].data]
print(walk.__code__.co_filename.startswith("/"), mg.config()["kernels"]["engine"])
print(hashlib.sha256(b"".join(g.tobytes() for g in gradients)).hexdigest())
"""


def run(interpreted: str) -> list[str]:
    environment = {**os.environ, "MINIGRAD_INTERPRETED": interpreted}
    command = [sys.executable, "-W", "error", "-c", STEP]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_source_and_compiled_engine_compute_the_same_bits() -> None:
    compiled, source = run("0"), run("1")
    assert compiled[0] == "False compiled"
    assert source[0] == "True interpreted (MINIGRAD_INTERPRETED asks for it)"
    assert compiled[1] == source[1]


@pytest.mark.parametrize(("later", "edited"), [(-60, False), (5, False), (60, True)])
def test_what_was_edited_after_it_was_compiled_runs_from_its_source(
    later: float, edited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, compiled = tmp_path / "engine.py", tmp_path / f"engine{EXTENSION_SUFFIXES[0]}"
    monkeypatch.setattr(interpreted, "stem", lambda module: str(tmp_path / module))
    assert not interpreted.edited("engine")  # without a source
    source.touch()
    assert interpreted.edited("engine")  # it never was compiled
    compiled.touch()
    time = compiled.stat().st_mtime + later
    os.utime(source, (time, time))
    assert interpreted.edited("engine") == edited
    monkeypatch.setattr(interpreted, "MODULES", ("engine",))
    monkeypatch.delenv("MINIGRAD_INTERPRETED", raising=False)
    why = "not compiled as it stands: engine" if edited else None
    assert interpreted.reason() == why


def test_the_configuration_says_which_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreted, "why", "not compiled as it stands: engine")
    expected = "interpreted (not compiled as it stands: engine)"
    assert mg.config()["kernels"]["engine"] == expected
