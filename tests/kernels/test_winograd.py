"""Winograd: within its error bound of the exact result, and exactly the plain path's elsewhere.

Exact is the twin in float64. The bound is the one that winograd.pyx states, computed here from the
matrices of the algorithm as they stand in its docstring.
"""

import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from test_layouts import Guarded, needs_mprotect

import minigrad_ext as ext
from minigrad_ext import choice, convolution
from minigrad_ext.direct import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the compiler had no vector extensions")

a, b = 5 / 8, 3 / 2
p, q = 1 / (2 * a**2 * (a**2 - b**2)), 1 / (2 * b**2 * (b**2 - a**2))
AT = np.array([[1, 1, 1, 1, 1, 0], [0, a, -a, b, -b, 0], [0, a**2, a**2, b**2, b**2, 0],
               [0, a**3, -(a**3), b**3, -(b**3), 1]])  # fmt: skip
G = np.array([[1 / (a * b) ** 2, 0, 0], [p, p * a, p * a**2], [p, -p * a, p * a**2],
              [q, q * b, q * b**2], [q, -q * b, q * b**2], [0, 0, 1]])  # fmt: skip
BT = np.array([[a**2 * b**2, 0, -(a**2) - b**2, 0, 1, 0], [0, -a * b**2, -(b**2), a, 1, 0],
               [0, a * b**2, -(b**2), -a, 1, 0], [0, -(a**2) * b, -(a**2), b, 1, 0],
               [0, a**2 * b, -(a**2), -b, 1, 0],
               [0, a**2 * b**2, 0, -(a**2) - b**2, 0, 1]])  # fmt: skip

# Shape of the images, C_out, padding.
SHAPES = {
    "whole tiles": ((2, 8, 12, 32), 32, ((1, 1), (1, 1))),
    "no tile divides": ((3, 13, 7, 16), 48, ((1, 1), (1, 1))),
    "smaller than a tile": ((2, 3, 2, 20), 100, ((1, 1), (1, 1))),
    "one pixel": ((1, 1, 1, 5), 3, ((1, 1), (1, 1))),
    "less than a vector": ((2, 9, 10, 3), 10, ((1, 1), (1, 1))),
    "one channel": ((2, 9, 6, 1), 1, ((1, 1), (1, 1))),
    "a vector and one": ((1, 11, 6, 17), 33, ((1, 1), (1, 1))),
    "without padding": ((2, 7, 27, 48), 20, ((0, 0), (0, 0))),
    "uneven padding": ((2, 6, 5, 16), 16, ((0, 2), (3, 1))),
    "padding beyond the kernel": ((1, 2, 3, 16), 16, ((5, 4), (0, 7))),
    "channels in parts": ((1, 5, 9, 150), 280, ((1, 1), (1, 1))),
    "several blocks": ((11, 28, 31, 16), 16, ((1, 1), (1, 1))),
}


def geometry(padding):
    return {"stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}


def run(way, x, w, b, g, padding, relu=False):
    config = geometry(padding)
    with ext.kernels(way), np.errstate(all="ignore"):
        return {
            "y": ext.conv2d(x, w, b, relu=relu, **config),
            "dx": ext.conv2d_input_grad(g, w, input_shape=x.shape, **config),
            "dw": ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config),
        }


def make(shape, C_out, padding, rng, scale=lambda rng, shape: 1):
    def numbers(*shape):
        return (rng.standard_normal(shape) * scale(rng, shape)).astype(np.float32)

    (N, H, W, C_in), ((top, bottom), (left, right)) = shape, padding
    g = numbers(N, H + top + bottom - 2, W + left + right - 2, C_out)
    return numbers(*shape), numbers(3, 3, C_in, C_out), numbers(C_out), g, padding


def tiles(images, size, before, outputs):
    """The (size, size) pixels of each tile of outputs: an array (N, rows, columns, i, j, C)."""
    down, across = (-(-n // 4) for n in outputs)
    (top, left), (_, H, W, _) = before, images.shape
    after = [
        (0, max(4 * n + size - 4 - m - k, 0)) for n, m, k in ((down, H, top), (across, W, left))
    ]
    padded = np.pad(images, ((0, 0), (top, after[0][1]), (left, after[1][1]), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.moveaxis(views[:, ::4, ::4][:, :down, :across], 3, 5)


def gamma(n):
    return n * 2.0**-24 / (1 - n * 2.0**-24)


def forward_bound(x, w, padding):
    (N, H, W, C), ((top, bottom), (left, right)) = x.shape, padding
    OH, OW = H + top + bottom - 2, W + left + right - 2
    d = tiles(abs(x).astype(float), 6, (top, left), (OH, OW))
    V = np.einsum("pi,nhwijc,qj->nhwpqc", abs(BT), d, abs(BT), optimize=True)
    U = np.einsum("pi,ijco,qj->pqco", abs(G), abs(w).astype(float), abs(G), optimize=True)
    M = np.einsum("nhwpqc,pqco->nhwpqo", V, U, optimize=True)
    y = np.einsum("ip,nhwpqo,jq->nhiwjo", abs(AT), M, abs(AT), optimize=True)
    y = y.reshape(N, 4 * y.shape[1], 4 * y.shape[3], -1)[:, :OH, :OW]
    return gamma(C + 30) * y


def weight_bound(g, x, padding):
    d = tiles(abs(x).astype(float), 6, (padding[0][0], padding[1][0]), g.shape[1:3])
    V = np.einsum("pi,nhwijc,qj->nhwpqc", abs(BT), d, abs(BT), optimize=True)
    h = tiles(abs(g).astype(float), 4, (0, 0), g.shape[1:3])
    dM = np.einsum("ip,nhwijo,jq->nhwpqo", abs(AT), h, abs(AT), optimize=True)
    dU = np.einsum("nhwpqc,nhwpqo->pqco", V, dM, optimize=True)
    count = np.prod(d.shape[:3])
    return gamma(count + 40) * np.einsum("pi,pqco,qj->ijco", abs(G), dU, abs(G), optimize=True)


def bounds(x, w, b, g, padding):
    turned = w[::-1, ::-1].swapaxes(2, 3)
    (_, H, W, _), ((top, _), (left, _)) = x.shape, padding
    wide = tuple((max(2 - before, 0), max(2 - after, 0)) for before, after in padding)
    dx = forward_bound(g, turned, wide)[:, :H, :W]
    if top > 2 or left > 2:  # tiles of dx begin inside of g: bound them by the worst
        dx = dx.max()
    return {
        "y": forward_bound(x, w, padding) + 2.0**-23 * abs(b),
        "dx": dx,
        "dw": weight_bound(g, x, padding),
    }


def assert_within(got, arrays):
    x, w, b, g, padding = arrays
    exact = run("reference", *(array.astype(float) for array in (x, w, b, g)), padding)
    allowed = bounds(*arrays)
    for name in exact:
        error = abs(got[name] - exact[name]) - 2.0**-24 * abs(exact[name])
        assert (error <= allowed[name] + 2.0**-138).all(), name


# -------------------------------------------------------------------------------------- the bound


def test_the_matrices_multiply_polynomials():
    rng = np.random.default_rng(0)
    w, d = rng.standard_normal(3), rng.standard_normal(6)
    np.testing.assert_allclose(AT @ ((G @ w) * (BT @ d)), np.correlate(d, w), rtol=1e-13)


@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES.keys())
def test_error_is_within_the_bound(case):
    arrays = make(*case, np.random.default_rng(0))
    assert_within(run("winograd", *arrays), arrays)


@pytest.mark.parametrize("seed", range(30))
def test_error_is_within_the_bound_for_all_magnitudes(seed):
    """Each number of a size of its own, over six powers of ten, and all of them tiny or huge."""
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, [4, 15, 15]).tolist(), int(rng.integers(1, 40)))
    padding = tuple(tuple(rng.integers(1, 3, 2).tolist()) for _ in range(2))
    level = 10.0 ** rng.integers(-12, 13)

    def scale(rng, shape):
        return level * 10.0 ** rng.uniform(-3, 3, shape)

    arrays = make(shape, int(rng.integers(1, 40)), padding, rng, scale)
    assert_within(run("winograd", *arrays), arrays)


@pytest.mark.parametrize("case", [((4, 14, 14, 64), 64), ((8, 28, 28, 16), 16)], ids=str)
def test_error_is_near_that_of_plain_float32_sums(case):
    """Measured: 1.3 to 3 times, with positive inputs (as after ReLU) and others. 10 is allowed."""
    arrays = make(*case, ((1, 1), (1, 1)), np.random.default_rng(0))
    for x in arrays[0], abs(arrays[0]):
        rest = arrays[1:]
        exact = run("reference", *(array.astype(float) for array in (x, *rest[:-1])), rest[-1])
        plain, fast = run("direct", x, *rest), run("winograd", x, *rest)
        for name in exact:
            assert abs(fast[name] - exact[name]).max() < 10 * abs(plain[name] - exact[name]).max()


def test_zeros_give_exact_zeros_and_the_bias():
    x, w, b, g, padding = make((2, 9, 7, 20), 33, ((1, 1), (1, 1)), np.random.default_rng(0))
    got = run("winograd", 0 * x, w, b, 0 * g, padding)
    assert (got["y"] == b).all()
    assert not got["dx"].any()
    assert not got["dw"].any()


def test_constant_images():
    """Inside, a constant image gives the sum of the weights: here 9 * 32 * 2 / 4 = 144."""
    x, w = np.full((1, 12, 12, 32), 2, np.float32), np.full((3, 3, 32, 16), 0.25, np.float32)
    y = run("winograd", x, w, None, np.ones((1, 12, 12, 16), np.float32), ((1, 1),) * 2)["y"]
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], 144, rtol=1e-5)
    np.testing.assert_allclose(y[:, 0, 0], 64, rtol=1e-5)


def test_relu_and_bias_are_applied_to_the_same_sums():
    x, w, b, g, padding = make((2, 13, 7, 20), 33, ((1, 1), (1, 1)), np.random.default_rng(0))
    plain = run("winograd", x, w, 0 * b, g, padding)["y"]
    assert (run("winograd", x, w, b, g, padding)["y"] == plain + b).all()
    relu = run("winograd", x, w, b, g, padding, relu=True)["y"]
    assert (relu == np.maximum(plain + b, 0)).all()
    assert (relu == 0).any()


# ------------------------------------------------------------------------ what is not finite on it


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("where", ["x", "w", "g", "b"])
def test_inf_nan_and_overflow_give_what_the_plain_path_gives(value, where):
    x, w, b, g, padding = make((3, 9, 14, 20), 33, ((1, 1), (1, 1)), np.random.default_rng(0))
    arrays = {"x": x / 64, "w": w / 64, "b": b, "g": g / 64}
    before = run("winograd", **arrays, padding=padding)
    arrays[where] = arrays[where].copy()
    arrays[where].reshape(-1)[arrays[where].size // 2] = value
    for relu in (False, True):
        plain = run("direct", **arrays, padding=padding, relu=relu)
        got = run("winograd", **arrays, padding=padding, relu=relu)
        for name in plain:
            finite = np.isfinite(plain[name])
            assert (np.isfinite(got[name]) == finite).all(), name
            np.testing.assert_array_equal(got[name][~finite], plain[name][~finite])
            assert finite.any()
    if where == "x":  # the other images do not notice
        run_again = run("winograd", **arrays, padding=padding)["y"]
        assert (run_again[[0, 2]] == before["y"][[0, 2]]).all()
        plain = run("direct", **arrays, padding=padding)
        np.testing.assert_array_equal(run_again[1], plain["y"][1])
        np.testing.assert_array_equal(got["dw"], plain["dw"])


# ---------------------------------------------------------------------------- threads, cuts, memory


@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES.keys())
def test_bits_do_not_depend_on_threads_or_cut(case, threads):
    x, w, b, g, padding = make(*case, np.random.default_rng(0))
    threads(1)
    whole = run("winograd", x, w, b, g, padding)
    for n in 2, 3:
        threads(n)
        again = run("winograd", x, w, b, g, padding)
        assert all((again[name] == whole[name]).all() for name in whole)
        for image in range(len(x)):
            one = slice(image, image + 1)
            part = run("winograd", x[one], w, b, g[one], padding)
            assert (part["y"] == whole["y"][one]).all()
            assert (part["dx"] == whole["dx"][one]).all()


def test_memory_for_many_channels_is_bounded(threads):
    """A thread holds 36 x 128 x 128 sums, not 36 x 600 x 600 for each of 8 blocks: 415 MB."""
    threads(2)
    x, w, _, g, padding = make((8, 4, 4, 600), 600, ((1, 1), (1, 1)), np.random.default_rng(0))
    tracemalloc.start()
    with ext.kernels("winograd"):
        dw = ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **geometry(padding))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 9 * dw.nbytes + 16 * 2**20


@needs_mprotect
@pytest.mark.parametrize("at_end", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("channels", [(3, 10), (20, 48), (17, 33), (16, 16)], ids=str)
def test_no_access_outside_an_array(channels, at_end, monkeypatch):
    C_in, C_out = channels
    *arrays, padding = make((2, 7, 6, C_in), C_out, ((1, 1), (1, 1)), np.random.default_rng(0))
    expected, guarded = run("winograd", *arrays, padding), Guarded(at_end)
    for module in convolution, sys.modules["minigrad_ext.winograd"]:
        monkeypatch.setattr(module, "new_array", guarded.empty)
    got = run("winograd", *map(guarded.copy, arrays), padding)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])


def test_outputs_may_be_strided():
    """As the input gradient of a convolution with stride 2 asks for, from its 3x3 part of 5x5."""
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((5, 5, 16, 16)), rng.standard_normal((2, 7, 9, 16))
    config = geometry(((2, 2), (2, 2))) | {"stride": (2, 2), "input_shape": (2, 14, 18, 16)}
    with ext.kernels("reference"):
        exact = ext.conv2d_input_grad(g, w, **config)
    with ext.kernels("winograd"):
        got = ext.conv2d_input_grad(g.astype(np.float32), w.astype(np.float32), **config)
    with ext.kernels("direct"):
        plain = ext.conv2d_input_grad(g.astype(np.float32), w.astype(np.float32), **config)
    np.testing.assert_allclose(got, exact, atol=2e-4)
    assert (got[:, ::2, ::2] != plain[:, ::2, ::2]).any()  # so Winograd was there


# -------------------------------------------------------------------------------------- the choice


@pytest.mark.parametrize("way", ["winograd", "auto"])
def test_float64_and_other_windows_never_take_it(way, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("winograd was called")

    for name in "correlate", "weight_grad":
        monkeypatch.setattr(choice.winograd, name, refuse)
    rng = np.random.default_rng(0)
    plain = {"stride": (1, 1), "padding": ((1, 1),) * 2, "dilation": (1, 1), "groups": 1}
    x = rng.standard_normal((2, 12, 12, 64), np.float32)
    others = itertools.product(
        [np.float32], [(3, 3), (5, 5), (1, 3)], [{"stride": (3, 3)}, {"dilation": (2, 2)}]
    )
    for dtype, kernel, change in [*others, (np.float64, (3, 3), {}), (np.float32, (3, 1), {})]:
        w = rng.standard_normal((*kernel, 64, 64)).astype(dtype)
        with ext.kernels(way):
            ext.conv2d(x.astype(dtype), w, None, relu=False, **plain | change)
    with pytest.raises(AssertionError, match="winograd"), ext.kernels(way):
        ext.conv2d(x, x[0, :3, :3, :, None] * x[0, 0, 0], None, relu=False, **plain)


def test_auto_takes_it_where_it_pays():
    pays = choice.winograd_pays
    assert pays((1, 28, 28, 32), (3, 3, 32, 32))
    assert pays((1, 7, 7, 64), (3, 3, 64, 64))
    assert not pays((1, 28, 28, 32), (3, 3, 1, 32))
    assert not pays((1, 1, 1, 64), (3, 3, 64, 64))
