"""state_dict and load_state_dict: all or nothing, and nothing in silence."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


def network(seed=0):
    mg.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 4, bias=False))


SHAPES = {
    "0.weight": (1, 1, 2, 3),
    "0.bias": (3,),
    "1.weight": (3,),
    "1.bias": (3,),
    "1.running_mean": (3,),
    "1.running_var": (3,),
    "2.weight": (3, 4),
}


def assert_same(state, expected):
    assert list(state) == list(expected)
    for name, array in state.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_names_and_shapes():
    assert {name: array.shape for name, array in network().state_dict().items()} == SHAPES


def test_state_is_a_copy():
    net = network()
    state = net.state_dict()
    before = state["2.weight"].copy()
    net[2].weight.data += 1
    np.testing.assert_array_equal(state["2.weight"], before)


def test_round_trip():
    net, other = network(0), network(1)
    net[1].running_mean.data[:] = 7
    assert other.load_state_dict(net.state_dict()) == ([], [])
    assert_same(other.state_dict(), net.state_dict())


def test_tensors_keep_their_identity_and_their_dtype():
    net = network()
    weight, array = net[2].weight, net[2].weight.data
    net.load_state_dict({name: np.ones(shape) for name, shape in SHAPES.items()})
    assert net[2].weight is weight
    assert weight.data is array
    assert weight.dtype == np.float32
    assert array.sum() == array.size


def test_tensors_and_integers_can_be_loaded():
    net = network()
    state = {name: np.full(shape, 2) for name, shape in SHAPES.items()}
    net.load_state_dict({**state, "0.bias": mg.Tensor([1.0, 2.0, 3.0])})
    assert net[0].bias.data.tolist() == [1, 2, 3]
    assert net[0].weight.data.max() == 2


def test_one_error_names_everything_and_nothing_changed():
    net = network()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["0.weight"], state["1.bias"]
    state["2.weight"] = state["2.weight"].T
    state["1.running_mean"] = np.array(["a", "b", "c"])
    state["3.weight"] = state["extra"] = np.zeros(1)
    with pytest.raises(ValueError, match=r"does not fit this Sequential, so nothing was") as raised:
        net.load_state_dict(state)
    message = str(raised.value)
    for part in [
        "'0.weight' is missing",
        "'1.bias' is missing",
        "'2.weight' expects shape (3, 4), got (4, 3)",
        "'1.running_mean' expects dtype float32, got <U1",
        "'3.weight' is unexpected",
        "'extra' is unexpected",
    ]:
        assert part in message
    assert "0.bias" not in message
    assert_same(net.state_dict(), before)


def test_not_strict_loads_what_is_there_and_returns_the_rest():
    net = network()
    other = net[2].weight.data.copy()
    result = net.load_state_dict({"0.bias": np.ones(3), "x": np.ones(1)}, strict=False)
    assert result.unexpected_keys == ["x"]
    assert result.missing_keys == [name for name in SHAPES if name != "0.bias"]
    assert net[0].bias.data.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(net[2].weight.data, other)


def test_not_strict_still_refuses_wrong_shapes():
    net = network()
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"'0.bias' expects shape \(3,\), got \(1,\)"):
        net.load_state_dict({"0.bias": np.ones(1), "2.weight": np.ones((3, 4))}, strict=False)
    assert_same(net.state_dict(), before)


def test_a_read_only_array_is_found_before_anything_is_changed():
    net = network()
    net[2].weight.data.flags.writeable = False
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"'2.weight' is a read-only array"):
        net.load_state_dict({name: array + 1 for name, array in before.items()})
    assert_same(net.state_dict(), before)


def test_two_tensors_of_one_name_are_refused():
    module = nn.Module()
    module.table = {1: nn.Parameter([1.0]), "1": nn.Parameter([2.0])}
    with pytest.raises(ValueError, match=r"two tensors are named 'table\.1'"):
        module.state_dict()
    with pytest.raises(ValueError, match=r"two tensors are named 'table\.1'"):
        module.load_state_dict({"table.1": np.ones(1)})


def test_backward_refuses_if_weights_were_loaded_after_forward():
    net = nn.Linear(2, 2)
    out = net(mg.Tensor(np.ones((1, 2), np.float32), requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_frozen_and_shared_parameters_round_trip():
    def tied():
        module = nn.Module()
        module.a = nn.Linear(2, 2, bias=False).requires_grad_(False)
        module.b = nn.Linear(2, 2, bias=False)
        module.b.weight = module.a.weight
        return module

    net, other = tied(), tied()
    assert list(net.state_dict()) == ["a.weight"]
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.b.weight.data, net.a.weight.data)
    assert not other.a.weight.requires_grad
