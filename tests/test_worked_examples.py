"""The worked examples of four introductions to 1x1 convolutions, redone as a workbook.

The texts, with what is wrong in their figures, are described in `docs/errata.md`:

- A: the tutorial "Networks in Networks and 1x1 Convolutions"
- B: an encyclopedia chapter on the 1x1 convolution, "Principles and Mechanisms"
- C: the blog post "1x1 Convolution", which turns the digits 2 and 3 into matrices
- D: lecture notes on what a 1x1 convolution is used for

Every number below was worked out by hand and written out. Where a text has another number, this
file holds the right one and `ERRATA`, at the end, holds both. Every example is computed by the
library; no expected number comes from the code that is tested.
"""

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn

Array = np.ndarray

# The examples add at most nine products and a bias, all of one sign. Rounding the weights, the
# products, the sums and the literals then costs at most 13 units of roundoff, each half an eps.
RTOL = {dtype: 8 * np.finfo(dtype).eps for dtype in (np.float32, np.float64)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

LETTERS = {"a": 2.0, "b": 3.0}  # text C's grey levels; any two numbers do


@pytest.fixture(params=["reference", "blas", "direct", "auto"])
def every_kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    with mg.kernels(request.param):
        yield


def image(page: str, dtype: type = np.float64) -> Array:
    """A batch of one image (1, H, W, C) as it is printed: channels side by side, with a gap."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in page.strip().splitlines()]
    values = [[[LETTERS.get(v) or float(v) for v in c.split()] for c in row] for row in rows]
    return np.array([values], dtype).swapaxes(2, 3)  # (1, H, C, W) before


def pointwise(filters: list[list[float]], dtype: type = np.float64) -> Array:
    """HWIO weights (1, 1, C_in, C_out) from one row of C_in weights per filter."""
    return np.array(filters, dtype).T[np.newaxis, np.newaxis]


def sixteenths(shape: tuple[int, ...], seed: int, dtype: type = np.float32) -> Array:
    """Random multiples of 1/16: sums of their products are exact, whatever their order."""
    return np.random.default_rng(seed).integers(-16, 17, shape).astype(dtype) / 16


def worked(line: str) -> tuple[list[float], float]:
    """The terms and the total of a sum written out as in "0.5 + 1.5 + 1.8 = 3.8"."""
    terms, total = line.split("=")
    return [float(term) for term in terms.split("+")], float(total)


# ------------------------------------------------------------------------------- forward passes


class Forward(NamedTuple):
    """A forward pass: input channels, a row of weights and a bias per filter, output channels.

    `steps` are the sums that are walked through, by (row, column, output channel): the products in
    the order of the input channels, then the bias if there is one.
    """

    inputs: str
    filters: list[list[float]]
    biases: list[float]
    outputs: str
    steps: dict[tuple[int, int, int], str]


FORWARD = {
    "A pizza flavour": Forward(
        inputs="5  3  7",  # tomato, basil, cheese
        filters=[[0.3, 0.5, 0.4]],
        biases=[0],
        outputs="5.8",
        steps={(0, 0, 0): "1.5 + 1.5 + 2.8 = 5.8"},
    ),
    "A channel mixing": Forward(
        inputs="""
            1 2 3 4   5 6 7 8   9 0 1 2
            5 6 7 8   1 2 3 4   3 4 5 6
            9 0 1 2   9 0 1 2   7 8 9 0
            3 4 5 6   5 6 7 8   1 2 3 4
        """,
        filters=[[0.5, 0.3, 0.2], [0.1, 0.4, 0.5]],
        biases=[0, 0],
        outputs="""
            3.8 2.8 3.8 4.8   6.6 2.6 3.6 4.6
            3.4 4.4 5.4 6.4   2.4 3.4 4.4 5.4
            8.6 1.6 2.6 1.6   8.0 4.0 5.0 1.0
            3.2 4.2 5.2 6.2   2.8 3.8 4.8 5.8
        """,
        steps={
            (0, 0, 0): "0.5 + 1.5 + 1.8 = 3.8",
            (0, 0, 1): "0.1 + 2.0 + 4.5 = 6.6",
            (0, 1, 0): "1.0 + 1.8 + 0 = 2.8",
            (0, 1, 1): "0.2 + 2.4 + 0 = 2.6",
        },
    ),
    "A reduction from 4 to 2": Forward(
        inputs="""
            1 2   3 4   0 1   2 3
            5 6   7 8   4 5   6 7
        """,
        filters=[[0.5, 0.3, 0.1, 0.1], [0.2, 0.2, 0.3, 0.3]],
        biases=[0, 0.5],
        outputs="""
            1.6 2.6   1.9 2.9
            5.6 6.6   5.9 6.9
        """,
        steps={
            (0, 0, 0): "0.5 + 0.9 + 0 + 0.2 = 1.6",
            (0, 0, 1): "0.2 + 0.6 + 0 + 0.6 + 0.5 = 1.9",
            (0, 1, 0): "1.0 + 1.2 + 0.1 + 0.3 = 2.6",
            (1, 0, 0): "2.5 + 2.1 + 0.4 + 0.6 = 5.6",
            (1, 0, 1): "1.0 + 1.4 + 1.2 + 1.8 + 0.5 = 5.9",
        },
    ),
    "A expansion from 2 to 4": Forward(
        inputs="""
            1 2   3 4
            5 6   7 8
        """,
        filters=[[1, 0], [0, 1], [0.5, 0.5], [0.7, 0.3]],
        biases=[0, 0, 0, 0],
        outputs="""
            1 2   3 4   2 3   1.6 2.6
            5 6   7 8   6 7   5.6 6.6
        """,
        steps={
            (0, 0, 0): "1 + 0 = 1",
            (0, 0, 1): "0 + 3 = 3",
            (0, 0, 2): "0.5 + 1.5 = 2",
            (0, 0, 3): "0.7 + 0.9 = 1.6",
            (0, 1, 3): "1.4 + 1.2 = 2.6",
            (1, 0, 3): "3.5 + 2.1 = 5.6",
            (1, 1, 3): "4.2 + 2.4 = 6.6",
        },
    ),
    "A Example 1, grayscale": Forward(
        inputs="""
            10 20 30 40       50 60 70 80       90 100 110 120
            50 60 70 80       10 20 30 40       130 140 150 160
            90 100 110 120    90 100 110 120    10 20 30 40
            130 140 150 160   50 60 70 80       50 60 70 80
        """,
        filters=[[0.299, 0.587, 0.114]],
        biases=[0],
        outputs="""
            42.6 52.6 62.6 72.6
            35.64 45.64 55.64 65.64
            80.88 90.88 100.88 110.88
            73.92 83.92 93.92 103.92
        """,
        steps={
            (0, 0, 0): "2.99 + 29.35 + 10.26 = 42.6",
            (0, 1, 0): "5.98 + 35.22 + 11.4 = 52.6",
            (1, 0, 0): "14.95 + 5.87 + 14.82 = 35.64",
            (2, 0, 0): "26.91 + 52.83 + 1.14 = 80.88",
            (3, 0, 0): "38.87 + 29.35 + 5.7 = 73.92",
        },
    ),
    "A Example 2, expansion": Forward(
        inputs="""
            1 2 3   4 5 6
            4 5 6   1 2 3
            7 8 9   7 8 9
        """,
        filters=[[0.5, 0.5], [1, 0], [0, 1], [0.7, 0.3]],
        biases=[0, 0, 0, 1],
        outputs="""
            2.5 3.5 4.5   1 2 3   4 5 6   2.9 3.9 4.9
            2.5 3.5 4.5   4 5 6   1 2 3   4.1 5.1 6.1
            7.0 8.0 9.0   7 8 9   7 8 9   8.0 9.0 10
        """,
        steps={
            (0, 0, 0): "0.5 + 2.0 = 2.5",
            (0, 0, 1): "1.0 + 0 = 1.0",
            (0, 0, 2): "0 + 4.0 = 4.0",
            (0, 0, 3): "0.7 + 1.2 + 1 = 2.9",
            (1, 1, 0): "2.5 + 1.0 = 3.5",
            (1, 1, 1): "5.0 + 0 = 5.0",
            (1, 1, 2): "0 + 2.0 = 2.0",
            (1, 1, 3): "3.5 + 0.6 + 1 = 5.1",
        },
    ),
    "A Example 3, corners": Forward(
        # vertical edges, horizontal edges, diagonal edges
        inputs="""
            0 0 5 5 0   0 0 0 0 0   0 0 0 1 1
            0 0 5 5 0   5 5 5 5 5   0 0 1 1 0
            0 0 5 5 0   0 0 0 0 0   0 1 1 0 0
            0 0 5 5 0   5 5 5 5 5   1 1 0 0 0
            0 0 5 5 0   0 0 0 0 0   1 0 0 0 0
        """,
        filters=[[0.5, 0.5, 0]],
        biases=[0],
        outputs="""
            0 0 2.5 2.5 0
            2.5 2.5 5 5 2.5
            0 0 2.5 2.5 0
            2.5 2.5 5 5 2.5
            0 0 2.5 2.5 0
        """,
        steps={(1, 1, 0): "0 + 2.5 + 0 = 2.5", (1, 2, 0): "2.5 + 2.5 + 0 = 5.0"},
    ),
    "A forward example": Forward(
        inputs="""
            1 2 3   2 3 4   3 4 5   4 5 6
            4 5 6   5 6 7   6 7 8   7 8 9
            7 8 9   8 9 0   9 0 1   0 1 2
        """,
        filters=[[0.25, 0.25, 0.25, 0.25], [0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]],
        biases=[0, 0, 1],
        outputs="""
            2.5 3.5 4.5   1.8 2.8 3.8   4.0 5.0 6.0
            5.5 6.5 7.5   4.8 5.8 6.8   7.0 8.0 9.0
            6.0 4.5 3.0   6.8 6.8 4.8   6.0 4.0 3.0
        """,
        steps={
            (0, 0, 0): "0.25 + 0.5 + 0.75 + 1.0 = 2.5",
            (0, 0, 1): "0.5 + 0.6 + 0.3 + 0.4 = 1.8",
            (0, 0, 2): "0.1 + 0.4 + 0.9 + 1.6 + 1 = 4.0",
            (1, 1, 0): "1.25 + 1.5 + 1.75 + 2.0 = 6.5",
            (1, 1, 1): "2.5 + 1.8 + 0.7 + 0.8 = 5.8",
            (1, 1, 2): "0.5 + 1.2 + 2.1 + 3.2 + 1 = 8.0",
            (2, 1, 0): "2.0 + 2.25 + 0 + 0.25 = 4.5",
            (2, 2, 1): "4.5 + 0 + 0.1 + 0.2 = 4.8",
            (2, 0, 2): "0.7 + 1.6 + 2.7 + 0 + 1 = 6.0",
        },
    ),
    "C digit 2": Forward(
        inputs="""
            a a a   0 0 0
            0 0 0   0 0 b
            a a a   0 0 0
            0 0 0   b 0 0
            a a a   0 0 0
        """,
        filters=[[1, 1]],
        biases=[0],
        outputs="""
            a a a
            0 0 b
            a a a
            b 0 0
            a a a
        """,
        steps={(0, 0, 0): "2 + 0 = 2", (3, 0, 0): "0 + 3 = 3"},
    ),
    "C digit 3": Forward(
        inputs="""
            a a a   0 0 0
            0 0 0   0 0 b
            a a a   0 0 0
            0 0 0   0 0 b
            a a a   0 0 0
        """,
        filters=[[1, 1]],
        biases=[0],
        outputs="""
            a a a
            0 0 b
            a a a
            0 0 b
            a a a
        """,
        steps={(3, 0, 0): "0 + 0 = 0", (3, 2, 0): "0 + 3 = 3"},
    ),
    "C three maps to one": Forward(
        inputs="""
            1 2 3 2 2 3   3 2 4 3 2 2   1 2 3 3 2 2
            4 5 6 2 2 3   3 2 4 3 2 2   3 2 4 3 2 2
            2 1 7 2 1 3   1 2 3 3 2 2   3 2 4 3 2 2
            3 2 4 2 2 3   4 5 6 3 2 2   4 5 6 3 2 2
            3 2 4 2 2 3   3 2 4 3 2 2   3 2 4 3 2 2
            3 2 4 2 2 3   2 1 7 2 1 3   2 1 7 2 1 3
        """,
        filters=[[0.1, 0.2, 0.4]],
        biases=[0],
        outputs="""
            1.1 1.4 2.3 2.0 1.4 1.5
            2.2 1.7 3.0 2.0 1.4 1.5
            1.6 1.3 2.9 2.0 1.3 1.5
            2.7 3.2 4.0 2.0 1.4 1.5
            2.1 1.4 2.8 2.0 1.4 1.5
            1.5 0.8 4.6 1.4 0.8 2.1
        """,
        steps={
            (0, 0, 0): "0.1 + 0.6 + 0.4 = 1.1",
            (1, 0, 0): "0.4 + 0.6 + 1.2 = 2.2",
            (5, 2, 0): "0.4 + 1.4 + 2.8 = 4.6",
        },
    ),
}


def forward(name: str, dtype: type = np.float64) -> Array:
    """What the library computes for an example, (H, W, C_out)."""
    example = FORWARD[name]
    y = F.conv2d(
        mg.Tensor(image(example.inputs, dtype)),
        mg.Tensor(pointwise(example.filters, dtype)),
        mg.Tensor(np.array(example.biases, dtype)),
    )
    assert y.dtype == dtype
    return y.numpy()[0]


@pytest.mark.usefixtures("every_kernel")
@DTYPES
@pytest.mark.parametrize("name", FORWARD)
def test_forward_pass(name: str, dtype: type) -> None:
    expected = image(FORWARD[name].outputs)[0]
    np.testing.assert_allclose(forward(name, dtype), expected, rtol=RTOL[dtype])


@pytest.mark.parametrize(
    ("name", "position", "line"),
    [(name, *step) for name, example in FORWARD.items() for step in example.steps.items()],
    ids=[f"{name} {at}" for name, example in FORWARD.items() for at in example.steps],
)
def test_forward_step(name: str, position: tuple[int, int, int], line: str) -> None:
    example, (i, j, k) = FORWARD[name], position
    terms, total = worked(line)
    products = image(example.inputs)[0, i, j] * example.filters[k]
    bias = [example.biases[k]] if example.biases[k] else []
    assert terms == pytest.approx([*products, *bias], rel=1e-12)
    assert total == pytest.approx(sum(terms), rel=1e-12)
    assert forward(name)[position] == pytest.approx(total, rel=RTOL[np.float64])


def test_forward_step_over_64_channels() -> None:
    # Text A shows four of the 64 products and the bias; the 60 hidden ones have to bring 3.06.
    terms, visible = worked("1.05 + 1.05 + 0.36 + 1.68 + 0.1 = 4.24")
    assert sum(terms) == pytest.approx(visible, rel=1e-12)
    x = np.array([2.1, 3.5, 1.8, *[1.0] * 60, 4.2]).reshape(1, 1, 1, 64)
    w = np.array([0.5, 0.3, 0.2, *[0.051] * 60, 0.4]).reshape(1, 1, 64, 1)
    y = F.conv2d(x, w, np.array([0.1]))
    assert y.item() == pytest.approx(7.3, rel=64 * RTOL[np.float64])  # 64 terms instead of 9


# -------------------------------------------------------------------------------- backward pass

# Text A goes back through its forward example with these gradients of the three output channels.
OUTPUT_GRADIENTS = """
    0.1 0.2 0.1   0.15 0.25 0.15   0.05 0.1 0.05
    0.2 0.3 0.2   0.25 0.35 0.25   0.1 0.15 0.1
    0.1 0.2 0.1   0.15 0.25 0.15   0.05 0.1 0.05
"""
BIAS_GRADIENTS = [1.5, 1.95, 0.75]
FILTER_GRADIENTS = [[7.5, 8.0, 7.5, 8.0], [9.75, 10.2, 9.65, 10.1], [3.75, 4.0, 3.75, 4.0]]
INPUT_GRADIENTS = """
    0.105 0.185 0.105   0.08 0.145 0.08    0.055 0.105 0.055   0.06 0.115 0.06
    0.185 0.265 0.185   0.145 0.21 0.145   0.105 0.155 0.105   0.115 0.17 0.115
    0.105 0.185 0.105   0.08 0.145 0.08    0.055 0.105 0.055   0.06 0.115 0.06
"""


def backward(dtype: type = np.float64) -> tuple[Array, Array, Array]:
    """The library's gradients of the forward example: input (H, W, C), filters HWIO, biases."""
    example = FORWARD["A forward example"]
    x = mg.Tensor(image(example.inputs, dtype), requires_grad=True)
    w = mg.Tensor(pointwise(example.filters, dtype), requires_grad=True)
    bias = mg.Tensor(np.array(example.biases, dtype), requires_grad=True)
    F.conv2d(x, w, bias).backward(gradient=mg.Tensor(image(OUTPUT_GRADIENTS, dtype)))
    return x.grad.numpy()[0], w.grad.numpy(), bias.grad.numpy()


@pytest.mark.usefixtures("every_kernel")
@DTYPES
def test_backward_pass(dtype: type) -> None:
    dx, dw, db = backward(dtype)
    np.testing.assert_allclose(dx, image(INPUT_GRADIENTS)[0], rtol=RTOL[dtype])
    np.testing.assert_allclose(dw, pointwise(FILTER_GRADIENTS), rtol=RTOL[dtype])
    np.testing.assert_allclose(db, BIAS_GRADIENTS, rtol=RTOL[dtype])


def test_backward_steps_for_biases() -> None:
    lines = [
        "0.1 + 0.2 + 0.1 + 0.2 + 0.3 + 0.2 + 0.1 + 0.2 + 0.1 = 1.5",
        "0.15 + 0.25 + 0.15 + 0.25 + 0.35 + 0.25 + 0.15 + 0.25 + 0.15 = 1.95",
        "0.05 + 0.1 + 0.05 + 0.1 + 0.15 + 0.1 + 0.05 + 0.1 + 0.05 = 0.75",
    ]
    for k, (line, db) in enumerate(zip(lines, backward()[2], strict=True)):
        terms, total = worked(line)
        assert terms == image(OUTPUT_GRADIENTS)[..., k].ravel().tolist()
        assert sum(terms) == pytest.approx(total, rel=1e-12)
        assert db == pytest.approx(total, rel=RTOL[np.float64])


@pytest.mark.parametrize(
    ("channel", "line"),
    [
        (0, "0.1 + 0.4 + 0.3 + 0.8 + 1.5 + 1.2 + 0.7 + 1.6 + 0.9 = 7.5"),
        (1, "0.2 + 0.6 + 0.4 + 1.0 + 1.8 + 1.4 + 0.8 + 1.8 + 0 = 8.0"),
    ],
    ids=["input channel 0", "input channel 1"],
)
def test_backward_steps_for_a_filter_weight(channel: int, line: str) -> None:
    terms, total = worked(line)
    x = image(FORWARD["A forward example"].inputs)[..., channel]
    assert terms == pytest.approx((x * image(OUTPUT_GRADIENTS)[..., 0]).ravel(), rel=1e-12)
    assert sum(terms) == pytest.approx(total, rel=1e-12)
    assert backward()[1][0, 0, channel, 0] == pytest.approx(total, rel=RTOL[np.float64])


@pytest.mark.parametrize(
    ("row", "column", "line"),
    [
        (0, 0, "0.025 + 0.075 + 0.005 = 0.105"),
        (0, 1, "0.05 + 0.125 + 0.01 = 0.185"),
        (1, 1, "0.075 + 0.175 + 0.015 = 0.265"),
    ],
    ids=["corner", "edge", "centre"],
)
def test_backward_steps_for_an_input_value(row: int, column: int, line: str) -> None:
    terms, total = worked(line)
    weights = pointwise(FORWARD["A forward example"].filters)[0, 0, 0]
    assert terms == pytest.approx(weights * image(OUTPUT_GRADIENTS)[0, row, column], rel=1e-12)
    assert sum(terms) == pytest.approx(total, rel=1e-12)
    assert backward()[0][row, column, 0] == pytest.approx(total, rel=RTOL[np.float64])


def test_backward_formula_of_a_3x3() -> None:
    # dI[i,j,c] = sum over m, n, k of F[m,n,c,k] dO[i-m,j-n,k], written out for text A.
    x, w = sixteenths((1, 5, 6, 2), 0, np.float64), sixteenths((3, 3, 2, 4), 1, np.float64)
    g = sixteenths((1, 3, 4, 4), 2, np.float64)
    expected = np.zeros_like(x)
    for i, j, m, n in product(range(5), range(6), range(3), range(3)):
        if 0 <= i - m < 3 and 0 <= j - n < 4:
            expected[0, i, j] += w[m, n] @ g[0, i - m, j - n]
    leaf = mg.Tensor(x, requires_grad=True)
    F.conv2d(leaf, mg.Tensor(w)).backward(gradient=mg.Tensor(g))
    # A transform (Winograd) may round where the direct sum is exact; values are of order one.
    np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------- shapes and sizes

SHAPES = {
    "A stride 2 halves the grid": ((56, 56, 256), (1, 1, 256, 128), {"stride": 2}, (28, 28, 128)),
    "A step by step": ((28, 28, 64), (1, 1, 64, 32), {}, (28, 28, 32)),
    "A complexity, 1x1": ((56, 56, 256), (1, 1, 256, 64), {}, (56, 56, 64)),
    "A complexity, 3x3": ((56, 56, 256), (3, 3, 256, 64), {"padding": 1}, (56, 56, 64)),
    "A before a classifier": ((7, 7, 512), (1, 1, 512, 128), {}, (7, 7, 128)),
    "A expansion stage": ((28, 28, 64), (1, 1, 64, 256), {}, (28, 28, 256)),
    "A same channels": ((3, 3, 8), (1, 1, 8, 8), {}, (3, 3, 8)),
    "A Example 4, reduce": ((8, 8, 256), (1, 1, 256, 64), {}, (8, 8, 64)),
    "A Example 4, process": ((8, 8, 64), (3, 3, 64, 64), {"padding": 1}, (8, 8, 64)),
    "A Example 4, expand": ((8, 8, 64), (1, 1, 64, 256), {}, (8, 8, 256)),
    "C ten maps to four": ((32, 32, 10), (1, 1, 10, 4), {}, (32, 32, 4)),
    "C fifty maps to twenty": ((600, 600, 50), (1, 1, 50, 20), {}, (600, 600, 20)),
    "C fifty maps to one": ((600, 600, 50), (1, 1, 50, 1), {}, (600, 600, 1)),
    "C three maps to one": ((6, 6, 3), (1, 1, 3, 1), {}, (6, 6, 1)),
    "D embedding": ((28, 28, 192), (1, 1, 192, 32), {}, (28, 28, 32)),
}


@pytest.mark.parametrize(("x", "w", "options", "y"), SHAPES.values(), ids=SHAPES)
def test_shape(
    x: tuple[int, ...], w: tuple[int, ...], options: dict[str, int], y: tuple[int, ...]
) -> None:
    got = F.conv2d(np.zeros((1, *x), np.float32), np.ones(w, np.float32), None, **options)
    assert got.shape == (1, *y)


@pytest.mark.parametrize(
    ("positions", "height", "width"),
    [(784, 28, 28), (16, 4, 4), (64, 8, 8), (9, 3, 3)],
    ids=["A step by step", "A Example 1", "A Example 4", "A forward example"],
)
def test_number_of_positions(positions: int, height: int, width: int) -> None:
    y = F.conv2d(np.zeros((1, height, width, 2)), np.zeros((1, 1, 2, 1)))
    assert y.reshape(-1, 1).shape == (positions, 1)


def test_inception_module_keeps_its_shape() -> None:
    # Text A: four branches of 64 channels from 28x28x256; the 3x3 pooling has stride 1.
    x = mg.Tensor(np.ones((1, 28, 28, 256), np.float32))
    reduce, same = np.ones((1, 1, 256, 64), np.float32), np.ones((3, 3, 64, 64), np.float32)
    branches = [
        F.conv2d(x, reduce),
        F.conv2d(F.conv2d(x, reduce), same, padding=1),
        F.conv2d(F.conv2d(x, reduce), np.ones((5, 5, 64, 64), np.float32), padding=2),
        F.conv2d(F.max_pool2d(x, kernel_size=3, stride=1, padding=1), reduce),
    ]
    assert [branch.shape[-1] for branch in branches] == [64, 64, 64, 64]
    assert F.concatenate(branches, axis=-1).shape == (1, 28, 28, 256)


def test_bottleneck_can_be_added_to_its_input() -> None:
    # Text A, Example 4: bottleneck factor 4, 256 / 4 = 64 channels; ones make every sum an integer.
    x = np.ones((1, 8, 8, 256), np.float64)
    reduced = F.conv2d(x, np.ones((1, 1, 256, 64)))
    processed = F.conv2d(reduced, np.ones((3, 3, 64, 64)), padding=1)
    expanded = F.conv2d(processed, np.ones((1, 1, 64, 256)))
    assert reduced[0, 3, 3, 0] == 256
    assert processed[0, 3, 3, 0] == pytest.approx(9 * 64 * 256, rel=1e-12)
    assert (x + expanded)[0, 3, 3, 255] == pytest.approx(1 + 64 * 9 * 64 * 256, rel=1e-12)


# (kernel size, channels in, channels out, bias): parameters
PARAMETERS = {
    "A benefits, 3x3 alone": ((3, 256, 256, False), 589_824),
    "A benefits, reduce": ((1, 256, 64, False), 16_384),
    "A benefits, 3x3 after it": ((3, 64, 256, False), 147_456),
    "A step by step": ((1, 64, 32, True), 2_080),
    "A parameters, reduction": ((1, 256, 64, True), 16_448),
    "A parameters, expansion": ((1, 64, 256, True), 16_640),
    "A parameters, large": ((1, 2048, 512, True), 1_049_088),
    "A parameters, 3x3": ((3, 256, 64, True), 147_520),
    "A before a classifier": ((1, 512, 128, False), 65_536),
    "A same channels": ((1, 8, 8, True), 72),
    "A bottleneck, 3x3": ((3, 64, 64, False), 36_864),
    "C ten maps to four": ((1, 10, 4, False), 40),
    "C fifty maps to twenty": ((1, 50, 20, False), 1_000),
    "C three maps to one": ((1, 3, 1, False), 3),
    "D embedding": ((1, 192, 32, False), 6_144),
}


def conv(k: int, c_in: int, c_out: int, bias: bool = False, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel_size=k, bias=bias, groups=groups)


def size(*layers: nn.Module) -> int:
    return sum(p.size for layer in layers for p in layer.parameters())


@pytest.mark.parametrize(("layer", "expected"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(layer: tuple[int, int, int, bool], expected: int) -> None:
    assert size(conv(*layer)) == expected


def test_parameters_of_a_dense_layer_on_the_flattened_image() -> None:
    flat = 7 * 7 * 512
    assert flat == 25_088
    assert size(nn.Linear(flat, 128, bias=False)) == 3_211_264


def test_memory_of_a_forward_pass() -> None:
    # Text A: about 1M values, 4 MB in float32.
    x = np.zeros((1, 56, 56, 256), np.float32)
    w = np.zeros((1, 1, 256, 64), np.float32)
    y = F.conv2d(x, w)
    assert [x.size, y.size, w.size] == [802_816, 200_704, 16_384]
    assert x.size + y.size + w.size == 1_019_904
    assert x.nbytes + y.nbytes + w.nbytes == 4_079_616


# -------------------------------------------------------------------------------- FLOPs


def flops(height: int, width: int, c_in: int, c_out: int, k: int = 1, bias: bool = False) -> int:
    """Text A's count: a multiplication and an addition for each weight, one addition per bias."""
    return height * width * c_out * (2 * c_in * k * k + bias)


def counted_conv2d(x: Array, w: Array, bias: Array | None) -> tuple[Array, int]:
    """A convolution of one zero-padded image (H, W, C) in plain loops, and its operations."""
    k, _, c_in, c_out = w.shape
    height, width = x.shape[0] - k + 1, x.shape[1] - k + 1
    y, count = np.zeros((height, width, c_out)), 0
    for i, j, o in np.ndindex(y.shape):
        for m, n, c in np.ndindex(k, k, c_in):
            y[i, j, o] += x[i + m, j + n, c] * w[m, n, c, o]
            count += 2
        if bias is not None:
            y[i, j, o] += bias[o]
            count += 1
    return y, count


@pytest.mark.parametrize(
    ("k", "bias", "expected"),
    [(1, False, 144), (1, True, 180), (3, False, 1296), (3, True, 1332)],
    ids=["1x1", "1x1 with bias", "3x3", "3x3 with bias"],
)
def test_flops_counts_the_operations(k: int, bias: bool, expected: int) -> None:
    x, w = sixteenths((3, 4, 2), 0, np.float64), sixteenths((k, k, 2, 3), 1, np.float64)
    offsets = sixteenths((3,), 2, np.float64) if bias else None
    padded = np.pad(x, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    y, count = counted_conv2d(padded, w, offsets)
    assert count == flops(3, 4, 2, 3, k, bias) == expected
    got = F.conv2d(x[np.newaxis], w, offsets, padding=k // 2)[0]
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-12)  # a 3x3 may go through a transform


# (height, width, channels in, channels out, kernel size, bias): FLOPs
FLOPS = {
    "A complexity, 1x1": ((56, 56, 256, 64, 1, True), 102_961_152),
    "A complexity, 3x3": ((56, 56, 256, 64, 3, True), 925_044_736),
    "A savings per pixel, direct": ((1, 1, 256, 256, 3, False), 1_179_648),
    "A savings per pixel, reduce": ((1, 1, 256, 64, 1, False), 32_768),
    "A savings per pixel, process": ((1, 1, 64, 64, 3, False), 73_728),
    "A savings per pixel, expand": ((1, 1, 64, 256, 1, False), 32_768),
    "A Example 4, direct": ((8, 8, 256, 256, 3, False), 75_497_472),
    "A Example 4, reduce": ((8, 8, 256, 64, 1, False), 2_097_152),
    "A Example 4, process": ((8, 8, 64, 64, 3, False), 4_718_592),
    "A Example 4, expand": ((8, 8, 64, 256, 1, False), 2_097_152),
    "A step by step": ((28, 28, 64, 32, 1, True), 3_236_352),
}


@pytest.mark.parametrize(("layer", "expected"), FLOPS.values(), ids=FLOPS)
def test_flops(layer: tuple[int, int, int, int, int, bool], expected: int) -> None:
    height, width, c_in, c_out, k, bias = layer
    assert flops(*layer) == expected
    weights, biases = size(conv(k, c_in, c_out)), bias * c_out
    assert height * width * (2 * weights + biases) == expected


@pytest.mark.parametrize(
    ("stages", "total"),
    [([32_768, 73_728, 32_768], 139_264), ([2_097_152, 4_718_592, 2_097_152], 8_912_896)],
    ids=["A savings per pixel", "A Example 4"],
)
def test_flops_of_the_bottleneck_add_up(stages: list[int], total: int) -> None:
    assert sum(stages) == total


def test_multiply_adds_of_the_step_by_step_layer() -> None:
    weights = conv(1, 64, 32).weight
    assert 28 * 28 * weights.size == 1_605_632


# -------------------------------------------------------------------------------- savings

Layer = tuple[int, ...]  # kernel size, channels in, channels out, bias, groups

BOTTLENECK: list[Layer] = [(1, 256, 64), (3, 64, 64), (1, 64, 256)]

# Without bias a layer's weights are its multiply-adds per pixel, so both savings are one ratio.
SAVINGS: dict[str, tuple[list[Layer], list[Layer], float]] = {
    "A reduce before a 3x3": ([(3, 256, 256)], [(1, 256, 64), (3, 64, 256)], 3.6),
    "A 1x1 or 3x3, with bias": ([(3, 256, 64, True)], [(1, 256, 64, True)], 8.97),
    "A bottleneck": ([(3, 256, 256)], BOTTLENECK, 8.47),
    "A bottleneck, its 3x3 alone": ([(3, 256, 256)], [(3, 64, 64)], 16),
    "A bottleneck, input channels only": ([(3, 256, 64)], [(3, 64, 64)], 4),
    "A Inception, the 3x3 alone": ([(3, 256, 64)], [(3, 64, 64)], 4),
    "A Inception, the 5x5 alone": ([(5, 256, 64)], [(5, 64, 64)], 4),
    "A Inception, the branch with the 3x3": ([(3, 256, 64)], [(1, 256, 64), (3, 64, 64)], 2.77),
    "A Inception, the branch with the 5x5": ([(5, 256, 64)], [(1, 256, 64), (5, 64, 64)], 3.45),
    "B 1x1 or 3x3": ([(3, 48, 96)], [(1, 48, 96)], 9),
    "B 1x1 or 5x5": ([(5, 48, 96)], [(1, 48, 96)], 25),
    "B bottleneck": ([(3, 256, 256)], BOTTLENECK, 8.47),
    "B reduction after the 3x3 costs more": ([(3, 256, 256)], [(3, 256, 256), (1, 256, 64)], 0.97),
    "B depthwise separable 3x3": (
        [(3, 256, 256)],
        [(3, 256, 256, False, 256), (1, 256, 256)],
        8.69,
    ),
    "B depthwise separable 5x5": (
        [(5, 256, 256)],
        [(5, 256, 256, False, 256), (1, 256, 256)],
        22.78,
    ),
    # Text D says "drastically" without sizes; these are GoogLeNet's (Szegedy et al. 2015, 3a).
    "D Inception, 1x1 before the 5x5": ([(5, 192, 32)], [(1, 192, 16), (5, 16, 32)], 9.68),
}


def saving(name: str) -> float:
    direct, cheaper, _ = SAVINGS[name]
    return size(*(conv(*layer) for layer in direct)) / size(*(conv(*layer) for layer in cheaper))


@pytest.mark.parametrize("name", SAVINGS)
def test_saving(name: str) -> None:
    assert round(saving(name), 2) == SAVINGS[name][2]


def test_saving_as_a_percentage() -> None:
    assert 16_384 + 147_456 == 163_840
    assert f"{1 - 1 / saving('A reduce before a 3x3'):.0%}" == "72%"


def test_saving_of_shared_weights_over_a_dense_layer() -> None:
    assert size(nn.Linear(25_088, 128, bias=False)) / size(conv(1, 512, 128)) == 49


@pytest.mark.parametrize(
    ("direct", "cheaper", "expected"),
    [
        ("A complexity, 3x3", "A complexity, 1x1", 8.98),
        ("A Example 4, direct", "A Example 4, process", 16),
    ],
)
def test_saving_in_flops(direct: str, cheaper: str, expected: float) -> None:
    assert round(flops(*FLOPS[direct][0]) / flops(*FLOPS[cheaper][0]), 2) == expected


def test_saving_of_the_bottleneck_in_flops() -> None:
    stages = ["A Example 4, reduce", "A Example 4, process", "A Example 4, expand"]
    total = sum(flops(*FLOPS[stage][0]) for stage in stages)
    assert round(flops(*FLOPS["A Example 4, direct"][0]) / total, 2) == 8.47


def taps_inside(k: int, length: int = 56) -> int:
    """Pairs of an output position and a tap of its k x k window that lies inside the image."""
    one_axis = sum(0 <= i + m - k // 2 < length for i in range(length) for m in range(k))
    return one_axis * one_axis


def test_saving_in_the_backward_pass() -> None:
    # Each such pair costs as much in either gradient as it does forwards, so their ratio is the
    # saving. Of 56 rows, 54 have three taps inside and two have two: 166 in all.
    assert (taps_inside(1), taps_inside(3)) == (56 * 56, 166 * 166)
    assert round(taps_inside(3) / taps_inside(1), 2) == 8.79


# -------------------------------------------------------------------------------- claims


def receptive_field(k: int, c_in: int = 5) -> Array:
    """Which input values (H, W, C_in) one output value in the middle of a 7x7 image depends on."""
    x = mg.Tensor(np.ones((1, 7, 7, c_in)), requires_grad=True)
    y = F.conv2d(x, np.ones((k, k, c_in, 1)), padding=k // 2)
    one = np.zeros(y.shape)
    one[0, 3, 3, 0] = 1
    y.backward(gradient=mg.Tensor(one))
    # True gradients are 0 or 1; a transform may leave rounding of order 1e-16.
    return x.grad.numpy()[0] > 0.5


@pytest.mark.parametrize("k", [1, 3], ids=["1x1", "3x3"])
def test_an_output_depends_on_k_squared_pixels_of_every_channel(k: int) -> None:
    used = receptive_field(k)
    assert used.sum() == k * k * 5  # text A: C inputs for a 1x1, 9C for a 3x3
    half = k // 2
    assert used[3 - half : 4 + half, 3 - half : 4 + half].all()


def test_1x1_is_blind_to_neighbours() -> None:
    x, w = sixteenths((1, 5, 5, 3), 0), sixteenths((1, 1, 3, 4), 1)
    other = sixteenths((1, 5, 5, 3), 2)
    other[0, 2, 2] = x[0, 2, 2]
    assert np.array_equal(F.conv2d(x, w)[0, 2, 2], F.conv2d(other, w)[0, 2, 2])
    assert not np.array_equal(F.conv2d(x, w)[0, 2, 3], F.conv2d(other, w)[0, 2, 3])


def test_1x1_cannot_see_an_edge() -> None:
    # Shuffling the pixels destroys every edge, and a 1x1 gives the same values, shuffled.
    x, w = sixteenths((1, 4, 5, 3), 0), sixteenths((1, 1, 3, 2), 1)
    shuffle = np.random.default_rng(2).permutation(20)
    shuffled = x.reshape(20, 3)[shuffle].reshape(x.shape)
    y = F.conv2d(x, w).reshape(20, 2)
    assert np.array_equal(F.conv2d(shuffled, w).reshape(20, 2), y[shuffle])


def test_1x1_is_equivariant_to_translation() -> None:
    x, w, bias = sixteenths((2, 6, 7, 3), 0), sixteenths((1, 1, 3, 4), 1), sixteenths((4,), 2)
    y = F.conv2d(x, w, bias)
    shifted = F.conv2d(np.roll(x, (1, 2), axis=(1, 2)), w, bias)
    assert np.array_equal(shifted, np.roll(y, (1, 2), axis=(1, 2)))


def test_convolution_and_cross_correlation_agree_at_1x1_only() -> None:
    def convolution(x: Array, w: Array) -> Array:
        """The signal processing one, which flips its kernel: y[i] = sum over m of x[i-m] w[m]."""
        k = w.shape[0]
        h, width = x.shape[1] - k + 1, x.shape[2] - k + 1
        taps = product(range(k), range(k))
        return sum(
            x[:, k - 1 - m : k - 1 - m + h, k - 1 - n : k - 1 - n + width] @ w[m, n]
            for m, n in taps
        )

    x = sixteenths((1, 6, 6, 3), 0, np.float64)
    one, three = sixteenths((1, 1, 3, 2), 1, np.float64), sixteenths((3, 3, 3, 2), 2, np.float64)
    assert np.array_equal(F.conv2d(x, one), convolution(x, one))
    assert not np.allclose(F.conv2d(x, three), convolution(x, three))
    flipped = three[::-1, ::-1]
    np.testing.assert_allclose(F.conv2d(x, flipped), convolution(x, three), rtol=0, atol=1e-12)


def test_1x1_is_a_linear_layer_on_every_pixel() -> None:
    x, w, bias = sixteenths((2, 3, 4, 5), 0), sixteenths((1, 1, 5, 6), 1), sixteenths((6,), 2)
    g = sixteenths((2, 3, 4, 6), 3)
    maps = [mg.Tensor(array, requires_grad=True) for array in (x, w, bias)]
    rows = [mg.Tensor(array, requires_grad=True) for array in (x.reshape(24, 5), w[0, 0], bias)]
    y, z = F.conv2d(*maps), F.linear(*rows)
    assert np.array_equal(y.data.reshape(24, 6), z.data)
    # Texts A and B write it as one matrix multiply per pixel, with weights (C_out, C_in).
    assert np.array_equal(y.data[1, 2, 3], w[0, 0].T @ x[1, 2, 3] + bias)
    assert np.array_equal(y.data.reshape(24, 6), x.reshape(24, 5) @ w[0, 0] + bias)
    y.backward(gradient=mg.Tensor(g))
    z.backward(gradient=mg.Tensor(g.reshape(24, 6)))
    for conv_leaf, linear_leaf in zip(maps, rows, strict=True):
        assert np.array_equal(conv_leaf.grad.numpy().ravel(), linear_leaf.grad.numpy().ravel())


def test_1x1_is_a_dense_layer_when_the_image_is_one_pixel() -> None:
    x, w = sixteenths((4, 1, 1, 5), 0), sixteenths((1, 1, 5, 3), 1)
    assert np.array_equal(F.conv2d(x, w).reshape(4, 3), F.linear(x.reshape(4, 5), w[0, 0]))


def test_stacked_linear_1x1_collapse_to_one() -> None:
    x = sixteenths((1, 3, 3, 4), 0)
    w1, b1, w2, b2 = (sixteenths(s, 1) for s in [(1, 1, 4, 5), (5,), (1, 1, 5, 2), (2,)])
    stacked = F.conv2d(F.conv2d(x, w1, b1), w2, b2)
    combined = F.conv2d(x, w1 @ w2, b1 @ w2[0, 0] + b2)
    assert np.array_equal(stacked, combined)
    with_relu = F.conv2d(F.relu(F.conv2d(x, w1, b1)), w2, b2)
    assert not np.array_equal(with_relu, combined)


# One pixel for each pair of truth values, in two channels.
TRUTH = image("0 0   0 1 \n 1 1   0 1", np.float32)
XOR = np.array([[0, 1], [1, 0]], np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_one_1x1_cannot_be_xor(seed: int) -> None:
    # Any affine map has f(0,0) + f(1,1) = f(0,1) + f(1,0); XOR would need 0 = 2, and a ReLU
    # behind it a sum that is at most 0 and at least 2.
    y = F.conv2d(TRUTH, sixteenths((1, 1, 2, 1), seed), sixteenths((1,), seed + 10))[0, :, :, 0]
    assert y[0, 0] + y[1, 1] == y[0, 1] + y[1, 0]
    assert XOR[0, 0] + XOR[1, 1] != XOR[0, 1] + XOR[1, 0]


def test_the_best_one_1x1_on_xor_says_one_half_everywhere() -> None:
    columns = np.c_[TRUTH.reshape(4, 2), np.ones(4)].astype(np.float64)
    *weights, bias = np.linalg.lstsq(columns, XOR.ravel().astype(np.float64))[0]
    y = F.conv2d(TRUTH.astype(np.float64), pointwise([weights]), np.array([bias]))
    np.testing.assert_allclose(y, np.full((1, 2, 2, 1), 0.5), rtol=1e-12)


def test_1x1_relu_1x1_is_xor() -> None:
    # relu(a + b) counts the true ones, relu(a + b - 1) sees both; XOR = count - 2 both.
    hidden = F.conv2d(
        TRUTH, pointwise([[1, 1], [1, 1]], np.float32), np.float32([0, -1]), activation="relu"
    )
    y = F.conv2d(hidden, pointwise([[1, -2]], np.float32))
    assert np.array_equal(y[0, :, :, 0], XOR)


def test_1x1_relu_1x1_is_the_absolute_difference_of_two_channels() -> None:
    x = sixteenths((1, 4, 4, 2), 0)
    hidden = F.relu(F.conv2d(x, pointwise([[1, -1], [-1, 1]], np.float32)))
    y = F.conv2d(hidden, pointwise([[1, 1]], np.float32))
    assert np.array_equal(y[..., 0], np.abs(x[..., 0] - x[..., 1]))


def test_corners_need_a_threshold() -> None:
    # The filter of text A's Example 3, with a bias and a ReLU: relu(0.5 v + 0.5 h - 2.5).
    example = FORWARD["A Example 3, corners"]
    x, w = image(example.inputs), pointwise(example.filters)
    y = F.conv2d(x, w, np.array([-2.5]), activation="relu")[0, :, :, 0]
    both, not_both = [0, 0, 2.5, 2.5, 0], [0, 0, 0, 0, 0]
    assert np.array_equal(y, [not_both, both, not_both, both, not_both])


def fit_one_pixel() -> Array:
    """The output pixel that text A gives to two 1x1 layers, by a single one of rank one."""
    x = np.arange(1.0, 9.0)
    target = np.array([3.2, 2.9, 4.1, 5.3, 3.7, 4.8, 6.2, 5.4])
    w = np.outer(x, target) / (x @ x)
    return F.conv2d(x.reshape(1, 1, 1, 8), w.reshape(1, 1, 8, 8), activation="relu").ravel()


def test_a_single_1x1_fits_a_single_pixel() -> None:
    expected = [3.2, 2.9, 4.1, 5.3, 3.7, 4.8, 6.2, 5.4]
    np.testing.assert_allclose(fit_one_pixel(), expected, rtol=1e-14)


def test_depthwise_separable_is_a_convolution_with_factored_weights() -> None:
    x = sixteenths((1, 6, 5, 4), 0, np.float64)
    depthwise = sixteenths((3, 3, 1, 4), 1, np.float64)
    mix = sixteenths((1, 1, 4, 3), 2, np.float64)
    separable = F.conv2d(F.conv2d(x, depthwise, padding=1, groups=4), mix)
    full = depthwise[:, :, 0, :, np.newaxis] * mix[0, 0]
    # The dense 3x3 may go through a transform, which rounds; values are of order one.
    np.testing.assert_allclose(F.conv2d(x, full, padding=1), separable, rtol=0, atol=1e-12)


def test_a_filter_is_as_deep_as_its_input() -> None:
    with pytest.raises(ValueError, match="input channels"):
        F.conv2d(np.zeros((1, 2, 2, 4)), np.zeros((1, 1, 3, 2)))


def test_there_are_as_many_filters_as_output_channels() -> None:
    weight = conv(1, 192, 32).weight
    assert weight.shape == (1, 1, 192, 32)
    assert F.conv2d(np.zeros((1, 2, 2, 192), np.float32), weight).shape[-1] == 32


# -------------------------------------------------------------------------------- errata


class Erratum(NamedTuple):
    """A row of `docs/errata.md`: its key, the text's figures, the right ones, and their source."""

    key: str
    printed: str
    right: str
    computed: Callable[[], object]


REDUCE, EXPAND = "A reduction from 4 to 2", "A expansion from 2 to 4"
EXAMPLE_1, EXAMPLE_2 = "A Example 1, grayscale", "A Example 2, expansion"
CORNERS, FORWARD_EXAMPLE = "A Example 3, corners", "A forward example"


def at(name: str, channel: int, *positions: tuple[int, int]) -> Callable[[], object]:
    return lambda: [forward(name)[(*position, channel)] for position in positions]


def row(name: str, channel: int, i: int) -> Callable[[], object]:
    return lambda: forward(name)[i, :, channel]


def edges_at(i: int, j: int) -> str:
    names, strengths = ["vertical", "horizontal"], image(FORWARD[CORNERS].inputs)[0, i, j, :2]
    return " and ".join(name for name, edge in zip(names, strengths, strict=True) if edge) or "no"


def corner_filter_is() -> str:
    single, both = forward(CORNERS)[1, 1:3, 0]
    return {(0, 5): "AND", (2.5, 5): "mean"}[single, both]


def caption(name: str) -> str:
    c_in, c_out = pointwise(FORWARD[name].filters).shape[2:]
    return "reduced" if c_out < c_in else "expanded"


def example_with_output(*shape: int) -> str:
    (name,) = [name for name in FORWARD if forward(name).shape == shape]
    return name.removeprefix("A ")


def digit_with_b_at(*positions: tuple[int, int]) -> str:
    digits = {name.removeprefix("C "): forward(name)[..., 0] for name in FORWARD if "digit" in name}
    b = LETTERS["b"]
    (digit,) = [name for name, y in digits.items() if all(y[at] == b for at in positions)]
    return digit


def kernel_size_in_c() -> str:
    weights = pointwise(FORWARD["C three maps to one"].filters).size
    return {3 * 6 * 6 * 1: "C·W·H·K", 3 * 1 * 1 * 1: "C·1·1·K"}[weights]


ERRATA = [
    Erratum("A1", "4.6", "5.8", at("A pizza flavour", 0, (0, 0))),
    Erratum("A2", "102,895,872", "102,961,152", lambda: flops(56, 56, 256, 64, 1, True)),
    Erratum("A3", "926,068,736", "925,044,736", lambda: flops(56, 56, 256, 64, 3, True)),
    Erratum("A4", "926M", "925M", lambda: f"{flops(56, 56, 256, 64, 3, True) / 1e6:.0f}M"),
    Erratum("A5", "4.6, 5.6", "5.6, 6.6", row(REDUCE, 0, 1)),
    Erratum("A6", "4.9, 5.9", "5.9, 6.9", row(REDUCE, 1, 1)),
    Erratum("A7", "2.3", "2.6", at(EXPAND, 3, (0, 1))),
    Erratum("A8", "4.4, 5.1", "5.6, 6.6", row(EXPAND, 3, 1)),
    Erratum("A9", "32.6, 42.6, 52.6, 62.6", "35.64, 45.64, 55.64, 65.64", row(EXAMPLE_1, 0, 1)),
    Erratum(
        "A10", "92.6, 102.6, 112.6, 122.6", "80.88, 90.88, 100.88, 110.88", row(EXAMPLE_1, 0, 2)
    ),
    Erratum("A11", "82.6, 92.6, 102.6, 112.6", "73.92, 83.92, 93.92, 103.92", row(EXAMPLE_1, 0, 3)),
    Erratum("A12", "(2, 1)", "(1, 1, 2)", lambda: str(conv(1, 2, 4).weight.data[..., 0].shape)),
    Erratum("A13", "4.5", "2.5", at(EXAMPLE_2, 0, (1, 0))),
    Erratum("A14", "5.5, 6.5, 7.5", "7, 8, 9", row(EXAMPLE_2, 0, 2)),
    Erratum("A15", "3.7, 4.6", "3.9, 4.9", at(EXAMPLE_2, 3, (0, 1), (0, 2))),
    Erratum("A16", "3.9, 4.6, 5.3", "4.1, 5.1, 6.1", row(EXAMPLE_2, 3, 1)),
    Erratum("A17", "6.2, 7.0, 7.8", "8, 9, 10", row(EXAMPLE_2, 3, 2)),
    Erratum("A18", "AND", "mean", corner_filter_is),
    Erratum("A19", "no", "horizontal", lambda: edges_at(1, 1)),
    Erratum("A20", "vertical", "vertical and horizontal", lambda: edges_at(1, 2)),
    Erratum(
        "A21",
        "5, 5, 5, 5, 5, 5",
        "2.5, 2.5, 2.5, 2.5, 2.5, 2.5",
        at(CORNERS, 0, *product((0, 2, 4), (2, 3))),
    ),
    Erratum(
        "A22",
        "0, 0, 0, 0, 0, 0",
        "2.5, 2.5, 2.5, 2.5, 2.5, 2.5",
        at(CORNERS, 0, *product((1, 3), (0, 1, 4))),
    ),
    Erratum("A23", "4x", "16x", lambda: f"{saving('A bottleneck, its 3x3 alone'):g}x"),
    Erratum("A24", "1,179,648", "4,608", lambda: flops(8, 8, 256, 256, 3) / (8 * 8 * 256)),
    Erratum("A25", "19.3B", "75.5M", lambda: f"{flops(8, 8, 256, 256, 3) / 1e6:.1f}M"),
    Erratum("A26", "2,168x", "8.47x", lambda: f"{saving('A bottleneck'):,.2f}x"),
    Erratum("A27", "5.75", "4.5", at(FORWARD_EXAMPLE, 0, (2, 1))),
    Erratum("A28", "2.7, 3.6", "2.8, 3.8", at(FORWARD_EXAMPLE, 1, (0, 1), (0, 2))),
    Erratum("A29", "4.5, 6.7", "4.8, 6.8", at(FORWARD_EXAMPLE, 1, (1, 0), (1, 2))),
    Erratum("A30", "5.7, 6.2, 2.4", "6.8, 6.8, 4.8", row(FORWARD_EXAMPLE, 1, 2)),
    Erratum("A31", "7.6, 6.8, 4.4", "6, 4, 3", row(FORWARD_EXAMPLE, 2, 2)),
    Erratum("A32", "expanded", "reduced", lambda: caption(FORWARD_EXAMPLE)),
    Erratum("A33", "Example 2", "forward example", lambda: example_with_output(3, 3, 3)),
    Erratum(
        "A34",
        "0.205, 0.205, 0.205, 0.205",
        "0.185, 0.185, 0.185, 0.185",
        lambda: backward()[0][[0, 1, 1, 2], [1, 0, 2, 1], 0],
    ),
    Erratum("A35", "0.305", "0.265", lambda: backward()[0][1, 1, 0]),
    Erratum("C1", "digit 2", "digit 3", lambda: digit_with_b_at((1, 2), (3, 2))),
    Erratum("C2", "digit 2", "digit 3", lambda: digit_with_b_at((3, 2))),
    Erratum("C3", "5x5", "6x6", lambda: "{}x{}".format(*forward("C three maps to one").shape)),
    Erratum("C4", "C·W·H·K", "C·1·1·K", kernel_size_in_c),
    Erratum("C5", "0.6", "4.6", at("C three maps to one", 0, (5, 2))),
]

# What the texts say is right under one reading or cannot be checked; these rows add the other.
REMARKS = [
    Erratum("R1", "1,605,632", "3,236,352", lambda: flops(28, 28, 64, 32, 1, True)),
    Erratum("R2", "7.3", "4.24", lambda: worked("1.05 + 1.05 + 0.36 + 1.68 + 0.1 = 4.24")[1]),
    Erratum(
        "R3",
        "9x",
        "8.98x",
        lambda: f"{flops(1, 1, 256, 64, 3, True) / flops(1, 1, 256, 64, 1, True):.2f}x",
    ),
    Erratum(
        "R4",
        "not by one 1x1",
        "by one 1x1",
        lambda: "by one 1x1" if fit_one_pixel()[0] == pytest.approx(3.2) else "not by one 1x1",
    ),
    Erratum(
        "R5",
        "4x",
        "2.77x, 3.45x",
        lambda: ", ".join(
            f"{saving(f'A Inception, the branch with the {k}'):.2f}x" for k in ("3x3", "5x5")
        ),
    ),
    Erratum("R6", "9x", "8.79x", lambda: f"{taps_inside(3) / taps_inside(1):.2f}x"),
    Erratum(
        "R7",
        "order of magnitude",
        "8.69x, 22.78x",
        lambda: ", ".join(f"{saving(f'B depthwise separable {k}'):.2f}x" for k in ("3x3", "5x5")),
    ),
    Erratum(
        "R8",
        "better receptive field",
        "1x1",
        lambda: "x".join(str(len(set(axis))) for axis in np.nonzero(receptive_field(1))[:2]),
    ),
    Erratum("R9", "each with each", "15 pairs", lambda: f"{forward('C digit 2').size} pairs"),
    Erratum("R10", "depth of the map", "32", lambda: str(conv(1, 192, 32).weight.shape[-1])),
]


def figures(cell: str) -> list[float]:
    """The numbers of a cell: "102,961,152" is one, "5.6, 6.6" are two."""
    return [float(figure.replace(",", "")) for figure in cell.split(", ")]


def errata_rows() -> dict[str, tuple[str, str]]:
    """The text's and the right figures of every row of the tables in docs/errata.md, by key."""
    text = (Path(__file__).parents[1] / "docs" / "errata.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| [ACR]\d+ \|", line)]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    assert all(len(row_cells) == 5 for row_cells in cells)
    return {key: (printed, right) for key, _, printed, right, _ in cells}


@pytest.mark.parametrize("erratum", [*ERRATA, *REMARKS], ids=lambda erratum: erratum.key)
def test_erratum(erratum: Erratum) -> None:
    computed = erratum.computed()
    assert erratum.printed != erratum.right
    if isinstance(computed, str):
        assert computed == erratum.right
        return
    got = np.atleast_1d(computed)
    np.testing.assert_allclose(got, figures(erratum.right), rtol=RTOL[np.float64])
    # The texts print at most three decimals, so a figure that is off is off by more than that.
    assert np.all(np.abs(got - figures(erratum.printed)) > 5e-4)


def test_errata_page_holds_exactly_these_figures() -> None:
    expected = {e.key: (e.printed, e.right) for e in [*ERRATA, *REMARKS]}
    assert errata_rows() == expected
    assert list(errata_rows()) == list(expected)


def test_errata_page_states_the_number_of_wrong_entries() -> None:
    matrices = [e for e in ERRATA if re.fullmatch(r"[\d., ]+", e.printed + e.right)]
    scalars = {"A1", "A2", "A3", "A24"}
    entries = sum(len(figures(e.printed)) for e in matrices if e.key not in scalars)
    assert entries == 60
    text = (Path(__file__).parents[1] / "docs" / "errata.md").read_text(encoding="utf-8")
    assert "60 entries of printed matrices" in text
