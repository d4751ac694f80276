"""Pooling: the twin against PyTorch and by hand, the compiled kernels against the twin."""

import itertools

import numpy as np
import pytest

import minigrad_ext

# H, W, C; kernel_size, stride, padding
GEOMETRIES = {
    "2x2": (8, 6, 5, (2, 2), (2, 2), (0, 0)),
    "2x2_odd_image": (7, 9, 16, (2, 2), (2, 2), (0, 0)),
    "2x2_last_row_unseen": (7, 8, 16, (2, 2), (2, 2), (0, 0)),
    "2x2_last_column_unseen": (8, 9, 16, (2, 2), (2, 2), (0, 0)),
    "3x3_last_row_unseen_padded": (6, 5, 4, (3, 3), (3, 3), (1, 1)),
    "3x3_overlapping": (8, 7, 3, (3, 3), (2, 2), (1, 1)),
    "3x3_every_pixel": (5, 6, 33, (3, 3), (1, 1), (1, 1)),
    "3x2_unequal": (9, 10, 8, (3, 2), (2, 3), (1, 0)),
    "2x2_padded": (5, 5, 4, (2, 2), (2, 2), (1, 1)),
    "5x4_padded": (6, 7, 2, (5, 4), (3, 4), (2, 2)),
    "stride_beyond_kernel": (11, 9, 3, (2, 3), (5, 4), (1, 1)),
    "whole_image": (4, 6, 7, (4, 6), (1, 1), (0, 0)),
    "one_pixel": (1, 1, 3, (1, 1), (1, 1), (0, 0)),
    "one_row": (1, 12, 1, (1, 3), (1, 2), (0, 1)),
    "one_pixel_padded": (1, 1, 2, (2, 2), (1, 1), (1, 1)),
    "channels_in_blocks": (5, 4, 163, (3, 2), (2, 2), (1, 0)),
    "256_taps": (18, 17, 2, (16, 16), (1, 2), (8, 7)),
    "257_taps": (3, 258, 2, (1, 257), (2, 1), (0, 3)),
}
# With ceil_mode these hang over the edge, or would start beyond it and are dropped.
CASES = {
    f"{name}{'_ceil' * ceil_mode}": (*case, ceil_mode)
    for (name, case), ceil_mode in itertools.product(GEOMETRIES.items(), (False, True))
}
EMPTY = {"no_channels": (4, 4, 0, (2, 2), (2, 2), (0, 0), False)}


@pytest.fixture(params=CASES | EMPTY)
def case(request, sixteenths):
    """Make x and the configuration of one geometry."""

    def make(dtype, N=3):
        *image, kernel_size, stride, padding, ceil_mode = (CASES | EMPTY)[request.param]
        return sixteenths(N, *image, dtype=dtype), {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "ceil_mode": ceil_mode,
        }

    return make


def reference(kernel, *arrays, **config):
    with minigrad_ext.kernels("reference"):
        return getattr(minigrad_ext, kernel)(*arrays, **config)


def used_memory(shape, dtype):
    """An array as others left it behind."""
    return np.full(shape, 77, dtype)


def pixels(index, x, config):
    """The pixels that the taps saw, counted as PyTorch counts them."""
    place = np.arange(x[0, :, :, 0].size, dtype=x.dtype).reshape(1, *x.shape[1:3], 1)
    numbered = np.ascontiguousarray(np.broadcast_to(place, x.shape))
    return reference("max_pool2d_gather", numbered, index, **config).astype(np.int64)


def channels_first(torch, a):
    return torch.from_numpy(a).permute(0, 3, 1, 2)


# --------------------------------------------------------------------------------------- the twin


@pytest.mark.parametrize("case", CASES, indirect=True)  # PyTorch refuses the empty one
def test_max_twin_agrees_with_torch(case, agree, sixteenths):
    torch = pytest.importorskip("torch", reason="PyTorch is an independent oracle")
    x, config = case(np.float64)  # with many equal numbers: the first of them must win
    tx = torch.from_numpy(x).requires_grad_()
    ty, t_index = torch.nn.functional.max_pool2d(
        tx.permute(0, 3, 1, 2), **config, return_indices=True
    )
    y, index = reference("max_pool2d", x, **config)
    agree(y, ty.detach().permute(0, 2, 3, 1).numpy())
    agree(pixels(index, x, config), t_index.permute(0, 2, 3, 1).numpy())
    g = sixteenths(*y.shape, dtype=np.float64)
    ty.backward(channels_first(torch, g))
    agree(reference("max_pool2d_grad", g, index, input_shape=x.shape, **config), tx.grad.numpy())
    agree(reference("max_pool2d_gather", x, index, **config), y)


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with_padding", "without"])
def test_average_twin_agrees_with_torch(case, count_include_pad, agree, sixteenths):
    torch = pytest.importorskip("torch", reason="PyTorch is an independent oracle")
    x, config = case(np.float64)
    config["count_include_pad"] = count_include_pad
    tx = torch.from_numpy(x).requires_grad_()
    ty = torch.nn.functional.avg_pool2d(tx.permute(0, 3, 1, 2), **config)
    y = reference("avg_pool2d", x, **config)
    agree(y, ty.detach().permute(0, 2, 3, 1).numpy(), rtol=1e-15, atol=1e-15)  # rounds once
    g = sixteenths(*y.shape, dtype=np.float64)
    ty.backward(channels_first(torch, g))
    dx = reference("avg_pool2d_grad", g, input_shape=x.shape, **config)
    agree(dx, tx.grad.numpy(), rtol=1e-14, atol=1e-14)


def test_twin_by_hand():
    x = np.array([[1.0, 5.0, 2.0], [4.0, 5.0, 3.0], [7.0, 0.0, 9.0]]).reshape(1, 3, 3, 1)
    config = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": True}
    y, index = reference("max_pool2d", x, **config)
    assert y.squeeze().tolist() == [[5, 3], [7, 9]]
    assert index.squeeze().tolist() == [[1, 2], [0, 0]]
    average = reference("avg_pool2d", x, **config, count_include_pad=True)
    assert average.squeeze().tolist() == [[3.75, 2.5], [3.5, 9]]
    g = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 2, 1)
    dx = reference("max_pool2d_grad", g, index, input_shape=x.shape, **config)
    assert dx.ravel().tolist() == [0, 1, 0, 0, 0, 2, 3, 0, 4]
    overlapping = config | {"stride": (1, 1), "ceil_mode": False}
    index = np.array([3, 2, 1, 0], np.uint8).reshape(1, 2, 2, 1)  # the middle, four times
    dx = reference("max_pool2d_grad", g, index, input_shape=x.shape, **overlapping)
    assert dx.ravel().tolist() == [0, 0, 0, 0, 10, 0, 0, 0, 0]


# ---------------------------------------------------------------------------- the compiled kernels


def test_max_is_exact(case, dtype, agree, sixteenths, monkeypatch):
    monkeypatch.setattr("minigrad_ext.max_pool.new_array", used_memory)
    x, config = case(dtype)
    y, index = minigrad_ext.max_pool2d(x, **config)
    agree((y, index), reference("max_pool2d", x, **config))
    g = sixteenths(*y.shape, dtype=dtype)
    got = minigrad_ext.max_pool2d_grad(g, index, input_shape=x.shape, **config)
    agree(got, reference("max_pool2d_grad", g, index, input_shape=x.shape, **config))
    agree(minigrad_ext.max_pool2d_gather(x, index, **config), y)


@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with_padding", "without"])
def test_average_agrees(case, count_include_pad, dtype, agree, sixteenths):
    x, config = case(dtype)
    config["count_include_pad"] = count_include_pad
    y = minigrad_ext.avg_pool2d(x, **config)
    agree(y, reference("avg_pool2d", x, **config))  # exact sums, one division
    g = sixteenths(*y.shape, dtype=dtype)
    got = minigrad_ext.avg_pool2d_grad(g, input_shape=x.shape, **config)
    expected = reference("avg_pool2d_grad", g, input_shape=x.shape, **config)
    # at most 9 terms, each rounded to within 2 units in the last place
    agree(got, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("which", ["blas", "reference"])
@pytest.mark.parametrize("C", [1, 3, 8, 21])
def test_max_with_nan_and_infinities(C, which, dtype):
    nan, inf = np.nan, np.inf
    windows = np.array(
        [
            # the window, its maximum, the place of that
            [1, nan, 2, nan, nan, 1],
            [nan, inf, nan, 3, nan, 0],
            [-inf, -inf, -inf, -inf, -inf, 0],
            [-inf, -inf, -5, -inf, -5, 2],
            [1, inf, inf, nan, nan, 3],
            [2, inf, inf, 1, inf, 1],
            [-0.0, 0.0, -1, 0.0, 0.0, 0],
        ]
    )
    x = np.repeat(windows[:, :4].reshape(-1, 2, 2, 1), C, axis=3).astype(dtype)
    config = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False}
    with minigrad_ext.kernels(which):
        y, index = minigrad_ext.max_pool2d(x, **config)
    for c in range(C):
        np.testing.assert_array_equal(y[:, 0, 0, c], windows[:, 4].astype(dtype))
        np.testing.assert_array_equal(index[:, 0, 0, c], windows[:, 5])


def test_padding_never_wins_the_maximum(dtype):
    x = np.full((1, 3, 3, 2), -7, dtype)
    config = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": False}
    y, index = minigrad_ext.max_pool2d(x, **config)
    assert (y == -7).all()
    assert index[0, :, :, 0].tolist() == [[4, 3], [1, 0]]


def test_subnormal_numbers_are_kept(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.arange(16, dtype=dtype).reshape(1, 4, 4, 1) * tiny
    config = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False}
    y, _ = minigrad_ext.max_pool2d(x, **config)
    assert (y.ravel() / tiny).tolist() == [5, 7, 13, 15]
    one = config | {"kernel_size": (1, 1), "stride": (1, 1)}
    np.testing.assert_array_equal(minigrad_ext.avg_pool2d(x, **one, count_include_pad=True), x)


@pytest.mark.parametrize(
    ("kernel_size", "bad"),
    [((2, 2), bad) for bad in (2, 4, 255)]
    + [((2, 129), bad) for bad in (-1, -(2**31), 2**31 - 1, 258, 129)],
)
@pytest.mark.parametrize("which", ["blas", "reference"])
@pytest.mark.parametrize("N", [2, 500], ids=["one_thread", "threads"])
def test_index_of_no_pixel_is_refused(N, kernel_size, bad, which, threads):
    threads(2)
    config = {"kernel_size": kernel_size, "stride": (2, 1), "padding": (0, 0), "ceil_mode": True}
    x = np.ones((N, 3, kernel_size[1], 70), np.float32)
    y, index = minigrad_ext.max_pool2d(x, **config)  # the second window hangs over by a row
    index[0, -1, 0, 69] = bad  # not in the last image, which another thread takes
    expected = f"index expects taps .* got {bad};"
    with minigrad_ext.kernels(which):
        with pytest.raises(ValueError, match=f"max_pool2d_grad: {expected}"):
            minigrad_ext.max_pool2d_grad(y, index, input_shape=x.shape, **config)
        with pytest.raises(ValueError, match=f"max_pool2d_gather: {expected}"):
            minigrad_ext.max_pool2d_gather(x, index, **config)
