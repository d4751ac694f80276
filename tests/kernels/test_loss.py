"""Softmax cross-entropy: the twin against PyTorch and by hand, the compiled kernels against it."""

import math

import numpy as np
import pytest

import minigrad_ext

TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
SHAPES = {"digits": (37, 10), "two": (5, 2), "one_class": (4, 1), "one_row": (1, 7),
          "many_classes": (3, 1003), "threads": (700, 100)}  # fmt: skip
inf = np.inf


def loss_and_grad(g, logits, labels, label_smoothing=0.0, ignore_index=-100):
    config = {"label_smoothing": label_smoothing, "ignore_index": ignore_index}
    return (
        minigrad_ext.softmax_cross_entropy(logits, labels, **config),
        minigrad_ext.softmax_cross_entropy_grad(g, logits, labels, **config),
    )


def torch_loss_and_grad(g, logits, labels, label_smoothing, ignore_index):
    torch = pytest.importorskip("torch", reason="PyTorch is an independent oracle")
    t_logits = torch.from_numpy(logits).requires_grad_()
    losses = torch.nn.functional.cross_entropy(
        t_logits,
        torch.from_numpy(labels),
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction="none",
    )
    losses.backward(torch.from_numpy(g))
    return losses.detach().numpy(), t_logits.grad.numpy()


@pytest.fixture(params=SHAPES)
def data(request):
    """Make g, logits and labels; some labels of each case are 0."""
    rng = np.random.default_rng(0)
    M, C = SHAPES[request.param]
    return rng.normal(size=M), rng.normal(0, 3, (M, C)), rng.integers(0, C, M)


@pytest.mark.parametrize("ignore_index", [-100, 0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_twin_agrees_with_torch(data, label_smoothing, ignore_index, agree):
    with minigrad_ext.kernels("reference"):
        got = loss_and_grad(*data, label_smoothing, ignore_index)
    agree(got, torch_loss_and_grad(*data, label_smoothing, ignore_index), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ignore_index", [-100, 0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
def test_kernels_agree_with_twin(data, dtype, label_smoothing, ignore_index, agree):
    g, logits, labels = data
    arguments = (g.astype(dtype), logits.astype(dtype), labels, label_smoothing, ignore_index)
    got = loss_and_grad(*arguments)
    with minigrad_ext.kernels("reference"):
        # losses are up to about 20
        agree(got, loss_and_grad(*arguments), rtol=TOLERANCE[dtype], atol=20 * TOLERANCE[dtype])


@pytest.mark.parametrize("which", ["blas", "reference"])
@pytest.mark.parametrize(
    ("row", "label", "smoothing", "loss", "grad"),
    [
        ([0, 0, 0, 0], 2, 0, np.log(4), [0.25, 0.25, -0.75, 0.25]),
        ([1e4, 0], 0, 0, 0, [0, 0]),
        ([1e4, 0], 1, 0, 1e4, [1, -1]),
        ([-1e4, -1e4], 1, 0, np.log(2), [0.5, -0.5]),
        ([0, -inf], 0, 0, 0, [0, 0]),
        ([0, -inf], 1, 0, inf, [1, -1]),
        ([0, -inf], 0, 0.5, inf, [0.25, -0.25]),
        ([-inf, -inf], 0, 0, np.nan, [np.nan, np.nan]),
        ([inf, 0], 0, 0, np.nan, [np.nan, np.nan]),
        ([np.nan, 0], 1, 0, np.nan, [np.nan, np.nan]),
        ([7], 0, 0.1, 0, [0]),
    ],
)
def test_extreme_logits(row, label, smoothing, loss, grad, which, dtype, agree):
    arrays = np.ones(1, dtype), np.array([row], dtype), np.array([label])
    expected = np.array([loss], dtype), np.array([grad], dtype)
    with minigrad_ext.kernels(which):
        agree(loss_and_grad(*arrays, smoothing), expected, rtol=1e-6, atol=1e-6)


def test_confident_rows_keep_a_gradient():
    """p - 1 at the label is computed without cancellation: here p is 1 in float32."""
    logits = np.array([[20, 0]], np.float32)
    grad = minigrad_ext.softmax_cross_entropy_grad(
        np.ones(1, np.float32), logits, np.array([0]), label_smoothing=0.0, ignore_index=-100
    )
    p = 1 / (1 + np.exp(20.0))
    np.testing.assert_allclose(grad, [[-p, p]], rtol=1e-6)


def test_exp_is_within_two_units_in_the_last_place():
    """The gradient of a logit x beside a much larger one is e^x, down to what float32 can hold."""
    x = np.concatenate([np.linspace(-18, -110, 60001), [-1e30, -inf]]).astype(np.float32)
    logits = np.stack([np.zeros_like(x), x], axis=1)
    _, grad = loss_and_grad(np.ones_like(x), logits, np.zeros(len(x), int))
    exact = np.array([math.exp(value) for value in x])
    unit = np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert (np.abs(grad[:, 1] - exact) <= 2 * unit).all()  # 1 + e^-18 is 1 in float32
    assert (grad[x < -104, 1] == 0).all()


def test_sums_of_many_classes_lose_nothing():
    """2**20 + 3 equal logits: their number's logarithm is exact to half a unit."""
    C = 2**20 + 3
    losses, grad = loss_and_grad(
        np.ones(1, np.float32), np.full((1, C), 7, np.float32), np.zeros(1, int)
    )
    assert losses[0] == np.float32(math.log(C))
    assert (grad[0, 1:] == np.float32(1 / C)).all()


@pytest.mark.parametrize("position", [0, 7, 8, 300, 1002])
def test_the_largest_logit_is_found_anywhere(position, dtype):
    """By which all are shifted: without it exp(100) would overflow."""
    logits = np.zeros((1, 1003), dtype)
    logits[0, position] = 100
    losses, grad = loss_and_grad(np.ones(1, dtype), logits, np.array([position]))
    assert losses[0] < 1e-30
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("which", ["blas", "reference"])
def test_ignored_rows_are_zero_whatever_they_hold(which, dtype):
    logits = np.array([[np.nan, inf], [1, 2]], dtype)
    g = np.array([np.nan, 1], dtype)
    with minigrad_ext.kernels(which):
        losses, grad = loss_and_grad(g, logits, np.array([-7, 1]), 0.1, -7)
    assert losses[0] == 0
    assert (grad[0] == 0).all()
    assert losses[1] > 0


@pytest.mark.parametrize("integer", ["int8", "uint8", "int16", ">i4", "int32", "uint32", "uint64"])
def test_labels_of_any_integer_type(integer, agree):
    g, logits, labels = np.ones(3), np.eye(3), np.array([2, 0, 1])
    agree(loss_and_grad(g, logits, labels.astype(integer)), loss_and_grad(g, logits, labels))


@pytest.mark.parametrize("which", ["blas", "reference"])
@pytest.mark.parametrize("M", [3, 5000], ids=["one_thread", "threads"])
@pytest.mark.parametrize("bad", [-1, 4, -3, 2**62])
def test_a_label_out_of_range_is_named(bad, M, which, threads):
    threads(2)
    logits, labels = np.zeros((M, 4), np.float32), np.zeros(M, np.int64)
    labels[1] = -100
    labels[2] = bad
    expected = rf"labels expects classes from 0 to 3 \(or ignore_index=-100\), got {bad} in row 2"
    with minigrad_ext.kernels(which):
        with pytest.raises(ValueError, match=f"softmax_cross_entropy: {expected}"):
            minigrad_ext.softmax_cross_entropy(
                logits, labels, label_smoothing=0.0, ignore_index=-100
            )
        with pytest.raises(ValueError, match=f"softmax_cross_entropy_grad: {expected}"):
            minigrad_ext.softmax_cross_entropy_grad(
                logits[:, 0], logits, labels, label_smoothing=0.0, ignore_index=-100
            )


def test_a_huge_unsigned_label_does_not_wrap_around_to_ignore_index():
    labels = np.array([2**64 - 100], np.uint64)  # as int64 it is -100
    with pytest.raises(ValueError, match="labels expects classes from 0 to 1"):
        minigrad_ext.softmax_cross_entropy(
            np.zeros((1, 2)), labels, label_smoothing=0.0, ignore_index=-100
        )
