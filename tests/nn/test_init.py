"""Initialisation: fans by hand, spread by sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import init


@pytest.mark.parametrize(
    ("shape", "groups", "expected"),
    [
        ((20, 30), 1, (20, 30)),
        ((1, 1, 20, 30), 1, (20, 30)),
        ((3, 5, 4, 6), 1, (60, 90)),
        ((3, 3, 2, 12), 4, (18, 27)),  # each input goes to its group's 3 outputs
        ((3, 3, 1, 8), 8, (9, 9)),  # depthwise
    ],
    ids=str,
)
def test_fans(shape, groups, expected):
    assert init.fans(shape, groups=groups) == expected


def test_fans_of_a_vector_are_refused():
    with pytest.raises(ValueError, match=r"fans: shape expects .* got \(5,\)"):
        init.fans((5,))


SHAPE, GROUPS = (3, 3, 50, 400), 2  # fan_in 450, fan_out 1800
STD = {
    "kaiming fan_in": (init.kaiming_normal, init.kaiming_uniform, {}, math.sqrt(2 / 450)),
    "kaiming fan_out": (
        init.kaiming_normal,
        init.kaiming_uniform,
        {"mode": "fan_out"},
        math.sqrt(2 / 1800),
    ),
    "kaiming gain": (init.kaiming_normal, init.kaiming_uniform, {"gain": 3.0}, 3 / math.sqrt(450)),
    "xavier": (init.xavier_normal, init.xavier_uniform, {}, math.sqrt(2 / 2250)),
    "xavier gain": (
        init.xavier_normal,
        init.xavier_uniform,
        {"gain": 5 / 3},
        5 / 3 / math.sqrt(1125),
    ),
}


@pytest.mark.parametrize("case", STD)
def test_spread(case):
    normal, uniform, options, std = STD[case]
    rng = np.random.default_rng(0)
    # A standard deviation from n = 180,000 samples has a relative error of 1/sqrt(2n), 0.2 %.
    for values in (normal(SHAPE, groups=GROUPS, rng=rng, **options) for _ in range(2)):
        assert values.shape == SHAPE
        assert values.dtype == np.float32
        assert values.std() == pytest.approx(std, rel=0.01)
        assert abs(values.mean()) < 5 * std / math.sqrt(values.size)
        inside = np.abs(values) < std
        assert inside.mean() == pytest.approx(math.erf(math.sqrt(0.5)), rel=0.01)
    values = uniform(SHAPE, groups=GROUPS, rng=rng, **options)
    assert values.dtype == np.float32
    assert values.std() == pytest.approx(std, rel=0.01)
    bound = math.sqrt(3) * std
    assert bound * 0.999 < values.max() <= bound * 1.000001  # float32 rounds the bound
    assert bound * 0.999 < -values.min() <= bound * 1.000001


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode expects 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal((2, 2), mode="fan")


@pytest.mark.parametrize(
    "draw", [init.kaiming_normal, init.kaiming_uniform, init.xavier_normal, init.xavier_uniform]
)
def test_the_seed_decides(draw):
    mg.manual_seed(5)
    first, second = draw((4, 5)), draw((4, 5))
    mg.manual_seed(5)
    np.testing.assert_array_equal(draw((4, 5)), first)
    assert not np.array_equal(first, second)
    mg.manual_seed(5)
    draw((4, 5), rng=np.random.default_rng(0))  # leaves the default generator alone
    np.testing.assert_array_equal(draw((4, 5)), first)
