"""What all optimizers share: groups, steps, state, and what they refuse."""

from __future__ import annotations

import copy
import json
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim

OPTIMIZERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1),
    "SGD nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: optim.Adam(params, lr=0.1, weight_decay=0.1),
    "AdamW": lambda params: optim.AdamW(params, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def parameters(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.standard_normal(s), dtype=dtype) for s in [(3, 2), (), (4,), (0, 2)]]


def give_gradients(params, seed):
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = mg.Tensor(np.asarray(rng.standard_normal(p.shape)), dtype=p.dtype)


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_step_changes_the_arrays_in_place_and_leaves_gradients_alone(make, dtype):
    params = parameters(dtype)
    optimizer = make(params)
    for step in range(3):
        give_gradients(params, step)
        arrays, before = [p.data for p in params], [p.data.copy() for p in params]
        grads = [p.grad.data.copy() for p in params]
        for p in params:
            p.grad.data.flags.writeable = False
        optimizer.step()
        for p, array, old, grad in zip(params, arrays, before, grads, strict=True):
            assert p.data is array
            assert p.dtype == dtype
            assert not (array == old).any()
            np.testing.assert_array_equal(p.grad.data, grad)


@every_optimizer
def test_parameters_that_are_no_plain_array(make):
    """Transposed, strided and reversed ones move as a contiguous one does."""
    base = np.random.default_rng(0).standard_normal((4, 6))
    views = [base.copy().T, base.repeat(2, axis=0)[::2].T, base[:, ::-1].copy()[:, ::-1].T]
    params = [nn.Parameter(view) for view in views] + [nn.Parameter(base.T.copy())]
    optimizer = make(params)
    for step in range(3):
        g = np.random.default_rng(step).standard_normal((6, 4))
        for p in params:
            p.grad = mg.Tensor(g)
        optimizer.step()
    for p in params[:-1]:
        np.testing.assert_array_equal(p.data, params[-1].data)


@every_optimizer
def test_parameters_without_gradient_and_frozen_ones_stay(make):
    params = parameters()
    optimizer = make(params)
    give_gradients(params, 0)
    params[0].grad = None
    params[2].requires_grad_(False)
    before = [p.data.copy() for p in params]
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, before[0])
    np.testing.assert_array_equal(params[2].data, before[2])
    assert params[1].data != before[1]
    assert not optimizer.state[0]
    assert not optimizer.state[2]


@every_optimizer
def test_step_needs_no_large_temporary(make):
    p = nn.Parameter(np.ones(1_000_000, np.float32))
    optimizer = make([p])
    p.grad = mg.Tensor(np.ones(1_000_000, np.float32))
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * p.data.nbytes


def test_backward_refuses_after_a_step():
    layer = nn.Linear(2, 2)
    x = mg.Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    first, second = layer(x).sum(), layer(x).sum()
    first.backward()
    optim.SGD(layer.parameters()).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        second.backward()


def test_zero_grad():
    params = parameters()
    give_gradients(params, 0)
    optim.SGD([{"params": params[:1]}, {"params": params[1:]}]).zero_grad()
    assert all(p.grad is None for p in params)


def test_groups_have_their_own_settings():
    a, b, c = (nn.Parameter([1.0]) for _ in range(3))
    optimizer = optim.SGD(
        [{"params": a}, {"params": [b], "lr": 0.5}, {"params": iter([c]), "weight_decay": 1.0}],
        lr=0.25,
    )
    for p in (a, b, c):
        p.grad = mg.Tensor([1.0])
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.75, 0.5, 0.5]
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert [p.item() for p in (a, b)] == [0.75, 0.0]


def test_a_group_can_be_added():
    a, b = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.SGD([a], lr=0.25)
    optimizer.add_param_group({"params": [b], "lr": 0.5})
    a.grad = b.grad = mg.Tensor([1.0])
    optimizer.step()
    assert (a.item(), b.item()) == (0.75, 0.5)


def test_tensors_that_require_a_gradient_can_be_optimized():
    x = mg.Tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.5)
    (x * x).sum().backward()
    optimizer.step()
    assert x.item() == 0


P = nn.Parameter([1.0])
LAYER = nn.Linear(2, 2)
USED = LAYER.parameters()
list(USED)
RECORDED = mg.Tensor([1.0], requires_grad=True) * 2


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "SGD: params expects at least one parameter, got none"),
        (USED, ValueError, "a generator such as model.parameters.. gives its parameters only once"),
        ([{"params": USED}], ValueError, "at least one parameter, got none"),
        (P, TypeError, r"expects an iterable of parameters, got a Parameter; pass model.para"),
        (LAYER, TypeError, r"expects an iterable of parameters, got a Linear; pass model.para"),
        ({"params": [P]}, TypeError, "expects an iterable of parameters, got a dict"),
        (3, TypeError, "expects an iterable of parameters, got a int"),
        ([np.ones(3)], TypeError, "expects nn.Parameters, .* got a ndarray"),
        ([mg.Tensor([1.0])], TypeError, "expects nn.Parameters, or Tensors that require a gradie"),
        (LAYER.named_parameters(), TypeError, "expects nn.Parameters, .* got a tuple"),
        ([P, {"params": [P]}], TypeError, "expects nn.Parameters, .* got a dict"),
        ([RECORDED], ValueError, "expects leaves, got the result of mul"),
        ([P, P], ValueError, r"every parameter once, got one of shape \(1,\) twice"),
        ([{"params": [P]}, {"params": [P]}], ValueError, "every parameter once"),
        ([{"params": [P], "rate": 1}], ValueError, r"'params' and any of \['lr', .*'rate'\]"),
        ([{"lr": 1}], ValueError, r"expects 'params' and any of"),
        ([{"params": [P], "lr": -1}], ValueError, "SGD: lr expects a number >= 0, got -1"),
    ],
)
def test_what_is_refused(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD([P], lr=-0.1), "SGD: lr expects a number >= 0, got -0.1"),
        (lambda: optim.Adam([P], lr=float("nan")), "Adam: lr expects a number >= 0, got nan"),
        (lambda: optim.SGD([P], momentum=-1), "SGD: momentum expects a number >= 0, got -1"),
        (lambda: optim.SGD([P], weight_decay=-1), "SGD: weight_decay expects a number >= 0"),
        (lambda: optim.SGD([P], nesterov=True), "SGD: nesterov expects momentum > 0 and damp"),
        (
            lambda: optim.SGD([P], momentum=0.9, dampening=0.1, nesterov=True),
            "nesterov expects momentum > 0 and dampening = 0, got momentum=0.9, dampening=0.1",
        ),
        (lambda: optim.AdamW([P], betas=(0.9, 1)), r"AdamW: betas expects .* got \(0.9, 1\)"),
        (
            lambda: optim.Adam([P], betas=(-0.1, 0.9)),
            "Adam: betas expects two numbers >= 0 and < 1",
        ),
        (lambda: optim.Adam([P], eps=-1), "Adam: eps expects a number >= 0, got -1"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def train(params, optimizer, seeds):
    for seed in seeds:
        give_gradients(params, seed)
        if seed == 1:
            params[1].grad = None  # so that steps differ between parameters
        optimizer.step()


@every_optimizer
def test_a_resumed_run_is_the_same_bit_for_bit(make):
    params = parameters()
    optimizer = make(params)
    train(params, optimizer, range(5))
    optimizer.param_groups[0]["lr"] = 0.03
    saved, weights = optimizer.state_dict(), [p.data.copy() for p in params]
    unchanged = copy.deepcopy(saved)
    train(params, optimizer, range(5, 10))

    resumed = [nn.Parameter(array) for array in weights]
    other = make(resumed)
    other.load_state_dict(saved)
    train(resumed, other, range(5, 10))
    for p, q in zip(params, resumed, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    np.testing.assert_equal(saved, unchanged)  # neither run changed what was saved
    np.testing.assert_equal(other.state_dict(), optimizer.state_dict())


def test_state_dict_is_plain():
    params = parameters()
    optimizer = optim.Adam([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}])
    give_gradients(params, 0)
    params[2].grad = None
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1, 2, 3]]
    assert [group["lr"] for group in state["param_groups"]] == [0.5, 0.001]
    assert list(state["state"]) == [0, 1, 3]
    assert state["state"][0]["step"] == 1
    assert state["state"][0]["exp_avg"].shape == (3, 2)
    assert {type(v) for v in state["state"][0].values()} == {int, np.ndarray}


def test_state_takes_the_dtype_of_the_parameters():
    params = parameters(np.float64)
    optimizer = optim.SGD(params, momentum=0.9)
    train(params, optimizer, [0])
    other = optim.SGD(parameters(np.float32), momentum=0.9)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[0]["momentum_buffer"].dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Adam(parameters()), "expects groups of 4 parameters with lr, momentum, .*"
         "got of 4 parameters with lr, betas"),
        (lambda: optim.SGD(parameters()[:3]), "expects groups of 4 .* got of 3 parameters"),
        (
            lambda: optim.SGD([{"params": parameters()[:2]}, {"params": parameters()[2:]}]),
            "got of 2 parameters .*; of 2 parameters",
        ),
        (lambda: LAYER, "got something else .*; make the optimizer as it was"),
        (
            lambda: optim.SGD([nn.Parameter([1.0]) for _ in range(4)], momentum=0.9),
            r"state for a parameter of shape \(3, 2\), got an array of shape \(1,\)",
        ),
    ],
    ids=["another optimizer", "fewer", "other groups", "a network", "other shapes"],
)  # fmt: skip
def test_a_state_of_something_else_is_refused_and_nothing_changes(make, message):
    params = parameters()
    optimizer = optim.SGD(params, lr=0.5, momentum=0.9)
    train(params, optimizer, [0])
    before = optimizer.state_dict()
    other = make()
    if isinstance(other, optim.Optimizer):
        other_params = [p for group in other.param_groups for p in group["params"]]
        give_gradients(other_params, 0)
        other.step()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(other.state_dict())
    np.testing.assert_equal(optimizer.state_dict(), before)


@every_optimizer
def test_what_json_makes_of_a_state_will_do(make):
    """Text for the numbers of parameters, lists for tuples; the arrays are kept beside."""
    params = parameters()
    optimizer = make(params)
    train(params, optimizer, [0, 1])
    saved = optimizer.state_dict()
    groups = json.loads(json.dumps(saved["param_groups"]))
    other = make(parameters())
    other.load_state_dict(
        {"state": {str(i): s for i, s in saved["state"].items()}, "param_groups": groups}
    )
    np.testing.assert_equal(other.state_dict(), saved)
    assert [type(v) for v in other.param_groups[0].values()] == [
        type(v) for v in optimizer.param_groups[0].values()
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, "SGD: load_state_dict expects what state_dict returned"),
        ({"state": {"a": {}}}, "expects what state_dict returned"),
        ({"state": {0: 5}}, "expects what state_dict returned"),
        ({"param_groups": [3]}, "expects what state_dict returned"),
        ({"param_groups": [{"lr": 1}]}, "got of 0 parameters with lr"),
        ({"state": {7: {}}}, r"expects state of parameters 0 to 3, got \[7\]"),
    ],
)
def test_a_state_that_is_none_is_refused(change, message):
    optimizer = optim.SGD(parameters())
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict({**before, **change})
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_impossible_settings_in_a_state_are_refused():
    optimizer = optim.SGD([P])
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = -1
    with pytest.raises(ValueError, match="lr expects a number >= 0"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_a_new_optimizer_is_one_method():
    class SignSGD(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr, "weight_decay": 0.0})

        def update(self, w, g, state, settings):  # noqa: ARG002 - it remembers nothing
            w -= settings["lr"] * np.sign(g)

    p = nn.Parameter([1.0, 1.0])
    p.grad = mg.Tensor([5.0, -0.1])
    SignSGD([p], lr=0.5).step()
    assert p.data.tolist() == [0.5, 1.5]
    base = optim.Optimizer([p], {"lr": 1.0, "weight_decay": 0.0})
    with pytest.raises(NotImplementedError, match="Optimizer has no update method"):
        base.step()


@every_optimizer
def test_it_finds_a_minimum(make):
    p = nn.Parameter([5.0, -3.0])
    optimizer = make([p])
    for _ in range(300):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert np.abs(p.data).max() < 1e-2
