"""einops on Tensors: the numbers that it gives for arrays, and gradients."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import gradcheck

einops = pytest.importorskip("einops")

X = np.random.default_rng(0).standard_normal((2, 4, 6, 3))  # NHWC, no ties

CASES = {
    "transpose": (einops.rearrange, "n h w c -> n c h w", {}),
    "flatten": (einops.rearrange, "n h w c -> n (h w c)", {}),
    "patches": (einops.rearrange, "n (h a) (w b) c -> n h w (a b c)", {"a": 2, "b": 3}),
    "new axes": (einops.rearrange, "n h w c -> n 1 h w c 1", {}),
    "ellipsis": (einops.rearrange, "n ... c -> c ... n", {}),
    "nothing": (einops.rearrange, "n h w c -> n h w c", {}),
    "mean": (einops.reduce, "n h w c -> n c", {"reduction": "mean"}),
    "sum": (einops.reduce, "n h w c -> h", {"reduction": "sum"}),
    "max pooling": (einops.reduce, "n h (w b) c -> n h w c", {"reduction": "max", "b": 2}),
    "min": (einops.reduce, "n h w c -> 1 h 1 c", {"reduction": "min"}),
    "to a number": (einops.reduce, "n h w c -> ", {"reduction": "sum"}),
    "new axis": (einops.repeat, "n h w c -> n h w c k", {"k": 2}),
    "upsampling": (einops.repeat, "n h w c -> n (h a) (w b) c", {"a": 2, "b": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_as_with_numpy_and_gradients(case):
    function, pattern, options = CASES[case]
    got, expected = function(mg.Tensor(X), pattern, **options), function(X, pattern, **options)
    assert isinstance(got, mg.Tensor)
    np.testing.assert_array_equal(got.data, expected)
    gradcheck(lambda x: function(x, pattern, **options), X)


def test_einsum():
    x, y = X[0], X[1, 0]
    pattern = "h w c, w k -> h k c"
    expected = np.einsum("hwc,wk->hkc", x, y)
    got = einops.einsum(mg.Tensor(x), mg.Tensor(y), pattern)
    np.testing.assert_allclose(got.data, expected, rtol=1e-12)  # float64, 6 products
    gradcheck(lambda x, y: einops.einsum(x, y, pattern), x, y)


def test_pack_and_unpack():
    x, y = X, X[:, 0]
    packed, shapes = einops.pack([mg.Tensor(x), mg.Tensor(y)], "n * c")
    np.testing.assert_array_equal(packed.data, einops.pack([x, y], "n * c")[0])
    for part, array in zip(einops.unpack(packed, shapes, "n * c"), (x, y), strict=True):
        np.testing.assert_array_equal(part.data, array)
    gradcheck(lambda x, y: einops.pack([x, y], "n * c")[0], x, y)
    gradcheck(lambda x: einops.unpack(x, shapes, "n * c"), packed.data)


def test_lists_of_tensors_parameters_and_bools():
    rows = [mg.nn.Parameter(row) for row in X[0]]
    np.testing.assert_array_equal(
        einops.rearrange(rows, "h w c -> w h c").data, X[0].swapaxes(0, 1)
    )
    assert einops.rearrange(rows[0], "w c -> c w").shape == (3, 6)
    positive = einops.reduce(mg.Tensor(X) > 0, "n h w c -> n c", "any")
    np.testing.assert_array_equal(positive.data, (X > 0).any((1, 2)))
    assert einops.parse_shape(mg.Tensor(X), "n h w c") == {"n": 2, "h": 4, "w": 6, "c": 3}
    np.testing.assert_array_equal(einops.asnumpy(mg.Tensor(X)), X)


def test_what_there_is_not_is_said():
    with pytest.raises(NotImplementedError, match=r"reduce: expected one of .* got 'prod'; a prod"):
        einops.reduce(mg.Tensor(X), "n h w c -> n", "prod")
    with pytest.raises(einops.EinopsError, match=r"expected 3 dims. Received 4-dim"):
        einops.rearrange(mg.Tensor(X), "h w c -> c h w")


@pytest.mark.parametrize(
    "imports",
    [
        "import einops, minigrad as mg",
        "import minigrad as mg, einops",
        "import minigrad as mg, einops; import minigrad.interop.einops",
        "import minigrad as mg; mg.interop.einops; import einops",
    ],
)
def test_einops_may_be_imported_before_minigrad_or_after(imports):
    code = f"{imports}\nprint(einops.rearrange(mg.Tensor([[1, 2]]), 'a b -> b a').shape)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("(2, 1)\n", "")


def test_einops_is_not_imported_for_it():
    code = "import sys, minigrad; print('einops' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
