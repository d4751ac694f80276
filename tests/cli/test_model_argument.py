"""MODEL and RUN: what is built, what is refused, and whose line an error is said to come from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from minigrad import nn
from minigrad.cli.models import Model

NET = """\
from minigrad import nn
import beside

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, beside.CLASSES))

def wants(classes):
    return net()

def nothing():
    pass

def wrong():
    return nn.Conv2d(1, "many", 3)

class Wide(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(27, 10)

    def forward(self, x):
        return self.layer(x)

def lost():
    return {}["net"]

def outer():
    return lost()

def computed():
    return eval("1 / 0")

layer = nn.Linear(784, 10)

def five():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 5))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with net.py, where the process is."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "beside.py").write_text("CLASSES = 10\n")
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.split(" ")[0] in ("net", "beside", "other", "json"):
            del sys.modules[name]


def test_ours_are_built_as_training_builds_them() -> None:
    def parameters(model: Model) -> int:
        return sum(p.size for p in model.build().parameters())

    assert parameters(Model("nin", {"batch_norm": True})) == 71_402
    assert parameters(Model("nin", {"batch_norm": False})) == 70_986
    assert parameters(Model("bottleneck")) == 54_378


def test_a_function_of_a_file_is_called(folder: Path) -> None:
    assert isinstance(Model("net.py:net").build(), nn.Sequential)
    assert isinstance(Model(f"{folder}/net.py:Wide").build(), nn.Module)


def test_a_file_with_the_name_of_a_module_does_not_replace_it(folder: Path) -> None:
    import json

    (folder / "json.py").write_text(NET)
    assert isinstance(Model("json.py:net").build(), nn.Sequential)
    assert sys.modules["json"] is json


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("net.py:nett", "net.py has no function nett; did you mean net?"),
        ("net.py:xyz", "net.py has no function xyz; define one, as in `def xyz():`"),
        ("net.py:wants", "net.py:wants is called without arguments, but missing a required"),
        ("net.py:nothing", "net.py:nothing returns NoneType, expected an nn.Module"),
        ("net.py:wrong", "net.py, line 14: Conv2d: out_channels expects"),
        ("net.py:lost", "net.py, line 24: KeyError: 'net'"),
        ("net.py:outer", "net.py, line 24: KeyError: 'net'"),
        ("net.py:computed", "net.py, line 30: division by zero"),
        ("net.py:Wide", "net.py, line 21: matmul: expected shapes"),
        ("none.py:net", "there is no file none.py; MODEL is file.py:function"),
        ("net.py:layer", "net.py:layer is a network, expected a function that returns one"),
    ],
)
def test_failures_in_the_users_file_name_its_line(
    model: str, sentence: str, run: Callable[..., Any]
) -> None:
    code, out, err = run("summary", model)
    assert (code, out) == (1, "")
    assert err.startswith(f"minigrad summary: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_a_line_of_the_kernels_is_not_the_users(run: Callable[..., Any]) -> None:
    code, _, err = run("train", "net.py:five", "--data", "digits", "--limit-train", 64)
    assert code == 1
    assert err.startswith("minigrad train: softmax_cross_entropy: labels expects classes from 0 to")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ndef net(:\n", "other.py, line 2: SyntaxError: "),
        ("\nimport not_there_at_all\n", "other.py, line 2: No module named 'not_there_at_all'"),
        ("import sys\nsys.exit(3)\n", "other.py ends the program while it is loaded; put"),
    ],
)
def test_files_that_cannot_be_loaded(
    text: str, sentence: str, folder: Path, run: Callable[..., Any]
) -> None:
    (folder / "other.py").write_text(text)
    code, _, err = run("summary", "other.py:net")
    assert code == 1
    assert err.startswith(f"minigrad summary: {sentence}")


EVIL = "open('executed', 'w')\nfrom minigrad import nn\ndef net():\n    return nn.ReLU()\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("other.py:net", "name it yourself, with --model other.py:net"),
        ("other.py:net; rm x", "name it yourself, with --model 'other.py:net; rm x'"),
        ("\x1b[2J", "name it yourself, with --model MODEL"),
        (["nin"], "name it yourself, with --model MODEL"),
    ],
)
def test_a_run_of_another_network_says_what_to_add(
    name: Any, hint: str, folder: Path, make_run: Callable[..., Path], run: Callable[..., Any]
) -> None:
    (folder / "other.py").write_text(EVIL)
    code, _, err = run("eval", make_run(named=name))
    assert code == 1
    assert err.endswith(f"{hint}\n")
    assert not (folder / "executed").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "faces"}, "was trained on 'faces', expected mnist or digits"),
        ({"model_options": {"batch_norm": 1}}, "options of nin expect ['batch_norm']"),
        ({"model_options": {"classes": 10**9}}, "options of nin expect ['batch_norm']"),
        ({"model_options": ["batch_norm"]}, "options of nin expect ['batch_norm']"),
        ({"model_options": {"batch_norm": False}}, "does not fit nin: "),
        ({"named": "bottleneck", "model_options": {}}, "does not fit bottleneck: "),
    ],
)
def test_runs_that_make_no_sense_are_refused(
    changes: dict[str, Any],
    sentence: str,
    make_run: Callable[..., Path],
    run: Callable[..., Any],
) -> None:
    code, _, err = run("eval", make_run(**changes))
    assert code == 1
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_a_network_of_the_users_is_named_again(
    make_run: Callable[..., Path], run: Callable[..., Any]
) -> None:
    mg.manual_seed(0)
    path = make_run(Model("net.py:net").build(), named="net.py:net", model_options={})
    code, out, err = run("eval", path, "--model", "net.py:net")
    assert (code, err) == (0, "")
    assert "net.py:net, trained on the embedded UCI digits" in out
