"""What `mg.profile` counts, and that it leaves no trace when it is closed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad.observing import observers


def tensor(*shape: int, requires_grad: bool = True) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(0).random(shape, np.float32), requires_grad)


def events(p: mg.profile, name: str) -> list[tuple[str, int, int]]:
    return [(e.phase, e.flops, e.nbytes) for e in p.events if e.name == name and len(e.path) == 1]


def test_convolution_by_hand() -> None:
    x, w, b = tensor(2, 5, 4, 6), tensor(3, 3, 3, 8), tensor(8)
    with mg.profile() as p:
        y = F.conv2d(x, w, b, padding=1, groups=2)
        y.backward(np.ones(y.shape, np.float32))
    flops = 2 * (2 * 5 * 4 * 8) * (3 * 3 * 3)  # pixels and channels out, times taps and channels in
    sizes = 2 * 5 * 4 * 6, 3 * 3 * 3 * 8, 8, 2 * 5 * 4 * 8
    forward = 4 * sum(sizes)
    # g, x and w come in; dx, dw and db go out
    backward = 4 * (sizes[3] + sizes[0] + sizes[1] + sum(sizes[:3]))
    bias = 2 * 5 * 4 * 8  # an addition for each number, either way
    assert events(p, "conv2d") == [
        ("forward", flops + bias, forward),
        ("backward", 2 * flops + bias, backward),
    ]
    assert [e.shape for e in p.events if len(e.path) == 1] == [(2, 5, 4, 8)] * 2
    assert {e.name for e in p.events} == {"conv2d"}  # backward is one kernel, no ops


def test_ops_that_a_rule_calls_are_nested() -> None:
    g, w = tensor(2, 3, 2, 4, requires_grad=True), tensor(3, 3, 3, 4)
    with mg.profile() as p:
        dx = F.conv2d_input_grad(g, w, input_shape=(2, 5, 4, 3))
        dx.backward(np.ones(dx.shape, np.float32))
    flops = 2 * (2 * 3 * 2 * 4) * (3 * 3 * 3)
    nested = {e.name: (e.phase, e.flops) for e in p.events if e.path[:-1] == ("input_grad",)}
    assert nested["conv2d"] == ("backward", flops)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)])
def test_only_gradients_that_are_computed_count(wanted: tuple[bool, bool]) -> None:
    x, y = tensor(3, 4, requires_grad=wanted[0]), tensor(4, 5, requires_grad=wanted[1])
    with mg.profile() as p:
        (x @ y).backward(np.ones((3, 5), np.float32))
    flops = 2 * 3 * 4 * 5
    phases = [(phase, count) for phase, count, _ in events(p, "matmul")]
    assert phases == [("forward", flops), ("backward", sum(wanted) * flops)]


def test_factors_that_are_plain_arrays_count() -> None:
    x, w = tensor(2, 5, 5, 3), np.ones((3, 3, 3, 4), np.float32)
    with mg.profile() as p:
        F.conv2d(x, w).sum().backward()
        (tensor(3, 4) @ np.ones((4, 5), np.float32)).sum().backward()
    flops = 2 * (2 * 3 * 3 * 4) * (3 * 3 * 3)
    assert [event[1] for event in events(p, "conv2d")] == [flops] * 2
    assert [event[1] for event in events(p, "matmul")] == [2 * 3 * 4 * 5] * 2


def test_other_ops_count_numbers_and_views_nothing() -> None:
    x = tensor(3, 4)
    with mg.profile() as p:
        (F.exp(x) + 1.0).reshape(12).sum().backward()
    assert events(p, "exp")[0] == ("forward", 12, 2 * 4 * 12)
    assert events(p, "sum")[0] == ("forward", 12, 4 * 13)
    assert events(p, "reshape") == [("forward", 0, 0), ("backward", 0, 0)]
    assert events(p, "add")[1] == ("backward", 0, 0)  # it hands its gradient on


def test_conv_blocks_and_optimizer_are_all_there() -> None:
    model, x = mg.models.nin(batch_norm=True), tensor(4, 28, 28, 1, requires_grad=False)
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
    with mg.profile() as p:
        F.cross_entropy(model(x), np.arange(4)).backward()
        optimizer.step()
    convolutions = [e for e in p.events if e.name.startswith("conv2d") and len(e.path) == 1]
    assert [e.phase for e in convolutions] == ["forward"] * 9 + ["backward"] * 9
    count = sum(parameter.size for parameter in model.parameters())
    assert events(p, "SGD.step") == [("update", count, 3 * 4 * count)]
    assert sum(e.seconds for e in p.events if len(e.path) == 1) <= p.seconds


def test_second_derivatives_are_seen() -> None:
    x, w = tensor(1, 4, 4, 2), tensor(3, 3, 2, 2)
    (g,) = mg.grad((F.conv2d(x, w) ** 2.0).sum(), x, create_graph=True)
    with mg.profile() as p:
        (g**2.0).sum().backward()
    flops = 2 * (2 * 2 * 2) * (3 * 3 * 2)
    assert events(p, "input_grad")[0][:2] == ("backward", 2 * flops)


def test_results_are_the_same_under_a_profile() -> None:
    x, w = tensor(2, 6, 6, 3), tensor(3, 3, 3, 4)

    def gradients() -> list[bytes]:
        loss = F.max_pool2d(F.conv2d(x, w, activation="relu"), kernel_size=2).sum()
        return [g.data.tobytes() for g in mg.grad(loss, [x, w]) if g is not None]

    plain = gradients()
    with mg.profile():
        assert gradients() == plain


def test_a_profile_shows_its_table_wherever_it_is_shown() -> None:
    with mg.profile() as p:
        F.relu(tensor(2))
    assert repr(p) == str(p) == p.table()
    assert "relu" in repr(p)


def test_times_are_those_of_the_ops() -> None:
    @mg.op
    def wait(x):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return x + 0

    wait.vjp(x=lambda g: (time.sleep(0.03), g + 0)[1])
    with mg.profile() as p:
        wait(tensor(2)).backward(np.ones(2, np.float32))
        time.sleep(0.02)
    forward, backward = (e.seconds for e in p.events if e.name == "wait")
    assert forward >= 0.02  # a sleep never ends early
    assert backward >= 0.03
    assert p.seconds >= forward + backward + 0.02


def test_ops_inside_ops_are_below_them() -> None:
    @mg.op
    def outer(x):  # type: ignore[no-untyped-def]
        return F.exp(F.exp(x))

    outer.vjp(x=lambda g: g)
    with mg.profile() as p:
        outer(tensor(2))
    assert [e.path for e in p.events] == [("outer",), ("outer", "exp"), ("outer", "exp")]
    outermost, *inner = p.events
    assert outermost.seconds >= sum(e.seconds for e in inner)
    lines = [line.split()[:2] for line in p.table().splitlines()]
    assert lines[1:3] == [["outer", "1"], ["exp", "2"]]
    assert p.table().splitlines()[2].startswith("  exp")


def test_nested_profiles_both_see_and_one_cannot_be_opened_twice() -> None:
    x = tensor(2)
    with mg.profile() as a:
        F.exp(x)
        with mg.profile() as b:
            F.log(x)
        with pytest.raises(RuntimeError, match=r"profile: .* open already"), a:
            pass
        F.exp(x)
    assert [e.name for e in a.events] == ["exp", "log", "exp"]
    assert [e.name for e in b.events] == ["log"]
    before = a.seconds
    with a:
        F.exp(x)
    assert len(a.events) == 4
    assert a.seconds > before


def test_nothing_is_left_behind_even_after_an_error() -> None:
    x = tensor(2, 3)
    with mg.profile() as p:
        assert observers == [p]
        with pytest.raises(ValueError, match="matmul"):
            x @ tensor(2, 3)
        with pytest.raises(ValueError, match="add"):
            F.add(x, tensor(7))
        F.exp(x)
    with pytest.raises(KeyError), mg.profile():
        raise KeyError
    assert [e.path for e in p.events][-1] == ("exp",)  # the one that failed was closed
    assert not observers


def test_other_threads_are_not_recorded_and_not_disturbed() -> None:
    x, done = tensor(2), []

    def elsewhere() -> None:
        y = F.log(x)
        y.sum().backward()
        with mg.profile() as inner:
            F.exp(x)
        done.append([e.name for e in inner.events])

    with mg.profile() as p:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        F.tanh(x)
    assert done == [["exp"]]
    assert [e.name for e in p.events] == ["tanh"]


def test_table_adds_up() -> None:
    with mg.profile() as p:
        F.exp(tensor(100, 100)).sum().backward()
    lines = str(p).splitlines()
    assert lines[0].split()[:2] == ["op", "calls"]
    assert len({len(line) for line in lines}) == 1  # aligned
    shares = {line.split("  ")[0].strip(): float(line.split()[-1][:-1]) for line in lines[1:]}
    assert shares["all"] + shares["between ops"] == pytest.approx(100, abs=0.11)  # rounded to 0.1
    assert shares["all"] == pytest.approx(shares["exp"] + shares["sum"], abs=0.16)


def test_empty_and_open_profiles_can_be_printed() -> None:
    with mg.profile() as p:
        F.exp(tensor(2))
        assert "exp" in str(p)
    assert "all" in str(mg.profile())


def test_trace_is_chromes(tmp_path: Path) -> None:
    with mg.profile() as p:
        F.exp(tensor(2)).sum().backward()
    p.save(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(trace) == len(p.events)
    assert {"name", "ph", "ts", "dur", "pid", "tid"} <= trace[0].keys()
    assert (trace[0]["name"], trace[0]["ph"], trace[0]["ts"]) == ("exp", "X", 0)
    starts = [event["ts"] for event in trace]
    assert starts == sorted(starts)
    mg.profile().save(tmp_path / "empty.json")
    assert json.loads((tmp_path / "empty.json").read_text())["traceEvents"] == []


@pytest.mark.parametrize("beside", [nullcontext, mg.trace])
def test_sums_over_what_was_repeated_are_events(beside: Callable[[], Any]) -> None:
    x, b = tensor(3, 4), tensor(4)
    with mg.profile() as p, beside():
        (x + b).sum().backward()
    # from the sum and the addition; 12 numbers in, 4 out
    assert events(p, "unbroadcast") == [("backward", 12, 4 * (12 + 4))]
    assert [e.shape for e in p.events if e.name == "unbroadcast"] == [(4,)]
    assert b.grad is not None
    assert b.grad.tolist() == [3.0] * 4

    @mg.op
    def half(x):  # type: ignore[no-untyped-def]
        return x * 0.5

    half.vjp(x=lambda g: 0.5)  # a Python number, which the engine makes an array of
    with mg.profile():
        half(tensor(1)).sum().backward()
