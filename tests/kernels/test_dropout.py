"""Dropout: its random numbers against published ones, its shares, and the twin."""

import numpy as np
import pytest

import minigrad_ext
from minigrad_ext.reference.dropout import splitmix64, xoshiro128


def test_the_twin_draws_published_numbers():
    # from the authors' C programs, as the tests of other libraries have them
    drawn = splitmix64(1234567, np.arange(3)).tolist()
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = np.array([[1], [2], [3], [4]], np.uint32)
    drawn = np.concatenate(xoshiro128(state, 5)).tolist()
    assert drawn == [641, 1573767, 3222811527, 3517856514, 836907274]


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (3, 171), (512,), (8191,), (8193,), (70001,)], ids=str
)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_it_agrees_with_its_twin(shape, p, dtype, agree, threads):
    threads(2)
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    y = minigrad_ext.dropout(x, p=p, seed=2**64 - 1)
    with minigrad_ext.kernels("reference"):
        agree(y, minigrad_ext.dropout(x, p=p, seed=2**64 - 1))


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.9])
def test_the_share_is_p_and_neighbours_do_not_depend_on_each_other(p):
    n = 4_000_000
    dropped, others = (minigrad_ext.dropout(np.ones(n), p=p, seed=s) == 0 for s in (3, 4))
    five_deviations = 5 * np.sqrt(p * (1 - p) / n)
    assert abs(dropped.mean() - p) < five_deviations
    pairs = [(dropped[:-lag], dropped[lag:]) for lag in (1, 2, 16, 512, 8192)]
    for a, b in [*pairs, (dropped, others)]:
        both = np.mean(a & b)
        assert abs(both - p * p) < 5 * np.sqrt(p * p * (1 - p * p) / n) + 2 * p * five_deviations


def test_what_is_kept_is_divided_and_nan_stays(dtype):
    x = np.full(1000, np.nan, dtype)
    assert np.isnan(minigrad_ext.dropout(x, p=0.5, seed=1)).all()  # as PyTorch's
    y = minigrad_ext.dropout(np.full(1000, 3, dtype), p=0.25, seed=1)
    assert set(np.unique(y)) == {dtype(0), dtype(3) * dtype(1 / 0.75)}
