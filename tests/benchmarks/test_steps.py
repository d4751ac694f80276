"""That the steps of one convolution compute the same, and how their times are counted."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad_ext as ext
from benchmarks import steps

SMALL = 2, 7, 20


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("dial", ["blas", "direct", "winograd"])
def test_steps_compute_the_same(kernel: int, dial: str) -> None:
    a = steps.Arrays(kernel, *SMALL)
    with ext.kernels("reference"):
        expected = steps.forward(a)(), steps.weight_grad(a)()
    with ext.kernels(dial):
        got = steps.forward(a)(), steps.weight_grad(a)()
    for ours, twins in zip(got, expected, strict=True):  # sums of at most 180 products near 1
        np.testing.assert_allclose(ours, twins, rtol=1e-4, atol=1e-4)
    loops = np.reshape(steps.loops(a)(), expected[0].shape)
    np.testing.assert_allclose(loops, expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("without", "with_it"), list(steps.pairs()))
def test_pairs_compute_the_same(without: steps.Case, with_it: steps.Case) -> None:
    a = steps.Arrays(without.kernel, *SMALL)
    first, second = (steps.WORKS[case.work](a)() for case in (without, with_it))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_smaller_case_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    case = steps.Case("", "loops", 3, sizes=(1, 14, 8))
    assert steps.products(case) == 14 * 14 * 9 * 64
    ticks = iter([10.0, 10.0, 12.0])  # when it starts, the loop's condition, when it ends
    monkeypatch.setattr(steps.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(steps, "prepare", lambda case: lambda: None)
    # 64 images of 28 x 28, 32 channels to 32: 64 * 4 * 16 times as many products
    assert steps.seconds(case, 0.0) == 2 * 64 * 4 * 16
