"""The table of op cases: one row and more for each op, its value by NumPy, its inputs smooth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad.functional as F
import minigrad_ext as ext


@dataclass(frozen=True)
class Case:
    """`function(*inputs)` must equal `expected(*inputs)`; `name` is the op in `F`."""

    name: str
    function: Callable[..., Any]
    expected: Callable[..., Any]
    inputs: tuple[Any, ...]
    note: str = ""
    smooth: bool = True  # whether derivatives exist (and are checked) at these inputs

    @property
    def id(self) -> str:
        return f"{self.name}-{self.note}" if self.note else self.name


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers, none closer to 0 (where kinks are) than 0.05."""
    x = np.random.default_rng(seed + 17 * len(shape)).standard_normal(shape)
    return x + 0.05 * np.where(x < 0, -1.0, 1.0)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.abs(normal(*shape, seed=seed)) + 0.3


def distinct(*shape: int) -> np.ndarray:
    """Numbers no two of which are close: maxima are smooth there."""
    n = math.prod(shape)
    return (np.random.default_rng(5).permutation(n) / 4.0 - n / 8.1).reshape(shape)


def kept(n: int, p: float, rng: np.random.Generator) -> np.ndarray:
    """Which of n numbers a dropout keeps."""
    seed = int(rng.integers(2**64, dtype=np.uint64))
    return ext.reference.dropout(np.ones(n), p=p, seed=seed) != 0


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: Any = 0.0,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """The definition, pixel by pixel."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    kh, kw, channels, out = w.shape
    OH = (x.shape[1] - dilation * (kh - 1) - 1) // stride + 1
    OW = (x.shape[2] - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], OH, OW, out))
    for i in range(OH):
        for j in range(OW):
            top, left = i * stride, j * stride
            window = x[
                :, top : top + dilation * kh : dilation, left : left + dilation * kw : dilation
            ]
            for o in range(out):
                first = o // (out // groups) * channels
                y[:, i, j, o] = np.sum(
                    window[:, :kh, :kw, first : first + channels] * w[..., o], axis=(1, 2, 3)
                )
    return y + b


def windows(x: np.ndarray, k: int, stride: int, padding: int, fill: float) -> np.ndarray:
    """(N, OH, OW, k, k, C): what lies under each window."""
    x = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)), constant_values=fill)
    OH, OW = ((n - k) // stride + 1 for n in x.shape[1:3])
    rows = [
        [x[:, i * stride : i * stride + k, j * stride : j * stride + k] for j in range(OW)]
        for i in range(OH)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def batch_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) * weight + bias


def cross_entropy(x: np.ndarray, labels: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    target = np.eye(x.shape[-1])[labels] * (1 - smoothing) + smoothing / x.shape[-1]
    return -np.mean(np.sum(target * np.log(softmax(x)), axis=-1))


A, B = normal(3, 4), normal(3, 4, seed=1)
ROW, COLUMN = normal(4, seed=2), normal(3, 1, seed=3)
IMAGES = normal(2, 5, 6, 4)
W = normal(3, 3, 4, 6) / 6
LABELS = np.array([1, 0, 3])
PICK = np.array([[0, 2], [2, 2]])
MASK = A > 0

CASES = [
    Case("add", F.add, np.add, (A, B)),
    Case("add", F.add, np.add, (A, ROW), "row"),
    Case("add", F.add, np.add, (COLUMN, ROW), "outer"),
    Case("sub", F.sub, np.subtract, (A, COLUMN)),
    Case("mul", F.mul, np.multiply, (A, ROW)),
    Case("mul", lambda x: F.mul(x, x), np.square, (A,), "twice"),
    Case("div", F.div, np.divide, (A, COLUMN)),
    Case("neg", F.neg, np.negative, (A,)),
    Case("pow", lambda x: F.pow(x, 3), lambda x: x**3, (A,), "cube"),
    Case("pow", lambda x: F.pow(x, 2.5), lambda x: x**2.5, (positive(3, 4),), "fraction"),
    Case("pow", F.pow, np.power, (positive(3, 4), ROW), "both"),
    Case("pow", lambda y: F.pow(2.0, y), lambda y: 2.0**y, (A,), "exponent"),
    Case("abs", F.abs, np.abs, (A,)),
    Case("sign", F.sign, np.sign, (A,)),
    Case("exp", F.exp, np.exp, (A,)),
    Case("log", F.log, np.log, (positive(3, 4),)),
    Case("sqrt", F.sqrt, np.sqrt, (positive(3, 4),)),
    Case("maximum", F.maximum, np.maximum, (A, B)),
    Case("minimum", F.minimum, np.minimum, (A, COLUMN)),
    Case("clip", lambda x: F.clip(x, min=-0.5, max=0.4), lambda x: np.clip(x, -0.5, 0.4), (A,)),
    Case("clip", lambda x: F.clip(x, max=0.4), lambda x: np.minimum(x, 0.4), (A,), "above"),
    Case("clip", F.clip, np.clip, (A, ROW - 1, COLUMN + 1), "tensors"),
    Case("where", lambda x, y: F.where(MASK, x, y), lambda x, y: np.where(MASK, x, y), (A, ROW)),
    Case("relu", F.relu, lambda x: np.maximum(x, 0), (A,)),
    Case("add_relu", F.elementwise.add_relu, lambda x, y: np.maximum(x + y, 0), (A, B)),
    Case("add_relu", F.elementwise.add_relu, lambda x, y: np.maximum(x + y, 0), (A, ROW), "row"),
    Case("relu_grad", F.elementwise.relu_grad, lambda d, y: d * (y > 0), (A, B)),
    Case(
        "leaky_relu",
        lambda x: F.leaky_relu(x, negative_slope=0.2),
        lambda x: np.where(x > 0, x, 0.2 * x),
        (A,),
    ),
    Case("sigmoid", F.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (A,)),
    Case("tanh", F.tanh, np.tanh, (A,)),
    Case("erf", F.erf, np.vectorize(math.erf), (A,)),
    Case("gelu", F.gelu, np.vectorize(lambda x: x / 2 * (1 + math.erf(x / 2**0.5))), (A,)),
    Case(
        "gelu",
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
        (A,),
        "tanh",
    ),
    Case("astype", lambda x: F.astype(x, dtype=np.float64), np.float64, (A,)),
    # reductions
    Case("sum", F.sum, np.sum, (A,)),
    Case("sum", lambda x: F.sum(x, axis=(0, -1)), lambda x: x.sum((0, 3)), (IMAGES,), "axes"),
    Case(
        "sum",
        lambda x: F.sum(x, axis=1, keepdims=True),
        lambda x: x.sum(1, keepdims=True),
        (A,),
        "keep",
    ),
    Case("mean", lambda x: F.mean(x, axis=0), lambda x: x.mean(0), (A,)),
    Case("var", F.var, np.var, (A,)),
    Case("var", lambda x: F.var(x, axis=-1, ddof=1), lambda x: x.var(-1, ddof=1), (A,), "ddof"),
    Case("max", lambda x: F.max(x, axis=1), lambda x: x.max(1), (distinct(3, 4),)),
    Case("max", F.max, np.max, (distinct(3, 4),), "all"),
    Case(
        "min",
        lambda x: F.min(x, axis=0, keepdims=True),
        lambda x: x.min(0, keepdims=True),
        (distinct(3, 4),),
    ),
    Case("logsumexp", lambda x: F.logsumexp(x, axis=1), lambda x: np.log(np.exp(x).sum(1)), (A,)),
    Case(
        "logsumexp",
        lambda x: F.logsumexp(x, keepdims=True),
        lambda x: np.log(np.exp(x).sum(keepdims=True)),
        (A,),
        "all",
    ),
    Case("argmax", lambda x: F.argmax(x, axis=1), lambda x: x.argmax(1), (A,), smooth=False),
    # shapes
    Case("reshape", lambda x: F.reshape(x, shape=(2, -1)), lambda x: x.reshape(2, 6), (A,)),
    Case("transpose", F.transpose, np.transpose, (IMAGES,)),
    Case(
        "transpose",
        lambda x: F.transpose(x, axes=(0, 3, -3, 2)),
        lambda x: np.transpose(x, (0, 3, 1, 2)),
        (IMAGES,),
        "axes",
    ),
    Case(
        "broadcast_to",
        lambda x: F.broadcast_to(x, shape=(2, 3, 4)),
        lambda x: np.broadcast_to(x, (2, 3, 4)),
        (COLUMN,),
    ),
    Case("expand_dims", lambda x: F.expand_dims(x, axis=1), lambda x: x[:, None], (A,)),
    Case("squeeze", F.squeeze, np.squeeze, (COLUMN,)),
    Case("pad", lambda x: F.pad(x, pad_width=1), lambda x: np.pad(x, 1), (A,)),
    Case(
        "pad",
        lambda x: F.pad(x, pad_width=((0, 2), (1, 0)), value=3.0),
        lambda x: np.pad(x, ((0, 2), (1, 0)), constant_values=3.0),
        (A,),
        "sides",
    ),
    Case(
        "concatenate",
        lambda x, y: F.concatenate([x, y], axis=1),
        lambda x, y: np.hstack([x, y]),
        (A, COLUMN),
    ),
    Case("stack", lambda x, y: F.stack([x, y], axis=-1), lambda x, y: np.stack([x, y], -1), (A, B)),
    Case("split", lambda x: F.split(x, 2, axis=1)[1], lambda x: x[:, 2:], (A,)),
    Case("split", lambda x: F.split(x, [1, 3], axis=1)[1], lambda x: x[:, 1:3], (A,), "cuts"),
    Case("getitem", lambda x: F.getitem(x, (slice(None, None, -2), 1)), lambda x: x[::-2, 1], (A,)),
    Case("getitem", lambda x: F.getitem(x, PICK), lambda x: x[PICK], (A,), "array"),
    Case("getitem", lambda x: F.getitem(x, MASK), lambda x: x[MASK], (A,), "mask"),
    Case("getitem", lambda x: x[..., None, 0], lambda x: x[..., None, 0], (A,), "none"),
    Case(
        "scatter",
        lambda g: F.shapes._scatter(g, shape=(3, 4), index=(PICK, slice(None))),
        lambda g: sum(np.eye(3)[:, PICK.flat[i], None] * g.reshape(4, 4)[i] for i in range(4)),
        (normal(2, 2, 4),),
    ),
    Case(
        "setitem",
        lambda x, v: F.setitem(x, v, index=(slice(None), 1)),
        lambda x, v: np.column_stack([x[:, 0], v, x[:, 2:]]),
        (A, normal(3)),
    ),
    Case(
        "setitem",
        lambda x, v: F.setitem(x, v, index=0),
        lambda x, v: np.vstack([v, x[1:]]),
        (A, normal(1, 4)),
        "more axes",
    ),
    Case(
        "concatenate",
        lambda x, y: F.concatenate([x, y], 1),
        lambda x, y: np.hstack([x, y]),
        (A, B),
        "axis",
    ),
    # products
    Case("matmul", F.matmul, np.matmul, (A, normal(4, 5))),
    Case("matmul", F.matmul, np.matmul, (normal(2, 1, 3, 4), normal(5, 4, 2)), "batch"),
    Case("matmul", F.matmul, np.matmul, (normal(2, 3, 4), normal(4, 2)), "rows"),
    Case("matmul", F.matmul, np.matmul, (ROW, normal(4, 3)), "vector-matrix"),
    Case("matmul", F.matmul, np.matmul, (normal(2, 3, 4), ROW), "batch-vector"),
    Case("matmul", F.matmul, np.matmul, (ROW, normal(4, seed=9)), "inner"),
    Case("linear", F.linear, lambda x, w, b: x @ w + b, (normal(2, 3, 4), normal(4, 5), normal(5))),
    Case("einsum", lambda *x: F.einsum("ij,jk->ki", *x), lambda x, y: (x @ y).T, (A, normal(4, 5))),
    Case(
        "einsum",
        lambda *x: F.einsum("i,i,i", *x),
        lambda x, y, z: np.sum(x * y * z),
        (ROW,) * 3,
        "three",
    ),
    Case("einsum", lambda x: F.einsum("ii->i", x), np.diag, (normal(4, 4),), "diagonal"),
    Case(
        "einsum",
        lambda x: F.einsum("iij->j", x),
        lambda x: np.einsum("iij->j", x),
        (normal(3, 3, 2),),
        "trace",
    ),
    Case(
        "einsum",
        lambda x: F.einsum("ijk->j", x),
        lambda x: x.sum((0, 2)),
        (normal(2, 3, 4),),
        "sum",
    ),
    Case(
        "einsum",
        lambda x, y: F.einsum("...ij,...jk", x, y),
        np.matmul,
        (normal(2, 1, 3, 4), normal(5, 4, 2)),
        "dots",
    ),
    Case(
        "einsum",
        lambda x, y: F.einsum("ij,jk->ik", x, y),
        lambda x, y: x * y.sum(0),
        (COLUMN, A),
        "length 1",
    ),
    # losses
    Case("softmax", F.softmax, softmax, (A,)),
    Case("softmax", lambda x: F.softmax(x, axis=0), lambda x: softmax(x, 0), (A,), "axis"),
    Case("log_softmax", F.log_softmax, lambda x: np.log(softmax(x)), (A,)),
    Case(
        "cross_entropy",
        lambda x: F.cross_entropy(x, LABELS),
        lambda x: cross_entropy(x, LABELS),
        (A,),
    ),
    Case(
        "cross_entropy",
        lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.1, ignore_index=0),
        lambda x: cross_entropy(x[[0, 2]], LABELS[[0, 2]], 0.1),
        (A,),
        "smooth",
    ),
    Case(
        "cross_entropy",
        lambda x: F.cross_entropy(x, softmax(B), reduction="sum"),
        lambda x: -np.sum(softmax(B) * np.log(softmax(x))),
        (A,),
        "probabilities",
    ),
    Case(
        "cross_entropy_grad",
        lambda g, x: F.losses._cross_entropy_grad(
            g, x, labels=LABELS, label_smoothing=0.1, ignore_index=0
        ),
        lambda g, x: (
            g[:, None] * (LABELS != 0)[:, None] * (softmax(x) - 0.9 * np.eye(4)[LABELS] - 0.025)
        ),
        (normal(3), A),
    ),
    Case("mse_loss", F.mse_loss, lambda x, y: np.mean((x - y) ** 2), (A, B)),
    # regularization and normalization
    Case("dropout", lambda x: F.dropout(x, p=0.3, training=False), lambda x: x, (A,), "eval"),
    Case(
        "dropout",
        lambda x: F.dropout(x, p=0.25, rng=np.random.default_rng(3)),
        lambda x: x * kept(x.size, 0.25, np.random.default_rng(3)).reshape(x.shape) / 0.75,
        (A,),
    ),
    Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(x, w, b, None, None, training=True),
        batch_norm,
        (IMAGES, positive(4), normal(4)),
    ),
    Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(x, w, b, None, None, training=True, activation="relu"),
        lambda x, w, b: np.maximum(batch_norm(x, w, b), 0),
        (IMAGES, positive(4), normal(4)),
        "relu",
    ),
    Case(
        "batch_norm",
        lambda x, w, b, r: F.batch_norm(x, w, b, None, None, r, training=True, activation="relu"),
        lambda x, w, b, r: np.maximum(batch_norm(x, w, b) + r, 0),
        (IMAGES, positive(4), normal(4), normal(2, 5, 6, 4, seed=4)),
        "residual relu",
    ),
    Case(
        "batch_norm",
        lambda x, w, b, r: F.batch_norm(x, w, b, None, None, r, training=True),
        lambda x, w, b, r: batch_norm(x, w, b) + r,
        (IMAGES, positive(4), normal(4), normal(2, 5, 6, 4, seed=4)),
        "residual",
    ),
    Case(
        "batch_norm",
        lambda x, w, b, r: F.batch_norm(
            x, w, b, np.full(4, 0.5), np.full(4, 4.0), r, training=False, eps=0, activation="relu"
        ),
        lambda x, w, b, r: np.maximum((x - 0.5) / 2 * w + b + r, 0),
        (IMAGES, positive(4), normal(4), normal(2, 5, 6, 4, seed=4)),
        "eval residual relu",
    ),
    Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(
            x, w, b, np.full(4, 0.5), np.full(4, 4.0), training=False, eps=0
        ),
        lambda x, w, b: (x - 0.5) / 2 * w + b,
        (IMAGES, positive(4), normal(4)),
        "eval",
    ),
    # convolution
    Case("conv2d", F.conv2d, conv2d, (IMAGES, normal(1, 1, 4, 3), normal(3)), "pointwise"),
    Case(
        "conv2d",
        lambda x, w: F.conv2d(x, w, padding="same"),
        lambda x, w: conv2d(x, w, padding=1),
        (IMAGES, W),
    ),
    Case(
        "conv2d",
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=2, dilation=2),
        lambda x, w, b: conv2d(x, w, b, 2, 2, 2),
        (IMAGES, W, normal(6)),
        "stride-dilation",
    ),
    Case(
        "conv2d",
        lambda x, w: F.conv2d(x, w, padding=1, groups=4),
        lambda x, w: conv2d(x, w, padding=1, groups=4),
        (IMAGES, normal(3, 3, 1, 8)),
        "depthwise",
    ),
    Case(
        "conv2d",
        lambda x, w, b: F.conv2d(x, w, b, activation="relu"),
        lambda x, w, b: np.maximum(conv2d(x, w, b), 0),
        (IMAGES, W, normal(6)),
        "relu",
    ),
    Case(
        "conv2d_input_grad",
        lambda g, w: F.conv2d_input_grad(g, w, input_shape=(2, 5, 6, 4), stride=2, padding=1),
        None,
        (normal(2, 3, 3, 6), W),
    ),
    Case(
        "conv2d_weight_grad",
        lambda g, x: F.conv2d_weight_grad(g, x, weight_shape=(3, 3, 2, 6), groups=2),
        None,
        (normal(2, 3, 4, 6), IMAGES),
    ),
    # pooling
    Case(
        "max_pool2d",
        lambda x: F.max_pool2d(x, kernel_size=2),
        lambda x: windows(x, 2, 2, 0, 0).max((3, 4)),
        (distinct(2, 5, 6, 4),),
    ),
    Case(
        "max_pool2d",
        lambda x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        lambda x: windows(x, 3, 1, 1, -np.inf).max((3, 4)),
        (distinct(2, 5, 6, 4),),
        "overlap",
    ),
    Case(
        "max_pool2d_grad",
        lambda g: F.pooling._put_back(
            g,
            index=np.array([[3, 2], [0, 1]], np.uint8).reshape(1, 2, 2, 1),
            input_shape=(1, 3, 3, 1),
            windows=F.pooling._windows("max_pool2d", 2, 1, 0, False),
        ),
        lambda g: np.array([0, 0, 0, g.flat[2], g.flat[0] + g.flat[1], g.flat[3], 0, 0, 0]).reshape(
            1, 3, 3, 1
        ),
        (normal(1, 2, 2, 1),),
    ),
    Case(
        "max_pool2d_gather",
        lambda x: F.pooling._take(
            x,
            index=np.array([3, 0], np.uint8).reshape(1, 1, 2, 1),
            windows=F.pooling._windows("max_pool2d", 2, 1, 0, False),
        ),
        lambda x: np.array([x.flat[4], x.flat[1]]).reshape(1, 1, 2, 1),
        (normal(1, 2, 3, 1),),
    ),
    Case(
        "avg_pool2d",
        lambda x: F.avg_pool2d(x, kernel_size=3, stride=2, padding=1),
        lambda x: windows(x, 3, 2, 1, 0).mean((3, 4)),
        (IMAGES,),
    ),
    Case(
        "avg_pool2d_grad",
        lambda g: F.pooling._avg_pool2d_grad(
            g,
            input_shape=(2, 4, 4, 4),
            windows=F.pooling._windows("avg_pool2d", 2, None, 0, False),
            count_include_pad=True,
        ),
        lambda g: g.repeat(2, axis=1).repeat(2, axis=2) / 4,
        (normal(2, 2, 2, 4),),
    ),
    Case("global_avg_pool2d", F.global_avg_pool2d, lambda x: x.mean((1, 2)), (IMAGES,)),
]
