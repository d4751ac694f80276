"""Clipping by the norm of all gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim


def with_gradients(*gradients):
    params = []
    for g in gradients:
        array = np.asarray(g, np.float32)
        params.append(nn.Parameter(np.zeros_like(array)))
        params[-1].grad = mg.Tensor(array.copy())
    return params


def test_large_gradients_are_scaled_together():
    params = with_gradients([3.0, 0.0], [[4.0]])
    assert optim.clip_grad_norm(params, 1.0) == 5
    np.testing.assert_allclose(params[0].grad.data, [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(params[1].grad.data, [[0.8]], rtol=1e-6)
    assert params[0].grad.dtype == np.float32


@pytest.mark.parametrize("max_norm", [5.1, 100, math.inf])
def test_small_gradients_are_left_alone(max_norm):
    params = with_gradients([3.0, 0.0], [[4.0]])
    arrays = [p.grad.data for p in params]
    assert optim.clip_grad_norm(iter(params), max_norm) == 5
    assert [a.tolist() for a in arrays] == [[3, 0], [[4]]]


def test_it_is_in_place():
    [p] = with_gradients([3.0, 4.0])
    gradient, array = p.grad, p.grad.data
    optim.clip_grad_norm(p, 1.0)
    assert p.grad is gradient
    assert p.grad.data is array
    assert np.hypot(*array) == pytest.approx(1, rel=1e-5)


def test_parameters_without_gradient_do_not_count():
    params = [*with_gradients([3.0]), nn.Parameter([1.0])]
    assert optim.clip_grad_norm(params, 1.0) == 3
    assert optim.clip_grad_norm([nn.Parameter([1.0])], 1.0) == 0
    assert optim.clip_grad_norm([], 1.0) == 0


def test_max_norm_of_zero():
    params = with_gradients([3.0])
    assert optim.clip_grad_norm(params, 0) == 3
    assert params[0].grad.item() == 0


def test_the_norm_of_large_numbers_does_not_overflow():
    params = with_gradients([3e30, 4e30])  # the squares do not fit into float32
    assert optim.clip_grad_norm(params, 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(params[0].grad.data, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite(bad):
    params = with_gradients([bad, 1.0], [2.0])
    norm = optim.clip_grad_norm(params, 1.0)
    if math.isnan(bad):
        assert math.isnan(norm)
        assert all(np.isnan(p.grad.data).all() for p in params)
    else:
        assert norm == math.inf
        assert math.isnan(params[0].grad.data[0])
        assert (params[0].grad.data[1], params[1].grad.item()) == (0, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_error_if_nonfinite(bad):
    params = with_gradients([bad, 1.0])
    with pytest.raises(RuntimeError, match=f"expected a finite norm of the gradients, got {bad}"):
        optim.clip_grad_norm(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.data[1] == 1
    assert optim.clip_grad_norm(with_gradients([3.0]), 1.0, error_if_nonfinite=True) == 3


@pytest.mark.parametrize("max_norm", [-1, math.nan])
def test_impossible_max_norm(max_norm):
    with pytest.raises(ValueError, match=f"max_norm expects a number >= 0, got {max_norm}"):
        optim.clip_grad_norm(with_gradients([3.0]), max_norm)


@pytest.mark.parametrize("max_norm", [0.1, 2.0, 1e6])
@pytest.mark.parametrize("bad", [None, math.nan, math.inf], ids=str)
def test_as_pytorch(max_norm, bad):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in [(3, 4), (5,), ()]]
    if bad is not None:
        gradients[1][2] = bad
    mine = with_gradients(*gradients)
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for p, g in zip(theirs, gradients, strict=True):
        p.grad = torch.tensor(g)
    norm = optim.clip_grad_norm(mine, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    # PyTorch sums in float32
    assert norm == pytest.approx(float(expected), rel=1e-6, nan_ok=True)
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-6)
