"""Checkpointing: the same gradients from less memory, whatever the function uses."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F


def test_gradients_of_arguments_and_of_what_the_function_uses() -> None:
    rng = np.random.default_rng(0)
    x = mg.Tensor(rng.standard_normal((4, 3)), requires_grad=True)
    w = mg.Tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def block(h: mg.Tensor) -> mg.Tensor:
        return F.tanh(F.matmul(F.tanh(F.matmul(h, w)), w))

    results = []
    for run in (block, lambda h: mg.checkpoint(block, h)):
        x.grad = w.grad = None
        F.sum(run(run(x * 2.0)) ** 2).backward()
        assert x.grad is not None
        assert w.grad is not None
        results.append((x.grad.data, w.grad.data))
    for plain, replayed in zip(*results, strict=True):
        assert np.array_equal(plain, replayed)


def test_activations_are_not_kept() -> None:
    kept = []

    def block(h: mg.Tensor) -> mg.Tensor:
        h = F.exp(h)
        kept.append(h.node)
        return F.exp(h)

    x = mg.Tensor([0.5], requires_grad=True)
    mg.checkpoint(block, x).backward()
    assert kept[0] is None  # the first time nothing was recorded
    assert kept[1] is not None


def test_dropout_falls_the_same_way() -> None:
    x = mg.Tensor(np.ones(1000), requires_grad=True)
    mg.manual_seed(3)
    y = mg.checkpoint(lambda h: F.dropout(h, p=0.5), x)
    after = mg.default_rng().random()
    y.sum().backward()
    assert x.grad is not None
    assert np.array_equal(x.grad.data, y.data)
    mg.manual_seed(3)
    F.dropout(x, p=0.5)
    assert mg.default_rng().random() == after  # the replay used up no random numbers


def test_batch_norm_counts_the_batch_once() -> None:
    x = mg.Tensor(np.random.default_rng(0).standard_normal((8, 3)), requires_grad=True)
    mean, var = np.zeros(3), np.ones(3)
    y = mg.checkpoint(lambda h: F.batch_norm(h, None, None, mean, var, training=True), x)
    once = mean.copy()
    (y * y * y).sum().backward()
    assert np.array_equal(mean, once)
    assert once.any()


def test_second_order_and_mg_grad() -> None:
    x = mg.Tensor([1.5], requires_grad=True)
    w = mg.Tensor([2.0], requires_grad=True)
    y = mg.checkpoint(lambda h: h * h * h * w, x)
    (gw,) = mg.grad(y, w, retain_graph=True)
    assert gw is not None
    assert gw.item() == 1.5**3
    (gx,) = mg.grad(y, x, create_graph=True)
    assert gx is not None
    assert gx.item() == 3 * 1.5**2 * 2
    (gxx,) = mg.grad(gx, x)
    assert gxx is not None
    assert gxx.item() == 6 * 1.5 * 2


def test_unused_input_of_a_checkpointed_graph() -> None:
    x, other = mg.Tensor([1.0], requires_grad=True), mg.Tensor([1.0], requires_grad=True)
    y = mg.checkpoint(lambda h: h * 2.0, x)
    assert mg.grad(y, other, allow_unused=True) == (None,)


def test_under_no_grad_it_is_a_plain_call() -> None:
    x = mg.Tensor([1.0], requires_grad=True)
    with mg.no_grad():
        assert not mg.checkpoint(lambda h: h * 2.0, x).requires_grad


def test_result_must_be_one_tensor() -> None:
    with pytest.raises(TypeError, match="checkpoint: function must return one Tensor, got tuple"):
        mg.checkpoint(lambda h: (h, h), mg.Tensor([1.0], requires_grad=True))


def test_a_function_that_changes_its_argument_is_refused() -> None:
    def careless(h: mg.Tensor) -> mg.Tensor:
        h += 1.0
        return h * h

    h = mg.Tensor([1.0, 2.0], requires_grad=True) * 1.0
    y = mg.checkpoint(careless, h)
    with pytest.raises(RuntimeError, match="derivative of checkpoint needs was changed in place"):
        y.sum().backward()


def test_a_result_that_is_a_view_of_the_argument_shares_its_version() -> None:
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    x = mg.Tensor([3.0, 4.0])
    for function in (lambda h: h, lambda h: h[:]):
        q = x * w
        y = mg.checkpoint(function, x)
        with mg.no_grad():
            y += 5.0
        with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
            q.sum().backward()


def test_integer_results_have_no_gradient() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    assert not mg.checkpoint(F.argmax, x).requires_grad
