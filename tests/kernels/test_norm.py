"""Batch norm's kernels: the twin against PyTorch, the compiled kernels against the twin."""

import numpy as np
import pytest

import minigrad_ext

SHAPES = {
    "images": (3, 5, 7, 6),
    "rows": (37, 10),
    "one_channel": (129, 1),
    "many_channels": (3, 2, 2, 515),
    "one_row": (28, 9),
    "a_row_and_a_pixel": (29, 9),
    "one_block": (32 * 28, 9),
    "a_block_and_a_pixel": (32 * 28 + 1, 9),
    "more_blocks_than_chunks": (70 * 32 + 5, 255),
    "one_pixel": (1, 4),
    "channels_only": (5,),
    "no_pixels": (0, 3, 3, 4),
    "no_channels": (2, 3, 0),
}
# float32: 32 numbers of size 1 are summed in float32, all others in float64.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


@pytest.fixture(params=SHAPES)
def data(request):
    return _data(SHAPES[request.param])


def _data(shape):
    """Make g, x, mean, inv_std, weight, bias in float64, and the statistics are x's own."""
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, shape)
    pixels = x.reshape(max(x.size // max(shape[-1], 1), 0), shape[-1])
    m = max(len(pixels), 1)
    mean = pixels.sum(axis=0) / m
    inv_std = 1 / np.sqrt(((pixels - mean) ** 2).sum(axis=0) / m + 1e-3)
    weight, bias = rng.normal(size=(2, shape[-1]))
    return rng.normal(size=shape), x, mean, inv_std, weight, bias


@pytest.mark.parametrize("relu", [False, True])
def test_twin_agrees_with_torch(relu, agree):
    torch = pytest.importorskip("torch", reason="PyTorch is an independent oracle")
    g, x, mean, inv_std, weight, bias = _data((3, 5, 7, 6))
    tx, tw, tb = (torch.from_numpy(a).requires_grad_() for a in (x, weight, bias))
    ty = torch.nn.functional.batch_norm(
        tx.permute(0, 3, 1, 2), None, None, tw, tb, training=True, eps=1e-3
    ).permute(0, 2, 3, 1)
    ty = ty.relu() if relu else ty
    ty.backward(torch.from_numpy(g))
    arrays = x, mean, inv_std, weight, bias
    tight = {"rtol": 1e-12, "atol": 1e-12}
    with minigrad_ext.kernels("reference"):
        statistics = minigrad_ext.batch_norm_statistics(x)
        agree(statistics, (mean, 1 / inv_std**2 - 1e-3), **tight)
        y = minigrad_ext.batch_norm(*arrays, None, relu=relu)
        agree(y, ty.detach().numpy(), **tight)
        sums = minigrad_ext.batch_norm_sums(g, *arrays, relu=relu)
        agree(sums, np.stack([tb.grad.numpy(), tw.grad.numpy()]), **tight)
        dx = minigrad_ext.batch_norm_input_grad(g, *arrays, sums, relu=relu)
        agree(dx, tx.grad.numpy(), **tight)


@pytest.mark.parametrize("relu", [False, True])
def test_every_kernel_agrees(data, relu, dtype, agree):
    g, *arrays = (a.astype(dtype) for a in data)
    x, _, _, weight, bias = arrays
    pixels = max(x.size // max(x.shape[-1], 1), 1)
    sums = np.stack([weight, bias]) * pixels
    calls = {
        "batch_norm_statistics": ((x,), {}, 1),
        "batch_norm": ((*arrays, None), {"relu": relu}, 1),
        "batch_norm_sums": ((g, *arrays), {"relu": relu}, pixels),
        "batch_norm_input_grad": ((g, *arrays, sums), {"relu": relu}, 30),
    }
    for kernel, (arguments, config, size) in calls.items():
        with minigrad_ext.kernels("reference"):
            expected = getattr(minigrad_ext, kernel)(*arguments, **config)
        # size is that of the numbers that are summed up; with one pixel, inv_std is about 30
        tolerance = TOLERANCE[dtype]
        agree(
            getattr(minigrad_ext, kernel)(*arguments, **config),
            expected,
            rtol=tolerance,
            atol=tolerance * size,
        )


@pytest.mark.parametrize("relu", [False, True])
def test_a_residual_is_added_before_the_relu(data, relu, dtype):
    """Exactly what two more passes would give."""
    residual, *arrays = (a.astype(dtype) for a in data)
    expected = minigrad_ext.batch_norm(*arrays, None, relu=False) + residual
    expected = np.maximum(expected, 0) if relu else expected
    got = minigrad_ext.batch_norm(*arrays, residual, relu=relu)
    assert np.array_equal(got, expected)


def test_backward_finds_the_relu_where_forward_had_it(dtype):
    """Also where the output is within a rounding error of 0, 0 itself, infinite or NaN.

    With inv_std 3 and weight 1/3, (x - mean) * scale + bias is near 0 for all x.
    """
    rng = np.random.default_rng(0)
    mean, weight = rng.normal(size=(2, 7)).astype(dtype)
    inv_std, bias = np.full(7, 3, dtype), rng.normal(size=7).astype(dtype)
    x = (mean - bias / (inv_std * weight)) + np.zeros((999, 7), dtype)
    x = np.nextafter(x, rng.normal(size=x.shape).astype(dtype))
    x[5:9, 3], x[:, 6] = [np.nan, np.inf, -np.inf, 0], mean[6]
    bias[6] = 0  # so there the output is 0
    arrays = x, mean, inv_std, weight, bias
    y = minigrad_ext.batch_norm(*arrays, None, relu=True)
    assert 0.1 < (y == 0).mean() < 0.9
    g, no_sums = np.ones_like(x), np.zeros((2, 7), dtype)
    passed = minigrad_ext.relu_grad(g, y)
    dx = minigrad_ext.batch_norm_input_grad(g, *arrays, no_sums, relu=True)
    finite = np.isfinite(x)
    assert np.array_equal((dx / (inv_std * weight))[finite], passed[finite])
    sums = minigrad_ext.batch_norm_sums(g, *arrays, relu=True)
    assert np.array_equal(sums[0], passed.sum(axis=0))


def test_relu_keeps_nan_and_drops_negatives(dtype, agree):
    x = np.array([[-1.0, np.nan, 2.0, np.inf, -np.inf]], dtype)
    one, zero = np.ones(5, dtype), np.zeros(5, dtype)
    y = minigrad_ext.batch_norm(x, zero, one, one, zero, None, relu=True)
    agree(y, np.array([[0, np.nan, 2, np.inf, 0]], dtype))


@pytest.mark.parametrize("offset", [0, 1e3, 1e4])
def test_variance_of_a_large_mean(offset):
    """What E[x**2] - E[x]**2 gets wrong: in float32 it would be 0, or off by 100 %, at 1e4."""
    rng = np.random.default_rng(0)
    x = rng.normal(offset, 1, (5000, 7)).astype(np.float32)
    exact = x.astype(np.float64)
    mean, var = minigrad_ext.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=1e-5)


def test_statistics_of_a_constant_are_exact(dtype):
    x = np.full((200, 3), 0.1, dtype)
    mean, var = minigrad_ext.batch_norm_statistics(x)
    np.testing.assert_allclose(mean, 0.1, rtol=np.finfo(dtype).eps * 8)
    assert (var <= np.finfo(dtype).eps ** 2).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_stay_in_their_channel(value, dtype):
    x = np.ones((300, 5), dtype)
    x[137, 3] = value
    with np.errstate(invalid="ignore"):
        mean, var = minigrad_ext.batch_norm_statistics(x)
    others = [0, 1, 2, 4]
    assert (mean[others] == 1).all()
    assert (var[others] == 0).all()
    assert not np.isfinite(mean[3])
    assert np.isnan(var[3])


def test_sums_do_not_lose_small_terms_of_large_batches():
    """A float32 sum of 2**25 ones stops at 2**24; here blocks are summed in float64."""
    g = np.ones((2**18, 1), np.float32)
    g[0] = 2**25
    x = np.ones_like(g)
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    sums = minigrad_ext.batch_norm_sums(g, x, zero, one, one, zero, relu=False)
    assert abs(sums - (2**25 + 2**18)).max() <= 32  # of the first block, 31 ones may be lost
