# ruff: noqa: N803 - single capitals are sizes
"""The checks behind the seam: a malformed call ends here, as one sentence.

What passes has the right axes, one float dtype and sizes that fit each other, so that no kernel can
index outside an array. A check that passes costs a fraction of a microsecond.
"""

from __future__ import annotations

from operator import index
from typing import NoReturn, TypeAlias

import numpy as np

from .geometry import Padding, Pair, Shape, conv_output_size, pool_output_size, tap_dtype

Array: TypeAlias = np.ndarray  # float32 or float64: the same one in all arrays of a call
Axes: TypeAlias = tuple[str, ...]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT64 = np.dtype(np.int64)
LARGEST = 2**31 - 1  # of what an int32 index can hold, and of a stride: two multiply in Py_ssize_t

IMAGES: Axes = ("N", "H", "W", "C")
WINDOWS: Axes = ("N", "OH", "OW", "C")
WEIGHTS: Axes = ("kh", "kw", "C_in // groups", "C_out")
LOGITS: Axes = ("M", "C")
SUMS: Axes = ("2", "C")
ROWS: Axes = ("M",)
CHANNELS: Axes = ("C",)

# ---------------------------------------------------------------------------------------- arrays


def array(
    op: str, name: str, a: Array, axes: Axes | None = None, like: Array | None = None
) -> Array:
    """Return `a` C-contiguous, aligned and native: itself, or a copy if it is not so already.

    Raises:
        TypeError: `a` is no float32 or float64 array, or its dtype is not that of `like`.
        ValueError: `a` does not have these axes.
    """
    if (
        type(a) is not np.ndarray
        or (a.dtype is not FLOAT32 and a.dtype is not FLOAT64)
        or not a.flags.carray
    ):
        a = np.asarray(strided_array(op, name, a), order="C")
    if axes is not None and a.ndim != len(axes):
        _refuse_axes(op, name, a, axes)
    if like is not None and a.dtype != like.dtype:
        _refuse_dtype(op, name, a, like)
    return a


def strided_array(op: str, name: str, a: object) -> Array:
    """Return `a` aligned and native, with whatever strides it has: itself, or a copy."""
    if type(a) is np.ndarray and (a.dtype is FLOAT32 or a.dtype is FLOAT64) and a.flags.aligned:
        return a
    if not isinstance(a, np.ndarray | np.generic):
        raise TypeError(
            f"{op}: {name} expects a NumPy array of float32 or float64, got {type(a).__name__}; "
            "convert it with np.asarray(..., dtype=np.float32)"
        )
    if a.dtype.kind != "f" or a.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{op}: {name} expects float32 or float64, got {a.dtype}; convert it with .astype()"
        )
    native = FLOAT32 if a.dtype.itemsize == 4 else FLOAT64
    return np.require(a, native, ["ALIGNED", "ENSUREARRAY"])


def shape(op: str, name: str, a: Array, expected: Shape, why: str) -> None:
    """Refuse every other shape."""
    if a.shape != expected:
        raise ValueError(f"{op}: {name} expects shape {expected}, {why}, got {a.shape}")


def channels(op: str, name: str, a: Array, C: int, like: Array) -> Array:
    """Return one number for each of C channels, as `array` does."""
    a = array(op, name, a, CHANNELS, like)
    if a.shape[0] != C:
        shape(op, name, a, (C,), "one number for each channel")
    return a


def pixels(op: str, name: str, a: Array) -> Array:
    """Return what has channels as its last axis, as `array` does."""
    a = array(op, name, a)
    if a.ndim < 1:
        raise ValueError(f"{op}: {name} expects axes (..., C), got a single number; reshape it")
    return a


def like(op: str, name: str, a: Array, x: Array) -> Array:
    """Return what has the shape and the dtype of x, as `array` does."""
    a = array(op, name, a, None, x)
    if a.shape != x.shape:
        shape(op, name, a, x.shape, "that of x")
    return a


def normalization(
    op: str, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return pixels, and four numbers for each of their channels."""
    x = pixels(op, "x", x)
    C = x.shape[-1]
    return (
        x,
        channels(op, "mean", mean, C, x),
        channels(op, "inv_std", inv_std, C, x),
        channels(op, "weight", weight, C, x),
        channels(op, "bias", bias, C, x),
    )


def logits(op: str, a: Array, label_smoothing: float) -> Array:
    """Return rows of at least one class each, as `array` does."""
    a = array(op, "logits", a, LOGITS)
    if a.shape[1] < 1:
        raise ValueError(f"{op}: logits expects at least one class, got shape {a.shape}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing expects a number in [0, 1], got {label_smoothing}")
    return a


def matrices(op: str, a: Array, b: Array) -> tuple[Array, Array]:
    """Return two matrices, or two batches of them, that can be multiplied, strides as they are."""
    a, b = strided_array(op, "a", a), strided_array(op, "b", b)
    if a.dtype != b.dtype:
        _refuse_dtype(op, "b", b, a)
    if a.ndim not in (2, 3) or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"{op}: a and b expect shapes (M, K) and (K, N), or (B, M, K) and (B, K, N), "
            f"got {a.shape} and {b.shape}; reshape, transpose or broadcast them"
        )
    return a, b


def _refuse_dtype(op: str, name: str, a: Array, like: Array) -> NoReturn:
    raise TypeError(
        f"{op}: {name} expects {like.dtype} as the other arrays, got {a.dtype}; "
        "convert one of them with .astype()"
    )


def _refuse_axes(op: str, name: str, a: Array, axes: Axes) -> NoReturn:
    raise ValueError(
        f"{op}: {name} expects {len(axes)} axes, ({', '.join(axes)}), got shape {a.shape}; "
        "reshape it"
    )


# --------------------------------------------------------------------------- labels and indices


def labels(op: str, a: Array, M: int, ignore_index: int) -> Array:
    """Return M integers as int64, C-contiguous; an implementation checks their values."""
    if type(ignore_index) is not int or not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"{op}: ignore_index expects an int of 64 bits, got {ignore_index!r}")
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "iu":
        raise TypeError(
            f"{op}: labels expects a NumPy array of integers, got {_kind(a)}; "
            "convert it with np.asarray(..., dtype=np.int64)"
        )
    shape(op, "labels", a, (M,), "one for each row of logits")
    if type(a) is np.ndarray and a.dtype is INT64 and a.flags.carray:
        return a
    if a.dtype == np.uint64:  # what int64 cannot hold must not wrap around to a valid label
        a = np.minimum(a, np.uint64(2**63 - 1))
    return np.require(a, INT64, ["C", "ALIGNED", "ENSUREARRAY"])


def indices(op: str, a: Array, kernel_size: Pair, expected: Shape) -> Array:
    """Return what `max_pool2d` gave as index; an implementation checks its values."""
    dtype = tap_dtype(kernel_size)
    if not isinstance(a, np.ndarray) or a.dtype.newbyteorder("=") != dtype:
        raise TypeError(
            f"{op}: index expects the {dtype} array that max_pool2d returned, got {_kind(a)}"
        )
    if a.ndim != 4:
        _refuse_axes(op, "index", a, WINDOWS)
    shape(op, "index", a, expected, "what max_pool2d returns for these images")
    return np.require(a, dtype, ["C", "ALIGNED", "ENSUREARRAY"])


def label_values(op: str, labels: Array, C: int, ignore_index: int) -> None:
    """Refuse a label that is none of the C classes and not `ignore_index`."""
    bad = np.flatnonzero(((labels < 0) | (labels >= C)) & (labels != ignore_index))
    if bad.size:
        raise ValueError(
            f"{op}: labels expects classes from 0 to {C - 1} (or ignore_index={ignore_index}), "
            f"got {labels[bad[0]]} in row {bad[0]}; check the labels or the number of classes"
        )


def index_pixels(
    op: str, index: Array, images: Shape, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array, Array]:
    """Return rows and columns of the pixels named; refuse an index that names none."""
    _, OH, OW, _ = index.shape
    u, v = np.divmod(index.astype(np.int64), kernel_size[1])
    h = np.arange(OH).reshape(OH, 1, 1) * stride[0] - padding[0] + u
    w = np.arange(OW).reshape(OW, 1) * stride[1] - padding[1] + v
    bad = index[(u < 0) | (u >= kernel_size[0])]
    bad = bad if bad.size else index[(h < 0) | (h >= images[1]) | (w < 0) | (w >= images[2])]
    if bad.size:
        raise ValueError(
            f"{op}: index expects taps from 0 to {kernel_size[0] * kernel_size[1] - 1} that lie in "
            f"the image, got {bad[0]}; pass the index that max_pool2d returned for these windows"
        )
    return h, w


def _kind(a: object) -> str:
    return str(a.dtype) if isinstance(a, np.ndarray) else type(a).__name__


# -------------------------------------------------------------------------------------- geometry


def sizes(op: str, name: str, value: Shape, axes: Axes) -> Shape:
    """Return the sizes of these axes: ints of at least 0."""
    try:
        checked = tuple(map(index, value))
        if len(checked) == len(axes) and min(checked) >= 0:
            return checked
    except TypeError:
        pass
    raise ValueError(
        f"{op}: {name} expects {len(axes)} ints >= 0, ({', '.join(axes)}), got {value!r}; "
        "pass the .shape of that array"
    )


def pair(op: str, name: str, value: Pair, least: int, meaning: str = "rows, columns") -> Pair:
    """Return two ints of at least `least`."""
    try:
        a, b = value
        if type(a) is type(b) is int and least <= a <= LARGEST and least <= b <= LARGEST:
            return a, b
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{op}: {name} expects ({meaning}), two ints >= {least}, got {value!r}")


def margins(op: str, value: Padding) -> Padding:
    """Return ((top, bottom), (left, right)): four ints of at least 0."""
    try:
        vertical, horizontal = value
    except (TypeError, ValueError):
        raise ValueError(
            f"{op}: padding expects ((top, bottom), (left, right)), got {value!r}"
        ) from None
    return (
        pair(op, "padding[0]", vertical, 0, "top, bottom"),
        pair(op, "padding[1]", horizontal, 0, "left, right"),
    )


def conv_windows(
    op: str,
    images: Shape,
    weights: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Shape:
    """Return the shape of a convolution's output, (N, OH, OW, C_out)."""
    N, H, W, C_in = images
    kh, kw, C, C_out = weights
    if type(groups) is not int or groups < 1 or C_in % groups or C_out % groups:
        raise ValueError(
            f"{op}: groups expects an int >= 1 that divides C_in = {C_in} and C_out = {C_out}, "
            f"got {groups!r}"
        )
    if C * groups != C_in:
        raise ValueError(
            f"{op}: w expects C_in // groups = {C_in // groups} input channels (axis 2 of HWIO), "
            f"got {C}, for images {images}, which are (N, H, W, C); check their layout, or groups="
        )
    sh, sw = pair(op, "stride", stride, 1)
    dh, dw = pair(op, "dilation", dilation, 1)
    vertical, horizontal = margins(op, padding)
    OH = conv_output_size(H, kh, sh, vertical, dh)
    OW = conv_output_size(W, kw, sw, horizontal, dw)
    if min(OH, OW, kh, kw) < 1:
        raise ValueError(
            f"{op}: w expects a window of at least 1x1 that fits the padded image, got {kh}x{kw} "
            f"(dilation {dilation}) on {H}x{W} (padding {padding}); pad more or use a smaller one"
        )
    return N, OH, OW, C_out


def pool_windows(
    op: str, images: Shape, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> Shape:
    """Return the shape of a pooling's output, (N, OH, OW, C)."""
    N, H, W, C = images
    kh, kw = pair(op, "kernel_size", kernel_size, 1)
    sh, sw = pair(op, "stride", stride, 1)
    ph, pw = pair(op, "padding", padding, 0)
    if ph >= kh or pw >= kw:
        raise ValueError(
            f"{op}: padding expects less than kernel_size = {kernel_size}, got {padding}; a window "
            "must not see padding only"
        )
    OH = pool_output_size(H, kh, sh, ph, ceil_mode)
    OW = pool_output_size(W, kw, sw, pw, ceil_mode)
    if min(OH, OW, H, W) < 1:
        raise ValueError(
            f"{op}: kernel_size expects a window that fits the padded image, got {kh}x{kw} on "
            f"{H}x{W} (padding {padding}); pad more or use a smaller one"
        )
    return N, OH, OW, C


def tap_numbers(op: str, kernel_size: Pair) -> None:
    """Refuse a window with more taps than an int32 index can count."""
    if kernel_size[0] * kernel_size[1] > LARGEST:
        raise ValueError(f"{op}: kernel_size expects at most {LARGEST} taps, got {kernel_size}")


# ---------------------------------------------------------------------------------------- dropout


def probability(op: str, p: float) -> None:
    """Refuse what is no number from 0 to 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p expects a probability from 0 to 1, got {p}")


def seed(op: str, value: int) -> None:
    """Refuse what is no int of 64 bits."""
    if not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"{op}: seed expects an int from 0 to 2**64 - 1, got {value!r}")
