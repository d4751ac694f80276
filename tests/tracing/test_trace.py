"""The trace: what it says is what the engine did."""

from __future__ import annotations

import base64
import gc
import json
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.engine import Node


def sample(data: dict[str, Any], place: int | None) -> np.ndarray | None:
    """The numbers of an array that is written whole."""
    if place is None:
        return None
    row = data["arrays"][place]
    numbers = np.frombuffer(base64.b64decode(row["sample"]["data"]), row["sample"]["dtype"])
    assert [len(axis) for axis in row["sample"]["axes"]] == row["shape"]
    return numbers.reshape(row["shape"])


def backward_steps(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in data["steps"] if step["kind"] == "backward"]


def small() -> tuple[mg.Tensor, dict[str, mg.Tensor]]:
    x, w, b = (mg.Tensor(value, requires_grad=True) for value in (2.0, -3.0, 6.5))
    h = x * w + b
    loss = F.tanh(h * h + h) * 0.5
    return loss, {"x": x, "w": w, "b": b}


class Net(nn.Module):
    """Everything that keeps little: dropout, batch norm, pooling, a residual sum."""

    def __init__(self) -> None:
        self.first = nn.conv_block(1, 4, 3)
        self.block = nn.Bottleneck(4, 2, 4)
        self.drop = nn.Dropout(0.5)
        self.heads = [nn.Linear(4, 3)]

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        x = self.drop(self.block(self.first(x)))
        x = F.max_pool2d(x, kernel_size=2)
        return self.heads[0](F.global_avg_pool2d(x)) + 0.25


def network(seed: int = 0) -> tuple[mg.Tensor, Net]:
    mg.manual_seed(seed)
    model = Net()
    x = mg.Tensor(np.random.default_rng(1).standard_normal((2, 6, 6, 1)).astype(np.float32))
    return F.cross_entropy(model(x), np.array([0, 2])), model


def test_gradients_are_those_of_backward() -> None:
    loss, model = network()
    data = mg.trace(loss).data
    assert all(p.grad is None for p in model.parameters())
    loss.backward()  # the graph is still there
    by_name = {row["name"]: row for row in data["tensors"] if row["role"] == "parameter"}
    assert set(by_name) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert np.array_equal(sample(data, by_name[name]["grad"]), parameter.grad.data)
        assert np.array_equal(sample(data, by_name[name]["value"]), parameter.data)


@pytest.mark.parametrize("make", [small, network])
def test_recovered_values_are_the_recorded_ones_to_the_bit(make: Callable[[], Any]) -> None:
    kept = make()  # alive, because names are those of a living model
    recovered = mg.trace(kept[0]).data
    with mg.trace() as t:
        loss, _model = make()
        loss.backward()
    assert recovered["arrays"] == t.data["arrays"]
    assert recovered == t.data
    assert all(row["value"] is not None for row in recovered["tensors"])


def test_a_trace_changes_nothing() -> None:
    loss, model = network()
    statistics = {name: buffer.data.copy() for name, buffer in model.named_buffers()}
    state = mg.random.get_state()
    first = mg.trace(loss).data
    assert mg.random.get_state() == state
    for name, buffer in model.named_buffers():
        assert np.array_equal(buffer.data, statistics[name])
    assert mg.trace(loss).data == first
    assert all(type(node) is Node for node in _nodes(loss))


def _nodes(loss: mg.Tensor) -> list[Any]:
    found, stack = [], [loss.node]
    while stack:
        node = stack.pop()
        if isinstance(node, Node):
            found.append(node)
            stack.extend(node.parents)
    return found


def test_arrivals_are_counted_and_add_up() -> None:
    loss, _ = small()
    data = mg.trace(loss).data
    totals: dict[int, Any] = {}
    arrived: dict[int, int] = {}
    for step in backward_steps(data):
        output = data["nodes"][step["node"]]["output"]
        if output in totals:
            assert totals[output] == sample(data, step["g"])  # the sum of all is what is used
            assert output not in {p["tensor"] for p in step["passed"]}
        for passed in step["passed"]:
            tensor = passed["tensor"]
            assert data["nodes"][step["node"]]["inputs"][passed["input"]] == tensor
            arrived[tensor] = arrived.get(tensor, 0) + 1
            assert passed["arrived"] == arrived[tensor] <= passed["of"]
            gradient = sample(data, passed["gradient"])
            totals[tensor] = totals[tensor] + gradient if tensor in totals else gradient
            assert totals[tensor] == sample(data, passed["total"])
    by_name = {row["name"]: place for place, row in enumerate(data["tensors"])}
    assert arrived[by_name["h"]] == 3  # h * h takes it twice, and it is added once more
    assert all(
        p["of"] == arrived[p["tensor"]] for step in backward_steps(data) for p in step["passed"]
    )
    for tensor, total in totals.items():
        assert sample(data, data["tensors"][tensor]["grad"]) == total


def test_steps_are_in_the_engines_order() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    a = F.exp(x)
    b = F.tanh(x)
    c = a * b
    loss = (a + c).sum()
    order: list[str] = []
    for name, tensor in {"a": a, "b": b, "c": c}.items():
        tensor.register_hook(lambda g, name=name: order.append(name))
    data = mg.trace(loss).data
    names = [
        data["tensors"][data["nodes"][step["node"]]["output"]]["name"]
        for step in backward_steps(data)
    ]
    assert [name for name in names if name in ("a", "b", "c")] == order == ["c", "b", "a"]
    kinds = [step["kind"] for step in data["steps"]]
    nodes = len(data["nodes"])
    assert kinds == ["forward"] * nodes + ["seed"] + ["backward"] * nodes
    assert [step["node"] for step in data["steps"][:nodes]] == list(range(nodes))


def test_hooks_change_the_gradient_as_in_backward() -> None:
    x = mg.Tensor(3.0, requires_grad=True)
    y = x * 2.0
    y.register_hook(lambda g: g * 10.0)
    data = mg.trace(y * 1.0).data
    row = next(row for row in data["tensors"] if row["name"] == "x")
    assert sample(data, row["grad"]) == 20.0


def test_constants_that_no_rule_needs() -> None:
    x = mg.Tensor(np.ones(3), requires_grad=True)
    offset = np.arange(3.0)
    loss = ((x + 2.0) + offset).sum()
    data = mg.trace(loss).data
    constants = {r["name"]: r for r in data["tensors"] if r["role"] == "constant"}
    assert sample(data, constants[None]["value"]) == 2.0  # a number costs nothing to keep
    assert constants["offset"]["value"] is None
    total = data["tensors"][data["nodes"][1]["output"]]
    assert total["value"] is None
    assert total["shape"] == [3]
    assert sample(data, data["tensors"][data["loss"]]["value"]) == 12.0
    with mg.trace() as t:
        ((x + 2.0) + offset).sum().backward()
    assert all(row["value"] is not None for row in t.data["tensors"])


def test_in_place_changes_leave_no_wrong_values() -> None:
    x = mg.Tensor(np.ones(3), requires_grad=True)
    y = x * 1.0
    y += 2.0
    z = F.exp(y).sum()
    data = mg.trace(z).data
    values = [sample(data, data["tensors"][node["output"]]["value"]) for node in data["nodes"]]
    expected = [np.ones(3), np.full(3, 3.0), np.exp(np.full(3, 3.0)), 3 * np.exp(3.0)]
    for value, right in zip(values, expected, strict=True):
        # NumPy's exp may differ in the last place between array lengths
        np.testing.assert_allclose(value, right, rtol=1e-15)
    w = mg.Tensor(np.ones(3), requires_grad=True)
    loss = (w + 0.0).sum()
    with mg.no_grad():
        w += 5.0
    row = next(r for r in mg.trace(loss).data["tensors"] if r["role"] == "parameter")
    assert row["value"] is None  # it was 1 then and is 6 now


def test_results_have_the_dtype_of_what_they_were_written_to() -> None:
    x = mg.Tensor(np.ones(2, np.float32), requires_grad=True)
    y = x * 1.0
    y += np.full(2, 1e-9)  # float64, written to float32
    data = mg.trace((y + 0.0).sum()).data
    with mg.trace() as t:
        y = x * 1.0
        y += np.full(2, 1e-9)
        (y + 0.0).sum().backward()
    for each in (data, t.data):
        kinds = {each["arrays"][row["value"]]["dtype"] for row in _results(each) if row["value"]}
        assert kinds == {"float32"}


def _results(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [data["tensors"][node["output"]] for node in data["nodes"]]


def test_random_numbers_are_not_used_up() -> None:
    @mg.op
    def noisy(x: Any) -> Any:
        return x + mg.default_rng().standard_normal()

    noisy.vjp(x=lambda g: g)
    loss = noisy(mg.Tensor(1.0, requires_grad=True)) + 1.0
    state = mg.random.get_state()
    mg.trace(loss * 1.0)
    assert mg.random.get_state() == state


def test_a_recording_copies_and_may_be_nested() -> None:
    offset = np.array([1.0, 2.0])
    x = mg.Tensor(np.zeros(2), requires_grad=True)
    with mg.trace() as outer:
        with mg.trace() as inner:
            (x + offset).sum().backward()
        loss = (x + offset).sum()
        offset[:] = 7.0
        loss.backward()
    for t in (inner, outer):
        row = next(row for row in t.data["tensors"] if row["name"] == "offset")
        value = sample(t.data, row["value"])
        assert value is not None
        assert value.tolist() == [1.0, 2.0]
    assert outer.data["title"] == "loss 3"


def test_checkpoints_are_computed_again_during_backward() -> None:
    mg.manual_seed(0)
    w = mg.Tensor([0.5, -0.25], requires_grad=True)

    def block(h: mg.Tensor) -> mg.Tensor:
        return F.dropout(F.tanh(h * w), p=0.5) * w

    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    loss = mg.checkpoint(block, x).sum()
    data = mg.trace(loss).data
    ops = [
        (step["kind"], data["nodes"][step["node"]]["op"])
        for step in data["steps"]
        if "node" in step
    ]
    inside = ["mul", "tanh", "dropout", "mul"]
    assert ops == [
        ("forward", "checkpoint"),
        ("forward", "sum"),
        ("backward", "sum"),
        ("backward", "checkpoint"),
        *(("forward", op) for op in inside),
        *(("backward", op) for op in reversed(inside)),
    ]
    values = [sample(data, data["tensors"][n["output"]]["value"]) for n in data["nodes"]]
    assert np.array_equal(values[0], values[-1])
    assert data["nodes"][0]["expression"] == "mg.checkpoint(block, x)"
    loss.backward()
    assert w.grad is not None
    row = next(r for r in data["tensors"] if r["name"] == "w")
    assert np.array_equal(sample(data, row["grad"]), w.grad.data)


def test_recorded_checkpoints_show_what_a_trace_of_the_loss_shows() -> None:
    w = mg.Tensor([0.5, -0.25], requires_grad=True)
    x = mg.Tensor([1.0, 2.0], requires_grad=True)

    def loss() -> mg.Tensor:
        return mg.checkpoint(lambda h: F.tanh(h * w) * 2 + 1, x).sum()

    expected = mg.trace(loss()).data
    with mg.trace() as recorded:
        loss().backward()
    found = recorded.data
    assert [n["op"] for n in found["nodes"]] == [n["op"] for n in expected["nodes"]]
    assert found["steps"] == expected["steps"]
    for a, b in zip(found["tensors"], expected["tensors"], strict=True):
        for key in ("value", "grad"):
            assert np.array_equal(sample(found, a[key]), sample(expected, b[key]))


def test_a_loss_of_many_numbers_is_refused() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match=r"got shape \(2,\); sum it first, or record"):
        mg.trace(x * 2)


def test_memory_is_given_back() -> None:
    loss, model = network()
    gone = [weakref.ref(node_output) for node_output in _kept_arrays(loss)]
    model_gone = weakref.ref(model)
    t = mg.trace(loss)
    del loss, model
    gc.disable()
    try:
        assert [ref for ref in gone if ref() is not None] == []  # the trace holds samples alone
        assert model_gone() is None
    finally:
        gc.enable()
    assert t.data["nodes"]


def _kept_arrays(loss: mg.Tensor) -> list[np.ndarray]:
    arrays = [x for node in _nodes(loss) for x in node.kept or () if isinstance(x, np.ndarray)]
    return [x for x in arrays if x.ndim == 4]


def test_a_module_that_keeps_its_result_is_no_cycle() -> None:
    class Keeper(nn.Linear):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            self.last = super().forward(x)
            return self.last

    model = Keeper(2, 2)
    model(mg.Tensor(np.ones((1, 2), np.float32)))
    gone = weakref.ref(model)
    gc.collect()
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_threads_and_generators_have_modules_of_their_own() -> None:
    from minigrad.origin import scope

    class Slow(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter(np.ones(1))

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            seen = []
            thread = threading.Thread(target=lambda: seen.append((self.w * 2.0).node.scope))
            thread.start()
            thread.join()
            assert seen == [None]
            return x * self.w

    model = Slow()
    loss = model(mg.Tensor([1.0]))
    assert scope.get() is None
    assert loss.node is not None
    assert loss.node.scope is not None
    assert loss.node.scope.module() is model
    with pytest.raises(TypeError):
        model(None)
    assert scope.get() is None


def test_other_threads_are_not_recorded() -> None:
    def other() -> None:
        (mg.Tensor(2.0, requires_grad=True) * 3.0).backward()

    with mg.trace() as t:
        loss = mg.Tensor(2.0, requires_grad=True) * 4.0
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(t.calls) == 1
        loss.backward()
    assert t.data["title"] == "loss 8"


def test_statistics_are_exact_and_count_what_is_not_finite() -> None:
    values = np.array([0.0, 1.0, np.nan, np.inf, -np.inf, 5.0], np.float32)
    x = mg.Tensor(values, requires_grad=True)
    data = mg.trace((x * 1.0).sum()).data
    row = data["arrays"][data["tensors"][0]["value"]]
    expected = {"min": 0.0, "max": 5.0, "mean": 2.0, "zeros": 1 / 6, "nan": 1, "inf": 2}
    assert {key: row[key] for key in expected} == expected
    assert row["std"] == np.std([0.0, 1.0, 5.0])
    assert np.array_equal(sample(data, 0), values, equal_nan=True)
    json.loads(mg.trace((x * 1.0).sum()).to_json(), parse_constant=pytest.fail)


def test_large_tensors_are_sampled_exactly() -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 40, 40, 32)).astype(np.float32)
    x = mg.Tensor(image)
    w = mg.Tensor(rng.standard_normal((3, 3, 32, 256)).astype(np.float32), requires_grad=True)
    data = mg.trace(F.conv2d(x, w, padding=1).sum()).data
    node = data["nodes"][0]
    assert node["convolution"]["kernel"] == [3, 3]
    for place, array in zip(node["inputs"], (image, w.data), strict=True):
        row = data["arrays"][data["tensors"][place]["value"]]
        axes = row["sample"]["axes"]
        numbers = np.frombuffer(base64.b64decode(row["sample"]["data"]), "<f4")
        assert np.array_equal(numbers, array[np.ix_(*axes)].ravel())
        assert numbers.size <= 32768
        assert row["mean"] == array.astype(np.float64).mean()
        assert len(axes[-2 if array is w.data else -1]) == 32  # whole channels
        assert all(np.diff(axis).tolist() == [1] * (len(axis) - 1) for axis in axes)


def test_nin_stays_small() -> None:
    mg.manual_seed(0)
    model = mg.models.nin()
    images = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
    loss = F.cross_entropy(model(mg.Tensor(images)), np.arange(8))
    assert len(mg.trace(loss).to_json()) < 3e6  # the page may have 2 MB


def test_what_cannot_be_traced_says_so() -> None:
    loss, _ = small()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"trace: the graph was freed .* before loss.backward"):
        mg.trace(loss)
    with pytest.raises(RuntimeError, match=r"trace: .* does not require a gradient"):
        mg.trace(mg.Tensor(1.0))
    with pytest.raises(RuntimeError, match=r"trace: .* not computed by any op"):
        mg.trace(mg.Tensor(1.0, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"trace: .* sum it first"):
        mg.trace(mg.Tensor([1.0, 2.0], requires_grad=True) * 2.0)
    with pytest.raises(TypeError, match="trace: expected the loss as a Tensor, got float"):
        mg.trace(1.0)  # type: ignore[arg-type]
    with mg.trace() as t, pytest.raises(RuntimeError, match="already"), t:
        pass
    with pytest.raises(RuntimeError, match="no backward pass was recorded"):
        _ = t.data


def test_the_page_and_the_notebook(tmp_path: Any) -> None:
    pytest.importorskip("minigrad.tracing.page")
    t = mg.trace(small()[0], title='a "title" & <more>')
    t.save(tmp_path / "trace.html")
    assert (tmp_path / "trace.html").read_text(encoding="utf-8").lstrip().startswith("<!")
    shown = t._repr_html_()
    assert shown.startswith('<iframe srcdoc="')
    assert shown.count("<") == 2  # all that is inside is escaped
    assert "6 ops" in repr(t)
