"""`mg.summary`: every op at the layer that ran it, and a model left as it was."""

from __future__ import annotations

import json
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.engine import Node
from minigrad.flops import Work

METHODS = Node.__init__, nn.Module.__call__


def by_name(summary: Any) -> dict[str | None, Any]:
    return {layer.name: layer for layer in summary.layers}


class Block(nn.Module):
    """A layer, functional calls, and a parameter of its own."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(np.ones(4, np.float32))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x + F.relu(self.conv(x)) * self.scale


# ---------------------------------------------------------------------------------- who ran what


def test_nin_by_hand() -> None:
    summary = mg.summary(mg.models.nin(), (8, 28, 28, 1))
    layers = by_name(summary)
    assert summary.total.parameters == 70_986
    assert layers["0.0.0"].output_shapes == ((8, 28, 28, 32),)
    pixels, weights, outputs = 8 * 28 * 28, 3 * 3 * 32, 8 * 28 * 28 * 32
    first = layers["0.0.0"].total
    assert first.parameters == weights + 32
    assert first.forward == Work(pixels * weights, 2 * pixels * weights + 2 * outputs)  # bias, ReLU
    assert first.backward == first.forward
    assert first.kept_bytes == 4 * (pixels + outputs)  # the images, and the result for its ReLU
    assert layers["0.1.0"].total.kept_bytes == 4 * outputs  # its input is kept already
    assert layers["0"].total.flops == sum(layers[f"0.{i}.0"].total.flops for i in range(3))
    assert layers["1"].total.kept_bytes == outputs // 4  # a tap of one byte for each maximum
    assert layers["2"].total.kept_bytes == 0  # dropout keeps no mask


def test_all_adds_up() -> None:
    summary = mg.summary(mg.models.bottleneck(), (2, 28, 28, 1))
    own = [layer.own for layer in summary.layers]
    assert summary.total.flops == sum(cost.flops for cost in own)
    assert summary.total.kept_bytes == sum(cost.kept_bytes for cost in own)
    assert sum(summary.share(cost) for cost in own) == pytest.approx(1)  # of floats
    assert summary.total.parameters == sum(p.size for p in mg.models.bottleneck().parameters())


def test_functional_calls_belong_to_the_module_that_makes_them() -> None:
    summary = mg.summary(Block(), (2, 5, 5, 4))
    n = 2 * 5 * 5 * 4
    assert [layer.name for layer in summary.layers] == ["", "conv"]
    root, conv = summary.layers
    assert root.ops == ["relu", "mul", "add"]
    assert root.own.parameters == 4
    assert root.own.forward == Work(0, 3 * n)
    assert root.own.backward == Work(0, n + 3 * n)  # ReLU; both sides of mul, with a sum for scale
    assert conv.total.forward == Work(n * 36, n * (2 * 36 + 1))


def test_blocks_show_what_they_do_themselves() -> None:
    inception = nn.Inception(4, 2, 2, 2, 2, 2, 2)
    assert mg.summary(inception, (6, 6, 4)).root.ops == ["concatenate"]
    names = [layer.name for layer in mg.summary(nn.Bottleneck(4, 2, 4), (6, 6, 4)).layers]
    assert names[:3] == ["", "residual.0", "residual.0.0"]  # it calls them by way of a Sequential


def test_a_module_called_twice_has_one_layer_and_twice_the_cost() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(4, 4)

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return self.linear(self.linear(x))

    layer = mg.summary(Twice(), (3, 4))["linear"]
    products = 3 * 4 * 4
    assert (layer.calls, layer.total.parameters) == (2, 20)
    assert layer.total.forward.multiply_adds == 2 * products
    assert layer.total.backward.multiply_adds == 3 * products  # the input wants no gradient


def test_a_module_in_two_places_is_in_both_and_its_parameters_in_one() -> None:
    shared = nn.Linear(4, 4)
    summary = mg.summary(nn.Sequential(nn.Sequential(shared), nn.Sequential(shared)), (3, 4))
    first, second = (layer for layer in summary.layers if layer.module is shared)
    assert first.total.forward == second.total.forward
    assert (first.total.parameters, second.total.parameters) == (20, 0)
    assert str(summary).count("shared") == 1


def test_what_the_model_does_not_hold_or_does_not_call() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Sequential(nn.ReLU())
            self.inner.unused = nn.Linear(2, 3)
            self.hidden = {nn.Linear(4, 4)}  # a set is not looked into

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return self.inner(next(iter(self.hidden))(x))

    summary = mg.summary(Odd(), (3, 4))
    layers = by_name(summary)
    assert layers[None].total.parameters == 20
    assert layers[None].total.kept_bytes == 3 * 4 * 4  # the input, no weights
    assert layers["inner.unused"].calls == 0
    assert layers["inner"].total.parameters == 9
    assert summary.total.parameters == 29
    assert "not called" in str(summary)


def test_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: mg.Tensor, y: mg.Tensor) -> dict[str, Any]:
            return {"product": x @ y, "both": [x, (y, 7)]}

    summary = mg.summary(Two(), ((2, 3), (3, 5)))
    assert summary.total.forward.multiply_adds == 2 * 3 * 5
    assert summary.root.output_shapes == ((2, 5), (2, 3), (3, 5))
    assert summary.total.backward == Work()  # nothing wants a gradient


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ((4,), (1, 4)),
        ((2, 4), (2, 4)),
        ([5, 6, 4], (1, 5, 6, 4)),
        ((np.int64(3), 5, 6, 4), (3, 5, 6, 4)),
        (((5, 6, 4),), (5, 6, 4)),
        ([[4]], (4,)),
    ],
)
def test_a_batch_of_one_is_added_to_rows_and_images(given: Any, used: tuple[int, ...]) -> None:
    summary = mg.summary(nn.ReLU(), given)
    assert summary.input_shapes == (used,)
    assert summary.root.output_shapes == (used,)


def test_frozen_parameters_cost_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 2))
    summary = mg.summary(model, (3, 4))
    assert summary["0"].total.backward == Work()
    assert summary["1"].total.backward == Work(3 * 8, 2 * 3 * 8 + 3 * 2)
    assert "20 of the parameters are frozen" in str(summary)
    assert summary.total.kept_bytes == 3 * 4 * 4  # the input of the second; no weights
    assert mg.summary(model.requires_grad_(False), (3, 4)).total.backward == Work()


def test_a_checkpoint_computes_again_in_backward() -> None:
    class Checkpointed(nn.Sequential):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return mg.checkpoint(super().forward, x)

    layers = nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2)
    plain = mg.summary(nn.Sequential(*layers), (3, 4))
    again = mg.summary(Checkpointed(*layers), (3, 4))
    assert [layer.name for layer in again.layers] == [layer.name for layer in plain.layers]
    for name in ("", "0", "1.1", "2"):
        assert again[name].calls == 1
        forward, backward = again[name].total.forward, again[name].total.backward
        assert forward == plain[name].total.forward
        assert backward == plain[name].total.backward + forward
    assert again.total.kept_bytes == 3 * 4 * 4  # the argument alone


def test_the_dtype_is_the_models() -> None:
    single = mg.summary(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (3, 4))
    double = mg.summary(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).astype(np.float64), (3, 4))
    assert double.total.kept_bytes == 2 * single.total.kept_bytes == 2 * 2 * 4 * 3 * 4


# ------------------------------------------------------------------------------------ what is kept


class Keeper(nn.Module):
    """`exp` keeps its result, `mul` its factors; a slice is a view of memory kept whole."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        y = F.exp(x * self.weight)
        z = y + 1.0  # kept by nobody but for its view
        return (y * y)[:, 1:] + z[:, 1:] * z[:, 2:]


def test_each_array_is_kept_once_views_by_their_base_and_no_parameters() -> None:
    one = 4 * 6 * 3  # bytes of the input, y or z
    assert mg.summary(Keeper(), (6, 3)).total.kept_bytes == 3 * one


# ------------------------------------------------------------------------------------- peak memory


def test_peak_memory_is_that_of_arrays() -> None:
    """exp of exp of ...: k results are kept, and backward has two gradients at a time."""

    class Chain(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.zeros((), np.float32))

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            x = x * self.scale
            for _ in range(8):
                x = F.tanh(x)
            return x

    size = 4 * 100_000
    summary = mg.summary(Chain(), (1, 100_000))
    assert summary.total.kept_bytes == 9 * size
    # the output's node keeps 8 results, mul its input; beside them the product in the beginning,
    # or the seed and what rules make for a moment in the end: between 1 and 5 more
    assert 10 * size <= summary.peak_bytes <= 14 * size


def test_a_trace_of_memory_goes_on() -> None:
    assert not tracemalloc.is_tracing()
    mg.summary(nn.ReLU(), (4,))
    assert not tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        high = np.ones(2_000_000, np.float32)
        lasting = np.ones(1_000_000, np.float32)
        del high
        assert mg.summary(nn.ReLU(), (4,)).peak_bytes < 1_000_000
        assert tracemalloc.is_tracing()
        del lasting
    finally:
        tracemalloc.stop()


# --------------------------------------------------------------------------------- nothing is left


class Sensitive(nn.Module):
    """Everything that running a model can change."""

    def __init__(self) -> None:
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5, rng=np.random.default_rng(3))
        self.noise = nn.Dropout(0.5)
        self.steps, self.seen = 0, mg.Tensor(np.zeros(2, np.float32))
        self.count = mg.Tensor([0.0])

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.steps += 1
        self.last = x
        self.seen = mg.Tensor(self.seen.data + 1)
        self.count.data = self.count.data + 1
        return self.noise(self.drop(self.norm(x)))


def test_the_model_is_left_as_it_was() -> None:
    model = Sensitive()
    model.norm.eval()
    model.norm.weight.grad = mg.Tensor([5.0, 6.0])
    called = []
    model.norm.bias.register_hook(called.append)
    attributes = [dict(vars(module)) for module in model.modules()]
    state, seen = model.state_dict(), model.seen
    mg.manual_seed(1)
    expected = mg.default_rng().random(), np.random.default_rng(3).random()
    mg.manual_seed(1)
    summary = mg.summary(model, (4, 4, 2))
    assert summary.root.ops == []
    assert summary["norm"].ops == ["normalize"]  # it was run as in training
    assert (mg.default_rng().random(), model.drop.rng.random()) == expected  # type: ignore[union-attr]
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert model.seen is seen
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert model.norm.weight.grad.tolist() == [5.0, 6.0]
    assert model.norm.bias.grad is None
    assert called == []
    assert (Node.__init__, nn.Module.__call__) == METHODS
    model.norm.bias.sum().backward()
    assert len(called) == 1


def test_an_error_names_the_layer_and_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), nn.ReLU()).eval()
    with pytest.raises(ValueError, match="matmul") as caught:
        mg.summary(model, (3, 5))
    assert caught.value.__notes__ == ["This happened in '0.1' (Linear), given (3, 5)."]
    assert (Node.__init__, nn.Module.__call__) == METHODS
    assert not any(module.training for module in model.modules())
    with pytest.raises(ValueError, match="conv2d") as caught:
        mg.summary(nn.Conv2d(3, 3, 1), (8, 8, 2))
    assert caught.value.__notes__ == ["This happened in the model (Conv2d), given (1, 8, 8, 2)."]


def test_it_does_not_matter_where_it_is_called() -> None:
    class Log(nn.Module):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return F.log(x - 1.0)  # -Inf for inputs of ones

    model, OPS = nn.Sequential(Log(), nn.Linear(4, 4)), ["sub", "log", "matmul", "add"]
    expected = mg.summary(model, (3, 4)).to_dict()["layers"]
    with mg.no_grad(), mg.detect_anomaly(), mg.profile() as p:
        assert mg.summary(model, (3, 4)).to_dict()["layers"] == expected
    assert [e.name for e in p.events if e.phase == "forward"] == [*OPS, *OPS]


def test_other_threads_are_neither_counted_nor_disturbed() -> None:
    done: list[Any] = []

    class Parallel(nn.Module):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            def elsewhere() -> None:
                inner = mg.summary(nn.Linear(4, 4), (3, 4))
                done.append((nn.ReLU()(F.exp(x)), inner.total.parameters))

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            return F.tanh(x)

    summary = mg.summary(Parallel(), (3, 4))
    assert [layer.ops for layer in summary.layers] == [["tanh"]]
    assert [parameters for _, parameters in done] == [20, 20]


# ----------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize("shape", [(), (3, 0), (3, -1), (3, 2.5), "abc", ((3, 4), 5), None, 7])
def test_shapes_must_be_shapes(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"summary: input_shape expects \(H, W, C\)"):
        mg.summary(nn.ReLU(), shape)


@pytest.mark.parametrize(
    ("model", "got"),
    [(mg.models.nin, "the function nin"), (nn.ReLU, "the type ReLU"), (None, "NoneType")],
)
def test_models_must_be_modules(model: Any, got: str) -> None:
    with pytest.raises(TypeError, match=f"model expects a module, got {got}; pass an object"):
        mg.summary(model, (28, 28, 1))


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="no layer 'conv9'; there are 'conv'"):
        mg.summary(Block(), (5, 5, 4))["conv9"]


# ---------------------------------------------------------------------------------- for programs


def test_the_dict_is_json_and_has_all_numbers() -> None:
    summary = mg.summary(Block(), (2, 5, 5, 4))
    data = json.loads(json.dumps(summary.to_dict()))
    assert data["model"] == "Block"
    assert data["input_shapes"] == [[2, 5, 5, 4]]
    root, conv = data["layers"]
    assert (root["name"], conv["type"], conv["calls"]) == ("", "Conv2d", 1)
    assert conv["forward_flops"] == summary["conv"].total.forward.flops
    assert root["backward_multiply_adds"] == conv["backward_multiply_adds"] == 200 * 36
    assert root["kept_bytes"] == summary.total.kept_bytes
    assert root["share"] == 1
