"""Operators and methods of Tensor mean what they mean on a NumPy array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg

X = np.random.default_rng(0).standard_normal((2, 3, 4))


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.sum(),
        lambda x: x.sum(1),
        lambda x: x.sum(axis=(0, 2), keepdims=True),
        lambda x: x.mean(-1),
        lambda x: x.var(0, ddof=1),
        lambda x: x.std(1),
        lambda x: x.max(axis=2),
        lambda x: x.min(),
        lambda x: x.argmax(1),
        lambda x: x.reshape(6, 4),
        lambda x: x.reshape((4, -1)),
        lambda x: x.ravel(),
        lambda x: x.flatten(),
        lambda x: x.transpose(),
        lambda x: x.transpose(2, 0, 1),
        lambda x: x.transpose((2, 0, 1)),
        lambda x: x.swapaxes(0, -1),
        lambda x: x.T,
        lambda x: x[:, None].squeeze(1),
        lambda x: x.clip(-0.5, 0.5),
        lambda x: x.clip(max=0.1),
        lambda x: x.astype(np.float32),
        lambda x: x.copy(),
        lambda x: -x,
        lambda x: abs(x),
        lambda x: 2 ** (x / 3 - 1) ** 2,
        lambda x: x @ x.swapaxes(1, 2),
        lambda x: (x > 0) | ~(x <= -1) & (x != 0) & (x >= -9) & (x < 9) & (x == x),
        lambda x: (x > 0) ^ (x < 1),
        lambda x: True ^ (x > 0),
        lambda x: (x > 0).any(),
        lambda x: (x > -1).all(axis=(0, 2), keepdims=True),
        lambda x: +x,
        lambda x: x[1, ..., ::2],
    ],
)
def test_same_as_numpy(method: Any) -> None:
    got, expected = method(mg.Tensor(X)), method(X)
    assert isinstance(got, mg.Tensor)
    assert got.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(got.data, expected, rtol=1e-14)  # sums in another order


def test_what_the_data_is_like() -> None:
    x = mg.Tensor(X)
    assert (x.shape, x.ndim, x.size, len(x)) == (X.shape, 3, 24, 2)
    assert [row.shape for row in x] == [(3, 4)] * 2
    assert x.tolist() == X.tolist()
    assert X[1, 2, 3] in x
    assert 9.0 not in x
    one = mg.Tensor(2.5)
    assert (one.item(), float(one), int(one), bool(one)) == (2.5, 2.5, 2, True)
    assert [10, 20, 30][mg.Tensor(np.array(1))] == 20
    assert f"{one:.2f}" == "2.50"
    with pytest.raises(TypeError, match="has no length"):
        len(one)
    with pytest.raises(TypeError, match="index: expected an integer tensor, got float32"):
        [10, 20][one]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (mg.Tensor([1.0, 2.0]), "Tensor([1., 2.])"),
        (mg.Tensor([1.0], requires_grad=True), "Tensor([1.], requires_grad=True)"),
        (mg.Tensor([1.0], requires_grad=True) * 2.0, "Tensor([2.], op=mul)"),
        (mg.Tensor(np.arange(2)), "Tensor([0, 1], dtype=int64)"),
        (mg.Tensor(np.ones((0, 3))), "Tensor([], shape=(0, 3), dtype=float64)"),
        (mg.Tensor(np.zeros((50, 50))), "0.]], shape=(50, 50), dtype=float64)"),
        (mg.Tensor(np.zeros((8, 28, 28, 32))), "..., 0.]]]], shape=(8, 28, 28, 32), dtype"),
    ],
)
def test_repr(x: mg.Tensor, text: str) -> None:
    assert text in repr(x)
    assert len(repr(x)) < 500


def test_tensors_are_keys_by_identity() -> None:
    x, y = mg.Tensor([1.0]), mg.Tensor([1.0])
    assert {x: 1, y: 2}[x] == 1
