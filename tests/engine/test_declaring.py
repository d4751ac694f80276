"""Declaring ops, calling them, and copying tensors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from leaves import leaf

import minigrad as mg
import minigrad.functional as F
from minigrad.engine import Node, Op


def test_custom_op_with_residual_and_config() -> None:
    @mg.op(residuals=("index",))
    def largest(x, *, scale=1.0):  # type: ignore[no-untyped-def]
        index = int(np.argmax(x))
        return scale * x[index], index

    def rule(g, x_shape, index, scale):  # type: ignore[no-untyped-def]
        out = np.zeros(x_shape)
        out[index] = g * scale
        return out

    largest.vjp(x=rule)
    x = leaf(1.0, 5.0, 2.0)
    y = largest(x, scale=3.0)
    assert y.item() == 15.0
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 3.0, 0.0]
    assert largest(np.array([1.0, 2.0])) == 2.0  # arrays in, array out, no residual


def test_joint_rule_is_told_what_is_needed() -> None:
    told = []

    @mg.op
    def both(x, y):  # type: ignore[no-untyped-def]
        return x * y

    @both.vjp_joint
    def _(needs, g, x, y):  # type: ignore[no-untyped-def]
        told.append(needs)
        return g * y, g * x

    x = leaf(2.0)
    both(x, mg.Tensor([3.0])).backward()
    both(x, x).backward()
    assert told == [(True, False), (True, True)]
    assert x.grad is not None
    assert x.grad.item() == 3.0 + 4.0


def test_joint_rule_serves_where_it_keeps_no_more_than_single_ones() -> None:
    used = []

    @mg.op
    def times(x, y):  # type: ignore[no-untyped-def]
        return x * y

    def rule(of, partial):  # type: ignore[no-untyped-def]
        used.append(of)
        return partial

    times.vjp(x=lambda g, y: rule("x", g * y), y=lambda g, x: rule("y", g * x))

    @times.vjp_joint
    def _(needs, g, x, y):  # type: ignore[no-untyped-def]
        used.append(needs)
        return g * y, g * x

    x, y = leaf(2.0), leaf(3.0)
    times(x, y.data).backward()
    times(x.data, y).backward()
    times(x, y).backward()
    assert mg.grad(times(x, y), y)[0].item() == 2.0
    assert used == ["x", "y", (True, True), (False, True)]
    assert x.grad is not None
    assert x.grad.item() == 6.0


def test_joint_rule_serves_inputs_that_have_no_rule_of_their_own() -> None:
    @mg.op
    def times(x, y):  # type: ignore[no-untyped-def]
        return x * y

    times.vjp(x=lambda g, y: g * y)

    @times.vjp_joint
    def _(g, x, y):  # type: ignore[no-untyped-def]
        return g * y, g * x

    x, y = leaf(2.0), leaf(3.0)
    times(x, y).backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == (3.0, 2.0)


def test_a_rule_that_is_given_anew_is_used_from_then_on() -> None:
    @mg.op
    def square(x):  # type: ignore[no-untyped-def]
        return x * x

    x = leaf(3.0)
    square.vjp(x=lambda g, x: g * x)
    assert mg.grad(square(x), x)[0].item() == 3.0
    square.vjp(x=lambda g, x: 2 * g * x)
    assert mg.grad(square(x), x)[0].item() == 6.0
    square.vjp_joint(lambda g, x: (4 * g * x,))
    assert mg.grad(square(x), x)[0].item() == 12.0


def test_optional_and_named_inputs() -> None:
    x, w, b = np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1)), np.ones(1)
    assert F.conv2d(mg.Tensor(x), w, b).data.max() == 2.0
    assert F.linear(mg.Tensor(np.ones((1, 2))), np.ones((2, 3)), b=np.ones(3)).data.max() == 3.0
    assert F.add(leaf(1.0), y=leaf(2.0)).item() == 3.0
    assert F.sum(mg.Tensor(np.ones((2, 3))), 0).shape == (3,)


def test_op_is_documented_and_readable() -> None:
    assert isinstance(F.relu, Op)
    assert "max(x, 0)" in (F.relu.__doc__ or "")
    assert repr(F.leaky_relu) == "<op leaky_relu(x, *, negative_slope=0.01)>"


def test_leaves_can_be_copied_and_pickled_and_results_not() -> None:
    x = leaf(1.0, 2.0)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        assert twin.tolist() == [1.0, 2.0]
        assert not np.shares_memory(twin.data, x.data)
    with pytest.raises(RuntimeError, match="a recorded tensor cannot be copied; call detach"):
        copy.deepcopy(x * 2.0)


class Named(mg.Tensor):
    """A tensor that keeps an attribute of its own when it is copied."""

    name = ""

    def __reduce__(self) -> Any:
        return (*super().__reduce__(), {"name": self.name})


def test_a_subclass_can_keep_its_attributes_in_copies() -> None:
    x = Named([1.0])
    x.name = "x"
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (type(y), y.name, y.tolist()) == (Named, "x", [1.0])


def test_a_misspelt_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError):
        leaf(1.0).requires_gard = True  # type: ignore[attr-defined]


def test_node_is_younger_than_its_parents() -> None:
    y = (leaf(1.0) * 2.0) * 3.0
    assert y.node is not None
    parent = (y.node.parents or [None])[0]
    assert isinstance(parent, Node)
    assert parent.index < y.node.index


def test_an_op_given_a_list_and_one_given_only_tensors_do_the_same() -> None:
    x = leaf(1.0, 2.0)
    assert F.mul(x, [3.0, 4.0]).tolist() == F.mul(x, mg.Tensor([3.0, 4.0])).tolist()
    with pytest.raises(TypeError, match="mul: expected a Tensor, an array or a number, got str"):
        F.mul(x, "3")
    with pytest.raises(ValueError, match=r"mul: .*\(inputs of shape \(2,\), \(3,\)\)"):
        x * mg.Tensor([1.0, 2.0, 3.0])


def test_a_joint_rule_gives_what_is_wanted_only() -> None:
    asked = []

    @mg.op
    def weigh(x, y, z):  # type: ignore[no-untyped-def]
        return x * y * z

    @weigh.vjp_joint
    def weigh_vjp(g, needs, x, y, z):  # type: ignore[no-untyped-def]
        asked.append(needs)
        return (g * y * z if needs[0] else None, None, g * x * y if needs[2] else None)

    x, y, z = leaf(2.0), mg.Tensor([3.0]), leaf(5.0)
    weigh(x, y, z).backward(np.ones(1), retain_graph=True)
    assert [g.item() for g in (x.grad, z.grad) if g is not None] == [15.0, 6.0]
    (dz,) = mg.grad(weigh(x, y, z), z)
    assert dz is not None
    assert dz.item() == 6.0
    assert asked == [(True, False, True), (False, False, True)]
