"""Sums, relu, its gradient and erf: against values known by hand and against their twins."""

import math

import numpy as np
import pytest

import minigrad_ext
from minigrad_ext import elementwise

SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 5), (70000,)]
SPECIAL = [-np.inf, -1e30, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 1e30, np.inf, np.nan]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_agree_with_twins(shape, dtype, agree):
    x, g = numbers(shape, dtype), numbers(shape, dtype, seed=1)
    y, dx, e = minigrad_ext.relu(x), minigrad_ext.relu_grad(g, x), minigrad_ext.erf(x)
    total, positive = minigrad_ext.add(x, g), minigrad_ext.add_relu(x, g)
    with minigrad_ext.kernels("reference"):
        agree(total, minigrad_ext.add(x, g))
        agree(positive, minigrad_ext.add_relu(x, g))
        agree(y, minigrad_ext.relu(x))
        agree(dx, minigrad_ext.relu_grad(g, x))
        # within 2 units in the last place; the twin's erf of a double rounds once
        agree(e, minigrad_ext.erf(x), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("which", ["blas", "reference"])
@pytest.mark.parametrize("repeat", [1, 9])
def test_relu_by_hand(which, repeat, dtype):
    x = np.repeat(np.array(SPECIAL, dtype), repeat)
    g = np.full_like(x, 3)
    g[0] = np.nan  # where out <= 0 nothing of g passes, not even NaN
    with minigrad_ext.kernels(which):
        y, dx = minigrad_ext.relu(x), minigrad_ext.relu_grad(g, x)
        np.testing.assert_array_equal(minigrad_ext.add_relu(x, np.zeros_like(x)), y)
    for value, out, grad in zip(x, y, dx, strict=True):
        assert np.array_equal(out, value if value > 0 or np.isnan(value) else 0, equal_nan=True)
        assert grad == (0 if value <= 0 else 3)  # a NaN in out lets g pass


@pytest.mark.parametrize("which", ["blas", "reference"])
def test_erf_by_hand(which):
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 6.0, np.inf, np.nan])
    with minigrad_ext.kernels(which):
        y = minigrad_ext.erf(x)
    expected = [-1, -0.8427007929497149, 0, 0, 0.5204998778130465, 0.8427007929497149, 1, 1, np.nan]
    np.testing.assert_allclose(y, expected, rtol=4e-16)
    assert math.copysign(1, y[2]) == -1


def test_erf_is_within_two_units_in_the_last_place():
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(-44, 38, 20000)  # from the least subnormal to the largest
    x = np.concatenate([np.linspace(-6, 6, 60001), sizes, -sizes]).astype(np.float32)
    exact = np.array([math.erf(value) for value in x])
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(minigrad_ext.erf(x) - exact) <= 2 * unit).all()


def test_scalars_and_single_numbers_become_arrays():
    y = minigrad_ext.relu(np.float32(-2))
    assert isinstance(y, np.ndarray)
    assert (y.shape, y.dtype, float(y)) == ((), np.float32, 0.0)


# One block, several, the last not full; more and fewer numbers than are worth a second thread.
@pytest.mark.parametrize("shape", [(1, 3), (5, 0), (16, 3, 683), (3, 40000)], ids=str)
def test_parts_are_summed_in_their_order(shape, dtype):
    parts = numbers(shape, dtype)
    expected = parts[0]
    for part in parts[1:]:
        expected = expected + part
    np.testing.assert_array_equal(elementwise.total(parts), expected)


@pytest.mark.parametrize("shape", [(), (0, 2), (7,), (3, 40001)], ids=str)
def test_zeros_are_zeros_in_memory_that_was_in_use(shape, dtype):
    minigrad_ext.new_array(shape, dtype).fill(1)
    zeros = elementwise.zeros(shape, np.dtype(dtype))
    assert (zeros.shape, zeros.dtype, zeros.any()) == (shape, dtype, False)
