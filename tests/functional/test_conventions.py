"""What ops do where mathematics leaves a choice: kinks, ties, NaN, empty arrays, dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad.testing import gradcheck

NAN, INF = np.nan, np.inf


def slopes(function: Any, *inputs: Any) -> list[list[float]]:
    """The gradients of sum(function(inputs))."""
    tensors = [mg.Tensor(np.asarray(x, np.float64), requires_grad=True) for x in inputs]
    function(*tensors).sum().backward()
    return [x.grad.tolist() for x in tensors if x.grad is not None]


@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [
        (F.relu, [[-1, 0, 1]], [[0, 0, 1]]),
        (F.relu, [[-0.0, NAN]], [[0, 1]]),
        (F.abs, [[-2, 0, 3]], [[-1, 0, 1]]),
        (F.leaky_relu, [[0, 1]], [[0.01, 1]]),
        (F.maximum, [[1, 2, 3], [2, 2, 2]], [[0, 0.5, 1], [1, 0.5, 0]]),
        (F.minimum, [[1, 2, 3], [2, 2, 2]], [[1, 0.5, 0], [0, 0.5, 1]]),
        (lambda x: F.clip(x, min=1, max=2), [[0.5, 1, 1.5, 2, 2.5]], [[0, 1, 1, 1, 0]]),
        (F.max, [[1, 3, 3, 0]], [[0, 0.5, 0.5, 0]]),
        (F.min, [[0, 3, 0, 0]], [[1 / 3, 0, 1 / 3, 1 / 3]]),
        (lambda x: F.pow(x, 0), [[0, 2]], [[0, 0]]),
        (lambda x: F.pow(x, 1), [[0, 2]], [[1, 1]]),
        (lambda x: F.pow(x, 2), [[0, -3]], [[0, -6]]),
        (lambda y: F.pow(0.0, y), [[0, 2]], [[0, 0]]),
        (F.sqrt, [[4, 0]], [[0.25, INF]]),
        (F.log, [[2, 0]], [[0.5, INF]]),
        (lambda x: F.where(np.array([True, False]), x, 1 / x), [[4, 2]], [[1, -0.25]]),
        (lambda x: F.where(np.array([True]), x, 1 / x), [[0]], [[NAN]]),  # 1 + 0 * Inf
        (lambda x: F.logsumexp(x), [[-INF, 0.0]], [[0, 1]]),
        (lambda x: x.std(), [[2.0, 2.0]], [[0, 0]]),
        (lambda x: x[np.array([0, 0, 2])], [[1, 2, 3]], [[2, 0, 1]]),
    ],
)
def test_slopes_at_kinks(function: Any, inputs: Any, expected: Any) -> None:
    np.testing.assert_equal(slopes(function, *inputs), expected)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (F.relu, [NAN, -0.5, INF], [NAN, 0, INF]),
        (lambda x: F.max(x), [1, NAN, 2], NAN),
        (lambda x: F.argmax(x), [1, NAN, 2], 1),
        (lambda x: F.maximum(x, 0.0), [NAN, 1], [NAN, 1]),
        (lambda x: F.clip(x, min=0, max=1), [NAN, 2], [NAN, 1]),
        (F.exp, [1e4, -INF], [INF, 0]),
        (F.log, [0, -1], [-INF, NAN]),
        (lambda x: F.div(x, 0.0), [1, 0], [INF, NAN]),
        (F.sigmoid, [-1e4, 1e4], [0, 1]),
        (F.softmax, [1e4, 0, -INF], [1, 0, 0]),
        (F.log_softmax, [0, -1e4], [0, -1e4]),
        (F.logsumexp, [1e4, 1e4], 1e4 + np.log(2)),
        (F.logsumexp, [-INF, -INF], -INF),
        (F.gelu, [-INF, 0], [NAN, 0]),
        (F.mean, [], NAN),
        (F.sum, [], 0),
        (F.logsumexp, [], -INF),
    ],
)
def test_values_at_the_edges(function: Any, x: Any, expected: Any) -> None:
    np.testing.assert_array_equal(function(mg.Tensor(np.array(x, np.float64))).data, expected)


def test_first_maximum_and_first_nan_win_in_max_pooling() -> None:
    x = np.array([[1, 1], [1, NAN], [NAN, 2], [0, 3]], np.float64).reshape(1, 4, 2, 1)
    t = mg.Tensor(x, requires_grad=True)
    y = F.max_pool2d(t, kernel_size=(1, 2))
    np.testing.assert_array_equal(y.data.ravel(), [1, NAN, NAN, 3])
    y.sum().backward()
    assert t.grad is not None
    assert t.grad.data.reshape(4, 2).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("kernels", ["blas", "direct", "reference"])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_pool_padding_beyond_half_the_window(kernels: Any, ceil_mode: bool, stride: int) -> None:
    """PyTorch refuses it, ONNX has it: the same as padding by hand first."""
    rng = np.random.default_rng(0)
    x = mg.Tensor(rng.standard_normal((2, 5, 6, 3)), requires_grad=True)
    around = ((0, 0), (2, 2), (2, 2), (0, 0))
    config = {"kernel_size": 3, "stride": stride, "ceil_mode": ceil_mode}
    with mg.kernels(kernels):
        for pool, fill in ((F.max_pool2d, -INF), (F.avg_pool2d, 0.0)):
            got = pool(x, padding=2, **config)
            expected = pool(F.pad(x, pad_width=around, value=fill), **config).data
            expected = expected[:, : got.shape[1], : got.shape[2]]
            np.testing.assert_allclose(got.data, expected, rtol=1e-14)
            assert gradcheck(lambda x, pool=pool: pool(x, padding=2, **config), x)


def test_subnormals_are_kept() -> None:
    tiny = np.float32(1e-42)
    x = mg.Tensor(np.full((1, 1, 1, 1), tiny))
    w = np.ones((1, 1, 1, 1), np.float32)
    assert F.conv2d(x, w).item() == float(tiny)
    assert F.relu(x).item() == float(tiny)


# -------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("scalar", [2, 2.0, True, np.float64(2.0), np.sqrt(2), np.int64(3)])
def test_scalars_never_upcast(scalar: Any) -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    for y in (x + scalar, scalar * x, x / scalar, scalar - x, x**scalar, F.maximum(x, scalar)):
        assert isinstance(y, mg.Tensor)
        assert y.dtype == np.float32


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, np.float32),
        (3, np.float32),
        ([1, 2], np.float32),
        ([[1.0], [2.0]], np.float32),
        (np.ones(2), np.float64),
        (np.float64(1.0), np.float64),
        (np.ones(2, np.float16), np.float16),
        (np.arange(2), np.int64),
        ([True, False], np.bool_),
        (np.ones(2, ">f4"), np.float32),
    ],
)
def test_dtype_of_a_new_tensor(data: Any, dtype: Any) -> None:
    x = mg.Tensor(data)
    assert x.dtype == dtype
    assert x.dtype.isnative


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([[1.0], [1.0, 2.0]], ValueError, "nested to a rectangle, got lists of unequal length"),
        (np.ones(2, complex), TypeError, "got complex128"),
        ("text", TypeError, "expected float, integer or bool data, got <U4"),
        (None, TypeError, "got object"),
    ],
)
def test_data_that_is_refused(data: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        mg.Tensor(data)


def test_mixed_precision_gives_each_leaf_its_own_dtype() -> None:
    x = mg.Tensor(np.ones(2, np.float32), requires_grad=True)
    y = mg.Tensor(np.ones(2, np.float64), requires_grad=True)
    (x * y).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize(
    "left", [np.ones((2, 2), np.float32), np.float32(2), np.float64(2), np.int64(2), 2, [2.0, 1.0]]
)
def test_numpy_on_the_left(left: Any) -> None:
    x = mg.Tensor(np.full((2, 2), 3.0, np.float32), requires_grad=True)
    for got, expected in (
        (left + x, np.asarray(left) + x.data),
        (left - x, np.asarray(left) - x.data),
        (left * x, np.asarray(left) * x.data),
        (left / x, np.asarray(left) / x.data),
    ):
        assert isinstance(got, mg.Tensor)
        assert got.requires_grad
        np.testing.assert_array_equal(got.data, expected.astype(np.float32))
    if np.ndim(left) == 2:
        assert isinstance(left @ x, mg.Tensor)
        assert (left == x).dtype == np.bool_


def test_numpy_decides_whether_it_copies() -> None:
    x = mg.Tensor([1.0, 2.0])
    assert np.shares_memory(np.array(x, copy=False), x.data)
    assert np.shares_memory(np.array(x, copy=None), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert not np.shares_memory(np.array(x, copy=None, dtype=np.float64), x.data)
    with pytest.raises(ValueError, match="converting float32 to float64 needs a copy"):
        np.array(x, copy=False, dtype=np.float64)


def test_asarray_is_refused_where_a_gradient_would_be_lost() -> None:
    x = mg.Tensor([1.0, 2.0])
    assert np.asarray(x) is x.data
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x) is not x.data
    x.requires_grad_()
    for convert in (np.asarray, lambda t: t.numpy()):
        with pytest.raises(RuntimeError, match=r"requires a gradient.*call detach"):
            convert(x)


# -------------------------------------------------------------------------------- empty arrays


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        F.exp,
        F.softmax,
        F.gelu,
        lambda x: F.matmul(x, np.ones((4, 2))),
        lambda x: F.sum(x, axis=0),
        lambda x: F.mean(x, axis=1),
        lambda x: F.reshape(x, shape=(4, 0)),
        lambda x: F.concatenate([x, x]),
        lambda x: F.einsum("ij->j", x),
        lambda x: F.cross_entropy(x, np.zeros(0, int), reduction="sum"),
    ],
)
def test_empty_batches(function: Any) -> None:
    x = mg.Tensor(np.ones((0, 4)), requires_grad=True)
    function(x).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.conv2d(x, w, np.ones(5)),
        lambda x, w: F.conv2d(x, w, padding=1, stride=2, activation="relu"),
        lambda x, w: F.max_pool2d(F.conv2d(x, w), kernel_size=2),
        lambda x, w: F.avg_pool2d(F.conv2d(x, w), kernel_size=2),
        lambda x, w: F.global_avg_pool2d(F.conv2d(x, w)),
        lambda x, w: F.batch_norm(F.conv2d(x, w), None, None, None, None, training=True),
    ],
)
@pytest.mark.parametrize("kernel", [1, 3])
def test_empty_batches_of_images(function: Any, kernel: int) -> None:
    x = mg.Tensor(np.ones((0, 6, 6, 3)), requires_grad=True)
    w = mg.Tensor(np.ones((kernel, kernel, 3, 5)), requires_grad=True)
    y = function(x, w)
    assert y.shape[0] == 0
    y.sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert x.grad.shape == x.shape
    assert not w.grad.data.any()


def test_no_input_channels_leave_the_bias() -> None:
    y = F.conv2d(mg.Tensor(np.ones((1, 3, 3, 0))), np.ones((3, 3, 0, 2)), np.array([1.0, 2.0]))
    assert y.tolist() == [[[[1.0, 2.0]]]]


# -------------------------------------------------------------------------------- errors


def x4(*shape: int) -> mg.Tensor:
    return mg.Tensor(np.ones(shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: F.matmul(x4(2, 3), x4(2, 3)),
            r"matmul: expected shapes .*got \(2, 3\) and \(2, 3\)",
        ),
        (lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 2, 4)), "conv2d: .*channels"),
        (lambda: F.conv2d(x4(1, 4, 4, 3), x4(5, 5, 3, 4)), "conv2d: .*kernel|conv2d: .*window"),
        (lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 3)), r"conv2d: .*axes.*\(3, 3, 3\)"),
        (lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 3, 4), stride=0), "stride .*at least 1, got 0"),
        (
            lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 3, 4), padding=-1),
            "padding .*at least 0, got -1",
        ),
        (
            lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 3, 4), padding="full"),
            '"same" or "valid", got',
        ),
        (
            lambda: F.conv2d(x4(1, 4, 4, 3), x4(3, 3, 3, 4), padding="same", stride=2),
            'padding="same" is defined for stride 1 only',
        ),
        (lambda: F.conv2d(x4(1, 4, 4, 3), x4(1, 1, 3, 4), activation="tanh"), 'None or "relu"'),
        (lambda: F.max_pool2d(x4(1, 4, 4, 3), kernel_size=2, padding=2), "max_pool2d: .*padding"),
        (lambda: F.cross_entropy(x4(2, 3), np.array([0, 3])), "cross_entropy: .*label"),
        (lambda: F.cross_entropy(x4(2, 3), np.array([0, -3])), "cross_entropy: .*label"),
        (lambda: F.cross_entropy(x4(2, 3), np.array([0])), r"expected labels of shape \(2,\)"),
        (lambda: F.cross_entropy(x4(2, 3), np.eye(2, 3, dtype=int)), "one-hot labels take argmax"),
        (lambda: F.cross_entropy(x4(2, 3), np.array([0, 1]), reduction="max"), '"mean", "sum" or'),
        (lambda: F.cross_entropy(x4(2, 3), np.array([0, 1]), label_smoothing=2), "from 0 to 1"),
        (
            lambda: F.mse_loss(x4(3, 1), x4(3)),
            r"expected x and y of one shape, got \(3, 1\) and \(3,\)",
        ),
        (lambda: F.dropout(x4(3), p=1.5), "dropout: expected a probability p from 0 to 1, got 1.5"),
        (
            lambda: F.batch_norm(x4(1, 3), None, None, None, None, training=True),
            "more than one pixel for each channel",
        ),
        (
            lambda: F.batch_norm(x4(2, 3), None, None, None, None, training=False),
            "evaluation needs running_mean and running_var",
        ),
        (
            lambda: F.split(x4(5), 2),
            "a number of sections that divides the length 5 of axis 0, got 2",
        ),
        (lambda: F.concatenate([]), "expected at least one array"),
        (lambda: F.einsum("ij,jk", x4(2, 2)), "names 2 operands, got 1"),
        (lambda: F.einsum("ijk", x4(2, 2)), "gives operand 0 the axes 'ijk', but it has 2"),
        (lambda: F.clip(x4(2)), "clip: expected min, max or both, got neither"),
        (lambda: x4(2).item(), r"item: expected a single number, got shape \(2,\)"),
        (lambda: bool(x4(2)), r"bool: expected a single number, got shape \(2,\)"),
        (
            lambda: F.global_avg_pool2d(x4(2, 2)),
            r"expected x of shape \(N, H, W, C\), got \(2, 2\)",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------- training modes


def test_dropout_drops_the_share_it_says_and_keeps_the_mean() -> None:
    mg.manual_seed(0)
    y = F.dropout(mg.Tensor(np.ones(20_000, np.float32)), p=0.3).data
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.01  # 3 standard deviations


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_dropout_that_drops_nothing_is_the_identity(p: float, training: bool) -> None:
    x = mg.Tensor([1.0])
    assert F.dropout(x, p=p, training=training) is x


def test_dropout_of_everything() -> None:
    assert F.dropout(mg.Tensor(np.ones(5)), p=1.0).tolist() == [0.0] * 5


def test_manual_seed_repeats() -> None:
    x = mg.Tensor(np.ones(100))
    mg.manual_seed(7)
    first = F.dropout(x, p=0.5).data
    mg.manual_seed(7)
    assert np.array_equal(first, F.dropout(x, p=0.5).data)
    assert not np.array_equal(first, F.dropout(x, p=0.5).data)


def test_running_statistics_by_hand() -> None:
    x = mg.Tensor(np.array([[1.0], [3.0]]))  # mean 2, variance 1, with m - 1 in the denominator 2
    mean, var = mg.Tensor(np.array([10.0])), np.array([10.0])
    F.batch_norm(x, None, None, mean, var, training=True, momentum=0.25)
    assert mean.tolist() == [0.75 * 10 + 0.25 * 2]
    assert var.tolist() == [0.75 * 10 + 0.25 * 2]
    F.batch_norm(x, None, None, mean, var, training=False)
    assert mean.tolist() == [8.0]


def test_running_statistics_may_change_before_backward() -> None:
    x = mg.Tensor(np.ones((3, 1)), requires_grad=True)
    mean, var = np.zeros(1), np.ones(1)
    w = mg.Tensor(np.ones(1), requires_grad=True)
    y = F.batch_norm(x, w, None, mean, var, training=False, eps=0)
    mean += 100
    y.sum().backward()
    assert w.grad is not None
    assert w.grad.item() == 3.0


def test_batch_norm_with_relu_keeps_its_input_alone() -> None:
    """Where the ReLU was at work is found out again; with a residual the output is kept, too."""
    x = mg.Tensor(np.random.default_rng(0).standard_normal((4, 5)), requires_grad=True)
    for residual in (None, mg.Tensor(x.data + 1, requires_grad=True)):
        y = F.batch_norm(
            x, np.ones(5), np.zeros(5), None, None, residual, training=True, activation="relu"
        )
        assert y.node is not None
        kept = [a for a in y.node.kept or () if getattr(a, "shape", None) == x.shape]
        expected = [x.data] if residual is None else [x.data, y.data]
        assert {*map(id, kept)} == {*map(id, expected)}


def test_a_residual_has_the_shape_of_x() -> None:
    x, one, zero = np.ones((4, 2, 5)), np.ones(5), np.zeros(5)
    for training in (True, False):
        with pytest.raises(ValueError, match=r"residual expects shape \(4, 2, 5\), that of x"):
            F.batch_norm(x, one, zero, zero, one, zero, training=training, activation="relu")


def test_a_refused_batch_leaves_the_running_statistics_alone() -> None:
    mean, var = np.zeros(3), np.ones(3)
    x = mg.Tensor(np.random.default_rng(0).standard_normal((4, 5)))
    for config in ({}, {"activation": "gelu"}):
        with pytest.raises(ValueError, match="batch_norm: "):
            F.batch_norm(x, np.ones(3), np.ones(3), mean, var, training=True, **config)
        assert not mean.any()
        assert (var == 1).all()


def test_cross_entropy_ignores_rows() -> None:
    x = mg.Tensor(np.log([[0.25, 0.75], [0.5, 0.5]]), requires_grad=True)
    loss = F.cross_entropy(x, np.array([0, -100]))
    assert loss.item() == pytest.approx(np.log(4), rel=1e-15)
    loss.backward()
    assert x.grad is not None
    assert x.grad.tolist()[1] == [0.0, 0.0]
    assert np.isnan(F.cross_entropy(x, np.array([-100, -100])).item())


# -------------------------------------------------------------------------------- the 1x1 idea


def test_pointwise_convolution_is_linear_on_pixels() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((3, 6)), rng.standard_normal(6)
    conv = F.conv2d(mg.Tensor(x), w[None, None], b)
    # The same sums in another order: a few units in the last place.
    np.testing.assert_allclose(conv.data, F.linear(mg.Tensor(x), w, b).data, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shift", [1, 3])
def test_shifting_the_input_shifts_the_output_of_a_pointwise_convolution(shift: int) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal((1, 1, 3, 4))
    moved = F.conv2d(mg.Tensor(np.roll(x, (shift, -shift), (1, 2))), w).data
    assert np.array_equal(moved, np.roll(F.conv2d(mg.Tensor(x), w).data, (shift, -shift), (1, 2)))


def test_shifting_the_input_shifts_the_inner_output_of_a_3x3_convolution() -> None:
    rng = np.random.default_rng(2)
    # Multiples of 1/16 below 8: every sum is exact, so the order does not matter.
    x, w = rng.integers(-99, 99, (1, 9, 8, 3)) / 16, rng.integers(-99, 99, (3, 3, 3, 4)) / 16
    whole = F.conv2d(mg.Tensor(x), w).data
    assert np.array_equal(F.conv2d(mg.Tensor(x[:, 2:, 1:]), w).data, whole[:, 2:, 1:])
