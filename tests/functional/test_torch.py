"""PyTorch as the oracle: values and gradients of the neural ops, over their configuration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here and is not installed")
T = torch.nn.functional if torch else None

# float64 against another order of summation; float32 sums of up to 200 terms near 1.
TOLERANCE = {np.float64: 1e-11, np.float32: 2e-4}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def compare(ours: Any, theirs: Any, inputs: list[np.ndarray], dtype: Any) -> None:
    """Both functions of NHWC arrays; `theirs` gets and returns torch tensors."""
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    arrays = [x.astype(dtype) for x in inputs]
    xs = [mg.Tensor(x.copy(), requires_grad=True) for x in arrays]
    ts = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, t = ours(*xs), theirs(*ts)
    assert y.dtype == dtype
    assert y.shape == tuple(t.shape)
    np.testing.assert_allclose(y.data, t.detach().numpy(), **tolerance)
    g = np.random.default_rng(9).standard_normal(y.shape).astype(dtype)
    y.backward(g)
    t.backward(torch.tensor(g))
    for a, b in zip(xs, ts, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), **tolerance)


def nchw(x: Any) -> Any:
    return x.permute(0, 3, 1, 2)


def nhwc(x: Any) -> Any:
    return x.permute(0, 2, 3, 1)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


CONVOLUTIONS = [
    dict(zip(("kernel", "stride", "padding", "dilation", "groups"), values, strict=True))
    for values in itertools.product(
        [(1, 1), (3, 3), (2, 5)], [1, (2, 3)], [0, (2, 1)], [1, 2], [1, 2, 4]
    )
]


@dtypes
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_conv2d(case: dict[str, Any], dtype: Any) -> None:
    config = {name: value for name, value in case.items() if name != "kernel"}
    w = normal(*case["kernel"], 4 // case["groups"], 8)
    compare(
        lambda x, w, b: F.conv2d(x, w, b, **config),
        lambda x, w, b: nhwc(T.conv2d(nchw(x), w.permute(3, 2, 0, 1), b, **config)),
        [normal(2, 9, 11, 4), w, normal(8)],
        dtype,
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch's, of its own slowness
@dtypes
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding(kernel: tuple[int, int], dilation: int, dtype: Any) -> None:
    compare(
        lambda x, w: F.conv2d(x, w, padding="same", dilation=dilation),
        lambda x, w: nhwc(
            torch.conv2d(nchw(x), w.permute(3, 2, 0, 1), padding="same", dilation=dilation)
        ),
        [normal(2, 6, 7, 3), normal(*kernel, 3, 5)],
        dtype,
    )


POOLS = [
    dict(zip(("kernel_size", "stride", "padding", "ceil_mode"), values, strict=True))
    for values in itertools.product([2, 3, (3, 2)], [None, 1, 2, (3, 2)], [0, 1], [False, True])
]


@dtypes
@pytest.mark.parametrize("case", POOLS, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_max_pool2d(case: dict[str, Any], dtype: Any) -> None:
    compare(
        lambda x: F.max_pool2d(x, **case),
        lambda x: nhwc(T.max_pool2d(nchw(x), **case)),
        [normal(2, 7, 8, 3)],
        dtype,
    )


@dtypes
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", POOLS, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_avg_pool2d(case: dict[str, Any], count_include_pad: bool, dtype: Any) -> None:
    compare(
        lambda x: F.avg_pool2d(x, **case, count_include_pad=count_include_pad),
        lambda x: nhwc(T.avg_pool2d(nchw(x), **case, count_include_pad=count_include_pad)),
        [normal(2, 7, 8, 3)],
        dtype,
    )


@dtypes
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training: bool, add: bool, relu: bool, dtype: Any) -> None:
    means, variances = normal(5).astype(dtype), np.abs(normal(5)).astype(dtype) + 1
    ours = means.copy(), variances.copy()
    theirs = torch.tensor(means), torch.tensor(variances)
    config = {"training": training, "momentum": 0.3, "eps": 1e-3}
    activation = "relu" if relu else None

    def reference(x: Any, w: Any, b: Any, r: Any = 0) -> Any:
        y = nhwc(T.batch_norm(nchw(x), *theirs, w, b, **config)) + r
        return torch.relu(y) if relu else y

    x = normal(3, 4, 6, 5) * 2 + 3
    compare(
        lambda x, w, b, r=None: F.batch_norm(x, w, b, *ours, r, activation=activation, **config),
        reference,
        [x, normal(5), normal(5), x[::-1] - 2][: 4 if add else 3],
        dtype,
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_cross_entropy(reduction: str, label_smoothing: float, dtype: Any) -> None:
    labels = np.array([0, 4, 2, 2, 1, 3])
    config = {"reduction": reduction, "label_smoothing": label_smoothing, "ignore_index": 2}
    compare(
        lambda x: F.cross_entropy(x, labels, **config),
        lambda x: T.cross_entropy(x, torch.tensor(labels), **config),
        [normal(6, 5) * 3],
        dtype,
    )


@dtypes
def test_cross_entropy_of_probabilities_in_images(dtype: Any) -> None:
    target = F.softmax(normal(2, 3, 4, 5)).astype(dtype)
    compare(
        lambda x: F.cross_entropy(x, target, label_smoothing=0.1),
        lambda x: T.cross_entropy(nchw(x), nchw(torch.tensor(target)), label_smoothing=0.1),
        [normal(2, 3, 4, 5) + 1],
        dtype,
    )


@dtypes
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (F.gelu, T.gelu),
        (lambda x: F.gelu(x, approximate="tanh"), lambda x: T.gelu(x, approximate="tanh")),
        (lambda x: F.leaky_relu(x, negative_slope=0.3), lambda x: T.leaky_relu(x, 0.3)),
        (lambda x: F.max(x, axis=(0, 2)), lambda x: torch.amax(x, (0, 2))),
        (lambda x: F.min(x, axis=1, keepdims=True), lambda x: torch.amin(x, 1, keepdim=True)),
        (lambda x: F.logsumexp(x, axis=(0, 1)), lambda x: torch.logsumexp(x, (0, 1))),
        (lambda x: F.var(x, axis=1, ddof=1), lambda x: torch.var(x, 1)),
        (lambda x: F.clip(x, min=-1, max=1), lambda x: torch.clamp(x, -1, 1)),
        (F.sigmoid, torch.sigmoid),
    ],
    ids=["gelu", "gelu-tanh", "leaky_relu", "amax", "amin", "logsumexp", "var", "clamp", "sigmoid"],
)
def test_functions_with_ties_and_kinks(ours: Any, theirs: Any, dtype: Any) -> None:
    x = np.round(normal(3, 4, 5) * 2)  # many equal numbers, and zeros
    compare(ours, theirs, [x], dtype)
