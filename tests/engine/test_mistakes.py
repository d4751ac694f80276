"""The mistakes that are loud: each error names the op and says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from leaves import leaf

import minigrad as mg
import minigrad.functional as F
from minigrad.engine import Node


def test_backward_twice_names_the_op() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"freed by an earlier backward \(at mul\).*retain_graph"
    ):
        y.backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0  # and nothing was added


def test_backward_twice_with_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8.0


def test_grad_through_a_freed_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        mg.grad(y, x)


def test_backward_of_many_numbers_needs_a_gradient() -> None:
    with pytest.raises(RuntimeError, match=r"single number only.*shape \(2,\); sum it first"):
        (leaf(1.0, 2.0) * 2.0).backward()


def test_gradient_of_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"expected a gradient of the tensor's shape \(2,\), got"):
        (leaf(1.0, 2.0) * 2.0).backward(np.ones(3))


def test_backward_of_what_was_never_recorded() -> None:
    for y in (mg.Tensor([1.0]), leaf(1.0).detach()):
        with pytest.raises(RuntimeError, match="does not require a gradient, because nothing was"):
            y.backward()


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match="requires_grad: expected a float dtype, got int64"):
        mg.Tensor(np.arange(3), requires_grad=True)


def test_op_without_a_derivative() -> None:
    @mg.op
    def mystery(x):  # type: ignore[no-untyped-def]
        return x + 1

    assert mystery(mg.Tensor([1.0])).item() == 2.0
    with pytest.raises(RuntimeError, match=r"mystery: no derivative was given; call mystery.vjp"):
        mystery(leaf(1.0))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"z": lambda g: g}, "z is not one of the inputs"),
        ({"x": lambda g, w: g}, "a rule names w; it can name g, needs, out, x"),
    ],
)
def test_rules_are_checked_when_given(rule: dict, message: str) -> None:  # type: ignore[type-arg]
    @mg.op
    def double(x, *, times=2):  # type: ignore[no-untyped-def]
        return times * x

    with pytest.raises(TypeError, match=message):
        double.vjp(**rule)


def test_reserved_parameter_names() -> None:
    with pytest.raises(TypeError, match="has a parameter g, which means something else"):

        @mg.op
        def bad(g):  # type: ignore[no-untyped-def]
            return g


def test_an_error_in_a_rule_tells_whose_rule_it_was() -> None:
    @mg.op
    def broken(x):  # type: ignore[no-untyped-def]
        return x + 1

    broken.vjp(x=lambda g: g[5])
    with pytest.raises(IndexError) as caught:
        broken(leaf(1.0)).backward()
    assert caught.value.__notes__ == ["This happened in the derivative of broken."]


def test_rule_of_wrong_shape_names_the_op() -> None:
    @mg.op
    def careless(x):  # type: ignore[no-untyped-def]
        return 2 * x

    careless.vjp(x=lambda g: np.ones(7))
    with pytest.raises(
        RuntimeError, match=r"derivative of careless gave a gradient of shape \(7,\)"
    ):
        careless(leaf(1.0, 2.0)).sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.add(x, np.ones(5)), ValueError, r"add: .*\(2,\) \(5,\)"),
        (
            lambda x: F.mul(x, "two"),
            TypeError,
            "mul: expected a Tensor, an array or a number, got str",
        ),
        (lambda x: F.add(x), TypeError, "add: missing the input y"),
        (lambda x: F.relu(x, 1, 2), TypeError, r"relu: expected at most 1 arguments \(x\), got 3"),
        (lambda x: F.sum(x, axis=3), np.exceptions.AxisError, "sum: axis 3 is out of bounds"),
        (lambda x: F.sum(x, dim=0), TypeError, "sum: .*'dim'"),
        (lambda x: x[5], IndexError, "getitem: index 5 is out of bounds"),
        (lambda x: F.reshape(x, shape=(3,)), ValueError, "reshape: cannot reshape"),
    ],
)
def test_errors_of_bodies_name_the_op(call, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call(leaf(1.0, 2.0))


@pytest.mark.parametrize("x", [mg.Tensor(1.0), mg.Tensor([1.0]), mg.Tensor([1.0, 2.0])])
def test_rule_that_returns_none(x: mg.Tensor) -> None:
    @mg.op
    def forgetful(x):  # type: ignore[no-untyped-def]
        return 2 * x

    forgetful.vjp(x=lambda g: None)
    with pytest.raises(RuntimeError, match="derivative of forgetful gave None for an input"):
        forgetful(mg.Tensor(x.data, requires_grad=True)).sum().backward()


def test_complex_results_are_refused() -> None:
    with pytest.raises(TypeError, match="mul: the result is complex"):
        leaf(1.0) * np.array([1j])


def test_integer_results_do_not_require_a_gradient() -> None:
    x, counts = leaf(1.5, 2.5), mg.Tensor(np.zeros(2, int))
    assert not x.astype(int).requires_grad
    counts[:] = x
    assert not counts.requires_grad


def test_a_rule_may_return_a_python_number() -> None:
    @mg.op
    def shifted(x):  # type: ignore[no-untyped-def]
        return x + 1

    shifted.vjp(x=lambda g: 1.0)
    x = leaf(5.0)
    shifted(x).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0]


def test_a_node_without_a_plan_is_an_error() -> None:
    y = leaf(1.0) * 2.0
    y.node.plan = None  # type: ignore[union-attr, assignment]
    for use in (y.backward, lambda: repr(y), lambda: Node.__new__(Node).op):
        with pytest.raises(AttributeError):
            use()


def test_a_configuration_that_holds_itself() -> None:
    twice = mg.op(lambda x, *, options: x * 2.0)
    twice.vjp(x=lambda g: g * 2.0)
    options: list[object] = [1]
    options.append(options)
    x = leaf(1.0)
    twice(x, options=options).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0]
