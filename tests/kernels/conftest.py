"""What the kernel tests share: one small call of every kernel, and the comparison with its twin."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import minigrad_ext

KERNELS = sorted(set(minigrad_ext.__all__) & set(vars(minigrad_ext.reference)))
DTYPES = [np.float32, np.float64]


@dataclass
class Call:
    """One call of a kernel: its arrays, by name, and its configuration."""

    kernel: str
    arrays: dict[str, np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **changes):
        arguments = self.arrays | self.config | changes
        return getattr(minigrad_ext, self.kernel)(**arguments)

    def reference(self, **changes):
        with minigrad_ext.kernels("reference"):
            return self(**changes)


def make_call(kernel: str, dtype: type, N: int) -> Call:
    """A call on N images (or rows, or matrices), with numbers that are small multiples of 1/16."""
    rng = np.random.default_rng(0)

    def numbers(*shape):
        return rng.integers(-32, 33, shape).astype(dtype) / dtype(16)

    conv = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    pool = {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "ceil_mode": True}
    mean = pool | {"count_include_pad": False}
    ce = {"label_smoothing": 0.1, "ignore_index": 3}
    x, w, conv_g = numbers(N, 13, 11, 6), numbers(3, 2, 3, 10), numbers(N, 6, 12, 10)
    pool_g, vector = numbers(N, 7, 4, 6), numbers(6)
    index = np.full(pool_g.shape, 2, np.uint8)  # in the image, even where a window hangs over
    index[:, 1:-1] = rng.integers(0, 6, index[:, 1:-1].shape)
    logits, labels = numbers(37 * N, 7), rng.integers(0, 7, 37 * N)
    norm = {"x": x, "mean": vector, "inv_std": abs(vector), "weight": vector, "bias": numbers(6)}
    arrays, config = {
        "conv2d": ({"x": x, "w": w, "b": numbers(10)}, conv | {"relu": True}),
        "conv2d_input_grad": ({"g": conv_g, "w": w}, conv | {"input_shape": x.shape}),
        "conv2d_weight_grad": ({"g": conv_g, "x": x}, conv | {"weight_shape": w.shape}),
        "conv2d_grads": (
            {"g": conv_g, "x": x, "w": w, "out": abs(conv_g)}, conv | {"needs": (True, True, True)}
        ),
        "channel_sums": ({"g": conv_g}, {}),
        "max_pool2d": ({"x": x}, pool),
        "max_pool2d_grad": ({"g": pool_g, "index": index}, pool | {"input_shape": x.shape}),
        "max_pool2d_gather": ({"x": x, "index": index}, pool),
        "avg_pool2d": ({"x": x}, mean),
        "avg_pool2d_grad": ({"g": pool_g}, mean | {"input_shape": x.shape}),
        "batch_norm_statistics": ({"x": x}, {}),
        "batch_norm": (norm | {"residual": x[::-1].copy()}, {"relu": True}),
        "batch_norm_sums": ({"g": x[::-1].copy()} | norm, {"relu": True}),
        "batch_norm_input_grad": (
            {"g": x[::-1].copy()} | norm | {"sums": numbers(2, 6)}, {"relu": True}
        ),
        "softmax_cross_entropy": ({"logits": logits, "labels": labels}, ce),
        "softmax_cross_entropy_grad": (
            {"g": numbers(37 * N), "logits": logits, "labels": labels}, ce
        ),
        "dropout": ({"x": x}, {"p": 0.25, "seed": 2**63 + 7}),
        "matmul": ({"a": numbers(N, 9, 13), "b": numbers(N, 13, 7)}, {}),
        "add": ({"x": x, "y": x[::-1].copy()}, {}),
        "add_relu": ({"x": x, "y": x[::-1].copy()}, {}),
        "relu": ({"x": x}, {}),
        "relu_grad": ({"g": x[::-1].copy(), "out": x}, {}),
        "erf": ({"x": x}, {}),
    }[kernel]  # fmt: skip
    return Call(kernel, arrays, config)


def assert_agree(got, expected, *, rtol=0.0, atol=0.0):
    """The same arrays, one or several: shapes, dtypes, NaN in the same places, and values."""
    if not isinstance(got, tuple):
        got, expected = (got,), (expected,)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert isinstance(a, np.ndarray)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def pytest_generate_tests(metafunc):
    """A test that asks for `kernel` runs for each of them; one that asks for `dtype`, for both."""
    if "kernel" in metafunc.fixturenames:
        metafunc.parametrize("kernel", KERNELS)
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@pytest.fixture
def call():
    return make_call


@pytest.fixture
def agree():
    return assert_agree


@pytest.fixture
def sixteenths():
    """Small multiples of 1/16: float32 holds all their products and sums exactly."""
    rng = np.random.default_rng(0)
    return lambda *shape, dtype: rng.integers(-16, 17, shape).astype(dtype) / dtype(16)


@pytest.fixture
def threads():
    """set_num_threads, undone after the test."""
    before = minigrad_ext.get_num_threads()
    yield minigrad_ext.set_num_threads
    minigrad_ext.set_num_threads(before)


@pytest.fixture(params=["blas", "direct"])
def exact(request):
    """Compute in the ways that are exact where float32 holds every sum, one after the other."""
    with minigrad_ext.kernels(request.param):
        yield


@pytest.fixture(params=["auto", "blas", "direct", "winograd"])
def way(request):
    """Compute in all compiled ways, one after the other."""
    with minigrad_ext.kernels(request.param):
        yield
