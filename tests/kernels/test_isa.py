"""The instruction set: the best that the CPU has, or what MINIGRAD_ISA asks for."""

import subprocess
import sys

import pytest

import minigrad_ext
from minigrad_ext import isa

PROGRAM = """
import numpy as np, minigrad_ext as ext
rng = np.random.default_rng(0)
shapes = (2, 13, 15, 40), (3, 3, 40, 72), 72
x, w, b = ((rng.integers(-32, 33, shape) / 16).astype("f4") for shape in shapes)
one = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
def results():
    y = ext.conv2d(x, w, b, **one, relu=True)
    return y, ext.conv2d_input_grad(y, w, input_shape=x.shape, **one), ext.conv2d_weight_grad(
        y, x, weight_shape=w.shape, **one)
with ext.kernels("direct"):
    got = results()
with ext.kernels("reference"):
    expected = results()
assert all(map(np.array_equal, got, expected))
print(ext.config()["isa"])
"""


def run(monkeypatch, name):
    monkeypatch.setenv("MINIGRAD_ISA", name)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )


def test_the_best_is_chosen(monkeypatch):
    monkeypatch.delenv("MINIGRAD_ISA", raising=False)
    assert isa.chosen() == isa.available()[0]


@pytest.mark.parametrize("name", isa.available())
def test_each_computes_exactly_what_the_twin_does(monkeypatch, name):
    done = run(monkeypatch, name)
    assert done.stdout.split() == [name], done.stderr


def test_unknown_name_is_refused_in_one_sentence(monkeypatch):
    done = run(monkeypatch, "avx1024")
    assert done.returncode == 1
    assert "MINIGRAD_ISA expects one of" in done.stderr.splitlines()[-1]
    assert "got 'avx1024'; unset it" in done.stderr.splitlines()[-1]


def test_config_names_it():
    assert minigrad_ext.config()["isa"] in isa.available()
