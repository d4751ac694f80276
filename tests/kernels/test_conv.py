"""Convolution: the twin against PyTorch and by hand, the kernels against the twin, exactly.

All inputs are small multiples of 1/16, so that float32 holds every product and every sum exactly:
whatever the order of summation, there is one right answer, and the tolerance is 0. Winograd rounds
on its way, and has test_winograd.py.
"""

import itertools

import numpy as np
import pytest

import minigrad_ext


def geometry(
    C_in, C_out, size, kernel, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1
):
    top, bottom, left, right = padding
    config = {"stride": stride, "padding": ((top, bottom), (left, right)), "dilation": dilation}
    return (*size, C_in), (*kernel, C_in // groups, C_out), config | {"groups": groups}


GEOMETRIES = {
    "1x1": geometry(5, 7, (6, 5), (1, 1)),
    "1x1_one_channel": geometry(1, 1, (3, 4), (1, 1)),
    "1x1_wide": geometry(64, 33, (9, 7), (1, 1)),
    "1x1_stride": geometry(16, 8, (9, 8), (1, 1), (2, 3)),
    "1x1_padded": geometry(4, 3, (5, 5), (1, 1), padding=(1, 0, 2, 1)),
    "1x1_groups": geometry(6, 9, (4, 5), (1, 1), groups=3),
    "3x3": geometry(3, 8, (8, 7), (3, 3), padding=(1, 1, 1, 1)),
    "3x3_valid": geometry(16, 16, (10, 9), (3, 3)),
    "3x3_stride": geometry(8, 12, (9, 11), (3, 3), (2, 2), (1, 1, 1, 1)),
    "3x3_stride_unequal": geometry(3, 4, (11, 10), (3, 3), (3, 1), (0, 2, 1, 0)),
    "3x3_dilated": geometry(4, 6, (11, 12), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "3x3_dilated_stride": geometry(4, 6, (13, 12), (3, 3), (2, 3), (3, 1, 0, 2), (3, 2)),
    "3x3_dilation_shares_stride": geometry(2, 3, (17, 16), (3, 3), (4, 6), (2, 2, 3, 3), (2, 4)),
    "3x3_groups": geometry(8, 12, (7, 6), (3, 3), (1, 1), (1, 1, 1, 1), groups=4),
    "3x3_groups_stride": geometry(6, 4, (9, 9), (3, 3), (2, 2), (1, 0, 0, 1), groups=2),
    "depthwise": geometry(19, 19, (8, 9), (3, 3), (1, 1), (1, 1, 1, 1), groups=19),
    "depthwise_stride": geometry(16, 16, (9, 8), (3, 3), (2, 2), (1, 1, 1, 1), groups=16),
    "depthwise_dilated": geometry(5, 5, (9, 8), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), groups=5),
    "depthwise_vectors": geometry(48, 48, (9, 10), (3, 5), (1, 1), (1, 1, 2, 2), groups=48),
    "depthwise_vectors_stride": geometry(16, 16, (7, 12), (5, 4), (2, 3), (3, 0, 1, 3), groups=16),
    "depthwise_vectors_dilated": geometry(32, 32, (9, 8), (3, 3), (1, 1), (2, 0, 3, 2), (2, 2), 32),
    "depthwise_rest": geometry(50, 50, (4, 29), (3, 3), (1, 1), (1, 1, 1, 1), groups=50),
    "depthwise_rest_stride": geometry(20, 20, (5, 31), (5, 3), (2, 2), (2, 2, 1, 1), groups=20),
    "depthwise_padding_beyond": geometry(16, 16, (3, 4), (2, 2), padding=(4, 3, 5, 0), groups=16),
    "depthwise_3x9": geometry(16, 16, (6, 7), (3, 9), (1, 1), (1, 1, 4, 4), groups=16),
    "depthwise_9x9": geometry(16, 16, (6, 7), (9, 9), (1, 1), (4, 4, 4, 4), groups=16),
    "depthwise_multiplied": geometry(5, 15, (6, 7), (5, 3), (1, 2), (2, 2, 1, 1), groups=5),
    "5x5": geometry(3, 5, (9, 8), (5, 5), padding=(2, 2, 2, 2)),
    "7x7_stem": geometry(3, 16, (19, 17), (7, 7), (2, 2), (3, 3, 3, 3)),
    "11x11_stem": geometry(1, 6, (23, 24), (11, 11), (4, 4), (2, 1, 2, 1)),
    "1x7": geometry(6, 6, (5, 9), (1, 7), padding=(0, 0, 3, 3)),
    "7x1": geometry(6, 6, (9, 5), (7, 1), padding=(3, 3, 0, 0)),
    "2x2_stride": geometry(4, 4, (7, 7), (2, 2), (2, 2)),
    "2x3_padded": geometry(2, 3, (4, 6), (2, 3), (1, 1), (1, 0, 0, 2)),
    "whole_image": geometry(7, 5, (4, 6), (4, 6)),
    "one_pixel": geometry(3, 2, (1, 1), (3, 3), padding=(1, 1, 1, 1)),
    "padding_beyond_kernel": geometry(2, 3, (3, 4), (2, 2), padding=(4, 3, 5, 0)),
    "stride_beyond_kernel": geometry(4, 2, (13, 11), (2, 2), (5, 4), (0, 0, 1, 0)),
    "stride_beyond_image": geometry(4, 2, (3, 3), (2, 2), (7, 9)),
    "one_row": geometry(4, 4, (1, 30), (1, 5), (1, 2), (0, 0, 2, 2)),
    "one_column": geometry(4, 4, (30, 1), (5, 1), (2, 1), (2, 2, 0, 0)),
}  # fmt: skip
EMPTY = {
    "no_input_channels": geometry(0, 3, (4, 4), (3, 3), padding=(1, 1, 1, 1)),
    "no_output_channels": geometry(3, 0, (4, 4), (3, 3), padding=(1, 1, 1, 1)),
    "padding_only": geometry(3, 2, (0, 0), (3, 3), padding=(2, 2, 2, 2)),
}


@pytest.fixture(params=GEOMETRIES | EMPTY)
def case(request, sixteenths):
    """Make x, w, b, g and the configuration of one geometry, for a dtype and N images."""

    def make(dtype, N=3):
        image, weight, config = (GEOMETRIES | EMPTY)[request.param]
        x, w = sixteenths(N, *image, dtype=dtype), sixteenths(*weight, dtype=dtype)
        b = sixteenths(weight[-1], dtype=dtype)
        with minigrad_ext.kernels("reference"):
            y = minigrad_ext.conv2d(x, w, b, **config, relu=False)
        return x, w, b, sixteenths(*y.shape, dtype=dtype), config

    return make


# --------------------------------------------------------------------------------------- the twin


def test_twin_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(2, 2, 1, 1)
    config = {"stride": (1, 1), "padding": ((0, 1), (0, 0)), "dilation": (1, 1), "groups": 1}
    with minigrad_ext.kernels("reference"):
        y = minigrad_ext.conv2d(x, w, np.array([-5000.0]), **config, relu=True)
        dx = minigrad_ext.conv2d_input_grad(np.ones_like(y), w, input_shape=x.shape, **config)
        dw = minigrad_ext.conv2d_weight_grad(np.ones_like(y), x, weight_shape=w.shape, **config)
    assert y.squeeze().tolist() == [[421, 1532], [3754, 4865], [0, 0]]
    assert dx.squeeze().tolist() == [[1, 11, 10], [101, 1111, 1010], [101, 1111, 1010]]
    assert dw.squeeze().tolist() == [[27, 33], [24, 28]]


@pytest.mark.parametrize("case", GEOMETRIES, indirect=True)  # PyTorch refuses the empty ones
def test_twin_agrees_with_torch(case, agree):
    torch = pytest.importorskip("torch", reason="PyTorch is an independent oracle")
    x, w, b, g, config = case(np.float64)
    (top, bottom), (left, right) = config["padding"]
    tx, tw, tb = (torch.from_numpy(a).requires_grad_() for a in (x, w, b))
    padded = torch.nn.functional.pad(tx.permute(0, 3, 1, 2), (left, right, top, bottom))
    ty = torch.nn.functional.conv2d(
        padded, tw.permute(3, 2, 0, 1), tb,
        stride=config["stride"], dilation=config["dilation"], groups=config["groups"],
    ).permute(0, 2, 3, 1)  # fmt: skip
    ty.backward(torch.from_numpy(g))
    with minigrad_ext.kernels("reference"):
        agree(minigrad_ext.conv2d(x, w, b, **config, relu=False), ty.detach().numpy())
        dx = minigrad_ext.conv2d_input_grad(g, w, input_shape=x.shape, **config)
        dw = minigrad_ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config)
    agree(dx, tx.grad.numpy())
    agree(dw, tw.grad.numpy())


# ---------------------------------------------------------------------------- the compiled kernels


@pytest.mark.usefixtures("exact")
def test_forward_is_exact(case, dtype, agree):
    x, w, b, _, config = case(dtype)
    for bias, relu in itertools.product((b, None), (False, True)):
        got = minigrad_ext.conv2d(x, w, bias, **config, relu=relu)
        with minigrad_ext.kernels("reference"):
            agree(got, minigrad_ext.conv2d(x, w, bias, **config, relu=relu))


@pytest.mark.usefixtures("exact")
def test_input_grad_is_exact(case, dtype, agree):
    x, w, _, g, config = case(dtype)
    got = minigrad_ext.conv2d_input_grad(g, w, input_shape=x.shape, **config)
    with minigrad_ext.kernels("reference"):
        agree(got, minigrad_ext.conv2d_input_grad(g, w, input_shape=x.shape, **config))


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("N", [1, 3, 19])
def test_weight_grad_is_exact(case, dtype, N, agree):
    x, w, _, g, config = case(dtype, N)
    got = minigrad_ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config)
    with minigrad_ext.kernels("reference"):
        agree(got, minigrad_ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config))


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("relu", [False, True])
def test_grads_together_are_exact(case, dtype, relu):
    x, w, b, g, config = case(dtype, 19)
    out = minigrad_ext.conv2d(x, w, b, **config, relu=True) if relu else None
    for needs in itertools.product((False, True), repeat=3):
        got = minigrad_ext.conv2d_grads(g, x, w, out, needs=needs, **config)
        with minigrad_ext.kernels("reference"):
            expected = minigrad_ext.conv2d_grads(g, x, w, out, needs=needs, **config)
        for needed, one, other in zip(needs, got, expected, strict=True):
            assert (one is not None) == (other is not None) == needed
            if needed:
                np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize(
    "shape", [(7, 5), (3, 1000, 100), (2, 60, 70, 20), (4, 0, 3), (9,)], ids=str
)
def test_channel_sums_are_exact(shape, dtype, sixteenths, threads):
    g = sixteenths(*shape, dtype=dtype)
    expected = g.sum(axis=tuple(range(g.ndim - 1)))
    for n in 1, 3:
        threads(n)
        np.testing.assert_array_equal(minigrad_ext.channel_sums(g), expected, strict=True)


@pytest.mark.usefixtures("exact")
def test_nan_in_the_output_lets_the_gradient_pass_as_in_relu(sixteenths, dtype):
    shapes = (2, 9, 7, 64), (1, 1, 64, 33), (2, 9, 7, 33)
    x, w, g = (sixteenths(*shape, dtype=dtype) for shape in shapes)
    out = np.full_like(g, np.nan)
    config = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    masked = minigrad_ext.conv2d_grads(g, x, w, out, needs=(True,) * 3, **config)
    plain = minigrad_ext.conv2d_grads(g, x, w, None, needs=(True,) * 3, **config)
    assert all(map(np.array_equal, masked, plain))


@pytest.mark.parametrize("name", ["1x1_wide", "3x3", "7x7_stem", "depthwise", "3x3_groups_stride"])
@pytest.mark.usefixtures("way")
def test_bits_do_not_depend_on_threads_or_cut(name, agree, threads):
    image, weight, config = GEOMETRIES[name]
    rng = np.random.default_rng(1)
    x = rng.standard_normal((21, *image), np.float32)
    w = rng.standard_normal(weight, np.float32)
    y = minigrad_ext.conv2d(x, w, None, **config, relu=False)
    g = rng.standard_normal(y.shape, np.float32)
    dw = minigrad_ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config)
    dx = minigrad_ext.conv2d_input_grad(g, w, input_shape=x.shape, **config)
    together = minigrad_ext.conv2d_grads(g, x, w, y, needs=(True,) * 3, **config)
    for count, cut in itertools.product((1, 2, 3), (1, 8)):
        threads(count)
        agree(minigrad_ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config), dw)
        again = minigrad_ext.conv2d_grads(g, x, w, y, needs=(True,) * 3, **config)
        assert all(map(np.array_equal, again, together))
        for part in slice(0, cut), slice(cut, None):
            agree(minigrad_ext.conv2d(x[part], w, None, **config, relu=False), y[part])
            shape = x[part].shape
            agree(minigrad_ext.conv2d_input_grad(g[part], w, input_shape=shape, **config), dx[part])


# ------------------------------------------------------------------------------- unusual numbers


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["1x1", "3x3", "7x7_stem", "depthwise"])
def test_nan_and_inf_reach_exactly_the_windows_that_see_them(name, value, dtype, agree, sixteenths):
    image, weight, config = GEOMETRIES[name]
    x, w = sixteenths(2, *image, dtype=dtype), abs(sixteenths(*weight, dtype=dtype)) + 1
    x[1, 3, 2, 0] = value
    for relu in (False, True):
        with np.errstate(invalid="ignore"):
            got = minigrad_ext.conv2d(x, w, None, **config, relu=relu)
            with minigrad_ext.kernels("reference"):
                agree(got, minigrad_ext.conv2d(x, w, None, **config, relu=relu))
        assert np.isfinite(got[0]).all()
    assert np.isnan(got).any() == np.isnan(value)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", ["1x1", "3x3", "depthwise"])
def test_subnormal_numbers_are_kept(name, dtype, agree, sixteenths):
    image, weight, config = GEOMETRIES[name]
    tiny = np.finfo(dtype).smallest_subnormal
    x = sixteenths(2, *image, dtype=dtype) * 16 * tiny
    w = np.ones(weight, dtype)
    got = minigrad_ext.conv2d(x, w, None, **config, relu=False)
    with minigrad_ext.kernels("reference"):
        agree(got, minigrad_ext.conv2d(x, w, None, **config, relu=False))
    assert 0 < abs(got).max() < np.finfo(dtype).smallest_normal
