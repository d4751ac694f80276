"""The checkers are fed lies: a check that does not check is the commonest defect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad.testing import gradcheck, gradgradcheck

X = np.random.default_rng(0).standard_normal((3, 4))


def op_with_rule(rule: Any) -> Any:
    @mg.op
    def cube(x):  # type: ignore[no-untyped-def]
        return x**3

    cube.vjp(x=rule)
    return cube


def test_truth_passes() -> None:
    cube = op_with_rule(lambda g, x: g * 3 * x * x)
    assert gradcheck(cube, X)
    assert gradgradcheck(cube, X)


def corner(g: Any, x: Any) -> Any:
    slope = g * 3 * x * x
    wrong = np.zeros(X.shape)
    wrong[-1, -1] = 1e-3
    return slope + wrong


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, x: g * 3 * x * x * 1.0005,
        lambda g, x: g * 3 * x,
        lambda g, x: 3 * x * x + 0 * g,
        lambda g, x: g * 0 * x,
        corner,
    ],
    ids=["off by 0.05 %", "wrong power", "without g", "zero", "one corner"],
)
def test_lies_are_found(rule: Any) -> None:
    with pytest.raises(AssertionError, match="the gradient by input 0 gives the slope"):
        gradcheck(op_with_rule(rule), X)


def test_a_missing_gradient_is_found() -> None:
    with pytest.raises(AssertionError, match="input 1"):
        gradcheck(lambda x, y: x * y.detach(), X, X + 1)


def test_a_wrong_second_derivative_is_found() -> None:
    def rule(g: Any, x: Any) -> Any:
        return g * 3 * np.square(getattr(x, "data", x))  # right values, cut off from x

    cube = op_with_rule(rule)
    gradcheck(cube, X)
    with pytest.raises(AssertionError, match="gradient of cube"):
        gradgradcheck(cube, X)


def test_writing_to_what_was_given_is_found() -> None:
    def write_to_g(g: Any, x: Any) -> Any:
        g *= 3 * x * x
        return g

    def write_to_x(g: Any, x: Any) -> Any:
        x *= 1.0
        return g * 3 * x * x

    for rule in (write_to_g, write_to_x):
        with pytest.raises(ValueError, match="read-only"):
            gradcheck(op_with_rule(rule), X)


def test_a_wrong_pixel_of_a_large_convolution_is_found() -> None:
    @mg.op
    def shifted(x, w):  # type: ignore[no-untyped-def]
        return F.conv2d(x, w, padding=1)

    def by_x(g: Any, w: Any, x_shape: Any) -> Any:
        dx = F.conv2d_input_grad(g, w, input_shape=x_shape, padding=1).copy()
        dx[0, 0, 0, 0] *= 1.01
        return dx

    shifted.vjp(
        x=by_x, w=lambda g, x, w_shape: F.conv2d_weight_grad(g, x, weight_shape=w_shape, padding=1)
    )
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 14, 14, 8)), rng.standard_normal((3, 3, 8, 8))
    with pytest.raises(AssertionError, match="input 0"):
        gradcheck(shifted, x, w)


def test_constants_are_handed_on() -> None:
    constant = mg.Tensor(X)
    assert gradcheck(lambda x, c: x * c.detach(), mg.Tensor(X, requires_grad=True), constant)


def test_functions_of_several_outputs() -> None:
    assert gradcheck(lambda x: [x * x, F.exp(x)], X)
    with pytest.raises(AssertionError):
        gradcheck(lambda x: [x * x, F.exp(x.detach()) + 0 * x], X)


def test_it_works_in_float64_whatever_comes_in() -> None:
    assert gradcheck(F.exp, X.astype(np.float32))


def test_recording_is_on_and_restored() -> None:
    with mg.no_grad():
        assert gradcheck(F.exp, X)
        assert not mg.is_grad_enabled()
