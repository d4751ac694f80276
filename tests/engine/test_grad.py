"""Gradients of chosen outputs by chosen inputs, to any order."""

from __future__ import annotations

import pytest
from leaves import leaf

import minigrad as mg


def test_grad_of_grad_of_grad() -> None:
    x = leaf(2.0)
    y = x * x * x * x
    for expected in (32.0, 48.0, 48.0, 24.0):
        (y,) = mg.grad(y, x, create_graph=True)
        assert y is not None
        assert y.item() == expected
    assert x.grad is None


def test_grad_by_an_intermediate_tensor_goes_no_further() -> None:
    x = leaf(3.0)
    h = x * x
    y = h * h
    (g,) = mg.grad(y, h)
    assert g is not None
    assert g.item() == 18.0
    h.backward()  # the part before h was not visited, so it is still there
    assert x.grad is not None
    assert x.grad.item() == 6.0


def test_grad_of_several_outputs_and_inputs() -> None:
    x, y = leaf(2.0), leaf(5.0)
    gx, gy = mg.grad([x * y, x + y], [x, y], [mg.Tensor([1.0]), mg.Tensor([10.0])])
    assert gx is not None
    assert gy is not None
    assert (gx.item(), gy.item()) == (15.0, 12.0)


def test_grad_of_unused_input() -> None:
    x, y = leaf(2.0), leaf(5.0)
    with pytest.raises(RuntimeError, match="do not depend on input 1; pass allow_unused=True"):
        mg.grad(x * 2.0, [x, y])
    assert mg.grad(x * 2.0, [x, y], allow_unused=True)[1] is None


def test_grad_of_a_tensor_by_itself() -> None:
    h = leaf(2.0) * 3.0
    (g,) = mg.grad(h, h)
    assert g is not None
    assert g.item() == 1.0


def test_grad_of_constant_input_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        mg.grad(leaf(1.0) * 2.0, mg.Tensor([1.0]))


def test_hessian_vector_product_against_by_hand() -> None:
    x = leaf(1.0, 2.0)
    v = mg.Tensor([3.0, 5.0])
    y = (x * x * x).sum() + x[0] * x[1]  # hessian [[6 x0, 1], [1, 6 x1]]
    (g,) = mg.grad(y, x, create_graph=True)
    assert g is not None
    (hv,) = mg.grad((g * v).sum(), x)
    assert hv is not None
    assert hv.tolist() == [6 * 3 + 5.0, 3 + 12 * 5.0]


def test_grad_goes_on_through_an_input() -> None:
    x = leaf(1.0, 2.0)
    h = x * 2.0
    y = h * 3.0
    z = (y * y).sum() + x.sum()
    gy, gx = mg.grad(z, [y, x])
    assert gy is not None
    assert gx is not None
    assert gy.tolist() == [12.0, 24.0]
    assert gx.tolist() == [73.0, 145.0]
    z = (x * x).sum()
    gz, gx = mg.grad([z, z * 3.0], [z, x])
    assert gz is not None
    assert gx is not None
    assert (gz.item(), gx.tolist()) == (4.0, [8.0, 16.0])


def test_a_freed_branch_that_is_not_needed_does_no_harm() -> None:
    x, w = leaf(2.0), leaf(5.0)
    a = x * x
    (a * 3.0).backward()
    (g,) = mg.grad(a * w, w)
    assert g is not None
    assert g.item() == 4.0
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward \(at mul\)"):
        mg.grad(a * w, x)
