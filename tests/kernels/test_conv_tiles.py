"""Images that the compiled convolutions cut into tiles, in every way there is: exactly the twin's.

As in test_conv.py, inputs are multiples of 1/16 and the tolerance is 0.
"""

import numpy as np
import pytest

import minigrad_ext as ext

# (N, H, W, C_in), (kh, kw, C_in // groups, C_out), stride, padding on all sides, dilation, groups
IMAGES = {
    "1x1, pixels of a row cut": ((2, 30, 41, 64), (1, 1, 64, 32), 1, 0, 1, 1),
    "1x1, stride, long rows": ((2, 3, 1700, 8), (1, 1, 8, 4), 2, 0, 1, 1),
    "3x3, rows cut": ((2, 29, 28, 32), (3, 3, 32, 32), 1, 1, 1, 1),
    "3x3, columns cut": ((1, 3, 700, 64), (3, 3, 64, 64), 1, 1, 1, 1),
    "3x3, stride, columns cut": ((1, 5, 701, 33), (3, 3, 33, 64), 2, 1, 1, 1),
    "3x3, rows fill the scratch": ((1, 9, 30, 512), (3, 3, 512, 8), 1, 1, 1, 1),
    "5x3, more channels than scratch": ((1, 4, 40, 2000), (5, 3, 2000, 4), 1, 2, 1, 1),
    "3x3, dilation beyond a tile": ((2, 40, 50, 64), (3, 3, 64, 64), 1, 9, 9, 1),
    "3x3, dilation shared by strided rows": ((2, 60, 20, 16), (3, 3, 16, 16), 2, 4, 4, 1),
    "3x3, groups, rows cut": ((2, 40, 56, 64), (3, 3, 32, 64), 1, 1, 1, 2),
    "depthwise, rows and columns cut": ((2, 7, 1300, 6), (3, 3, 1, 6), 1, 1, 1, 6),
    "depthwise, stride and dilation": ((2, 30, 1300, 6), (3, 3, 1, 6), 2, 3, 2, 6),
    "depthwise 1x1": ((2, 30, 40, 6), (1, 1, 1, 6), 1, 0, 1, 6),
}


@pytest.fixture(params=IMAGES.values(), ids=IMAGES.keys())
def results(request, dtype, sixteenths):
    """A function that computes the three kernels."""
    image, weight, stride, margin, dilation, groups = request.param
    x, w, b = (sixteenths(*shape, dtype=dtype) for shape in (image, weight, weight[3:]))
    config = {
        "stride": (stride, stride), "padding": ((margin, margin),) * 2,
        "dilation": (dilation, dilation), "groups": groups,
    }  # fmt: skip
    g = sixteenths(*ext.conv2d(x, w, b, **config, relu=False).shape, dtype=dtype)
    together = {"needs": (True, True, True), **config}
    return lambda: {
        "y": ext.conv2d(x, w, b, **config, relu=False),
        "dx": ext.conv2d_input_grad(g, w, input_shape=x.shape, **config),
        "dw": ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config),
        **dict(zip(("dx'", "dw'", "db'"), ext.conv2d_grads(g, x, w, g, **together), strict=True)),
    }


@pytest.mark.usefixtures("exact")
def test_tiles_fit_together(results, threads):
    with ext.kernels("reference"):
        expected = results()
    for n in 1, 3:
        threads(n)
        got = results()
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name], err_msg=f"{name}, {n} threads")
