"""Observers see what their thread does, and change nothing of it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from leaves import leaf

import minigrad as mg
import minigrad.functional as F
from minigrad import nn, optim
from minigrad.observing import Observer, Run, observers


class Everything(Observer):
    """Writes down what begins and what ends."""

    def __init__(self, seen: list[str], name: str = "") -> None:
        self.seen, self.name = seen, name

    def _around(self, run: Run, what: str) -> Any:
        self.seen.append(f"{self.name}{what}")
        out = run()
        self.seen.append(f"{self.name}/{what}")
        return out

    def call(self, run: Run, op: Any, *_: Any) -> Any:
        return self._around(run, op.name)

    def forward(self, run: Run, module: nn.Module, *_: Any) -> Any:
        return self._around(run, type(module).__name__)

    def backward(self, run: Run, *_: Any) -> Any:
        return self._around(run, "backward")

    def gradients(self, run: Run, node: Any, *_: Any) -> Any:
        return self._around(run, f"d {node.op.name}")

    def fit(self, run: Run, node: Any, *_: Any) -> Any:
        return self._around(run, f"fit {node.op.name}")

    def step(self, run: Run, *_: Any) -> Any:
        return self._around(run, "step")


def test_sees_all_of_a_step() -> None:
    model = nn.Sequential(nn.ReLU())
    x = leaf(1.0, -2.0)
    optimizer = optim.SGD([x], lr=0.5)
    with Everything([]) as observer:
        y = model(x) * mg.Tensor([[2.0, 4.0], [1.0, 1.0]])
        y.backward(np.ones((2, 2), np.float32))
        optimizer.step()
    assert not observers
    forward = ["Sequential", "ReLU", "relu", "/relu", "/ReLU", "/Sequential", "mul", "/mul"]
    of_mul = ["d mul", "/d mul", "fit mul", "/fit mul"]
    of_relu = ["d relu", "relu_grad", "/relu_grad", "/d relu"]
    backward = ["backward", *of_mul, *of_relu, "/backward"]
    assert observer.seen == [*forward, *backward, "step", "/step"]
    assert x.data.tolist() == [1.0 - 0.5 * 3.0, -2.0]
    seen = list(observer.seen)
    F.relu(x).sum().backward()
    assert observer.seen == seen


def test_the_last_one_stands_outermost() -> None:
    seen: list[str] = []
    with Everything(seen, "a "), Everything(seen, "b "):
        F.exp(leaf(1.0))
    assert seen == ["b exp", "a exp", "a /exp", "b /exp"]


def test_what_an_observer_does_not_define_just_happens() -> None:
    class Steps(Observer):
        def step(self, run: Run, *_: Any) -> Any:
            return run()

    x = leaf(2.0)
    with Steps():
        (x * x).backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0


def test_an_error_passes_through_and_closes_it() -> None:
    with pytest.raises(ValueError, match="add"), Everything([]):
        F.add(leaf(1.0, 2.0), leaf(1.0, 2.0, 3.0))
    assert not observers


def test_other_threads_are_not_seen() -> None:
    with Everything([]) as observer:
        thread = threading.Thread(target=lambda: F.exp(leaf(1.0)))
        thread.start()
        thread.join()
    assert observer.seen == []


def test_one_observer_is_open_once_at_a_time() -> None:
    observer = Everything([])
    with observer, pytest.raises(RuntimeError, match=r"observer: .* open already"), observer:
        pass
    with observer:
        F.exp(leaf(1.0))
    assert observer.seen == ["exp", "/exp"]


def test_nodes_note_the_modules_line_and_not_the_observers() -> None:
    class Forwards(Observer):
        def forward(self, run: Run, *_: Any) -> Any:
            return run()

    model, x = nn.Linear(2, 3), mg.Tensor([[1.0, 2.0]])
    alone = model(x).node
    with Forwards():
        seen = model(x).node
    assert seen is not None
    assert (seen.code, seen.instruction) == (alone.code, alone.instruction)
    assert seen.code.co_filename.endswith("layers.py")


def test_arguments_may_have_any_name() -> None:
    class Scaled(nn.Module):
        def forward(self, x: mg.Tensor, **factors: float) -> mg.Tensor:
            return x * sum(factors.values())

    names = ("what", "of", "function", "run", "module")

    class Outer(nn.Module):
        def __init__(self) -> None:
            self.inner = Scaled()

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return self.inner(x, **dict.fromkeys(names, 1.0))

    with mg.profile():
        assert Outer()(leaf(1.0)).tolist() == [5.0]
    assert "Scaled" in str(mg.summary(Outer(), (2, 1)))
