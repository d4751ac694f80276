"""Every malformed call is refused in one sentence, before any kernel sees it."""

import re

import numpy as np
import pytest

import minigrad_ext

OTHER_DTYPES = ["float16", "int64", "complex64", "bool", "longdouble", "object"]


def float_arrays(call):
    return [name for name, a in call.arrays.items() if a.dtype.kind == "f"]


# ------------------------------------------------------------------- what holds for every kernel


@pytest.mark.parametrize("other", OTHER_DTYPES)
def test_other_dtypes_are_refused(kernel, other, call):
    good = call(kernel, np.float32, 2)
    for name in float_arrays(good):
        bad = good.arrays[name].astype(other)
        expected = f"{kernel}: {name} expects float32 or float64, got {bad.dtype}; convert"
        with pytest.raises(TypeError, match=f"^{expected}"):
            good(**{name: bad})


def test_mixed_dtypes_are_refused(kernel, call):
    good = call(kernel, np.float32, 2)
    several = float_arrays(good)[1:] and float_arrays(good)  # nothing to mix with one array alone
    for name in several:
        with pytest.raises(TypeError, match=f"^{kernel}: .* expects float.* got float"):
            good(**{name: good.arrays[name].astype(np.float64)})


@pytest.mark.parametrize("bad", [[[1.0]], 1.0, "x", {}], ids=lambda bad: type(bad).__name__)
def test_what_is_no_array_is_refused(kernel, bad, call):
    good = call(kernel, np.float32, 2)
    for name in good.arrays:
        expected = f"{kernel}: {name} expects .* got {type(bad).__name__}"
        with pytest.raises(TypeError, match=expected):
            good(**{name: bad})


def test_none_is_refused_except_where_an_array_is_optional(kernel, call):
    optional = {("conv2d", "b"), ("conv2d_grads", "out"), ("batch_norm", "residual")}
    good = call(kernel, np.float32, 2)
    for name in good.arrays:
        if (kernel, name) not in optional:
            with pytest.raises(TypeError, match=f"{kernel}: {name} expects .* got NoneType"):
                good(**{name: None})


def test_wrong_shapes_are_refused(kernel, call, agree):
    """One axis more or less, one element more along an axis: refused, or right as the twin is."""
    good = call(kernel, np.float32, 2)
    refused = []
    for name, a in good.arrays.items():
        longer = [
            tuple(size + (axis == i) for i, size in enumerate(a.shape)) for axis in range(a.ndim)
        ]
        for shape in [(1, *a.shape), a.shape[1:], *longer]:
            changed = {name: np.ones(shape, a.dtype)}
            try:
                got = good(**changed)
            except ValueError as error:
                refused.append(str(error))
            else:
                agree(got, good.reference(**changed), rtol=1e-5, atol=1e-5)
    any_shape = {"relu", "erf", "dropout", "batch_norm_statistics", "channel_sums"}
    assert refused or kernel in any_shape
    assert all(re.match(rf"{kernel}: .* expects? .* got ", message) for message in refused)


# ------------------------------------------------------------------------------------- one by one

# Changes to the calls in conftest.py, where x is (2, 13, 11, 6), w (3, 2, 3, 10) and groups 2.
ONES = np.ones
INDEX = np.full((2, 7, 4, 6), 2, np.uint8)  # a tap of six, in the image in every window
BAD = [
    ("conv2d", {"w": ONES((3, 2, 2, 10))}, r"w expects C_in // groups = 3 input channels \(axis 2"),
    ("conv2d", {"b": ONES(9)}, r"b expects shape \(10,\), one .* channel, got \(9,\)"),
    ("conv2d", {"groups": 3}, "groups expects an int >= 1 that divides C_in = 6 and C_out = 10"),
    ("conv2d", {"groups": 5}, "groups expects an int >= 1 that divides C_in = 6 and C_out = 10"),
    ("conv2d", {"groups": 0}, "groups expects an int >= 1 .* got 0"),
    ("conv2d", {"groups": 2.0}, "groups expects an int >= 1 .* got 2.0"),
    ("conv2d", {"stride": (0, 1)}, r"stride expects \(rows, columns\), two ints >= 1, got"),
    ("conv2d", {"stride": 2}, "stride expects .* got 2"),
    ("conv2d", {"stride": (1, 1.5)}, r"stride expects .* got \(1, 1.5\)"),
    ("conv2d", {"stride": (1, 2**31)}, r"stride expects .* got \(1, 2147483648\)"),
    ("conv2d", {"dilation": (1, -1)}, "dilation expects .* two ints >= 1"),
    ("conv2d", {"dilation": (1, 1, 1)}, "dilation expects .* two ints >= 1"),
    ("conv2d", {"dilation": (7, 1)}, "w expects a window .* 3x2 .* on 13x11"),
    ("conv2d", {"padding": ((0, -1), (0, 0))}, r"padding\[0\] expects .* two ints >= 0"),
    ("conv2d", {"padding": (1, 1)}, r"padding\[0\] expects \(top, bottom\), .* got 1"),
    ("conv2d", {"padding": 1}, r"padding expects \(\(top, bottom\), \(left, right\)\), got 1"),
    ("conv2d", {"x": ONES((2, 1, 11, 6))}, "w expects a window .* fits the padded image, got 3x2"),
    ("conv2d", {"w": ONES((0, 2, 3, 10))}, "w expects a window of at least 1x1 .* got 0x2"),
    ("conv2d_input_grad", {"input_shape": (2, 13, 11)}, "input_shape expects 4 ints >= 0"),
    ("conv2d_input_grad", {"input_shape": (2, 13, 11, 6.0)}, "input_shape expects 4 ints >= 0"),
    ("conv2d_input_grad", {"input_shape": (2, -1, 11, 6)}, "input_shape expects 4 ints >= 0"),
    ("conv2d_input_grad", {"input_shape": (2, 15, 11, 6)}, r"g expects shape \(2, 7, 12, 10\)"),
    ("conv2d_grads", {"needs": (True, False)}, "needs expects a bool for each of x, w and b"),
    ("conv2d_weight_grad", {"weight_shape": 3}, "weight_shape expects 4 ints >= 0"),
    ("conv2d_weight_grad", {"weight_shape": (3, 2, 6, 10)}, "w expects C_in // groups = 3"),
    ("conv2d_weight_grad", {"weight_shape": (1, 2, 3, 10)}, r"g expects shape \(2, 7, 12, 10\)"),
    ("max_pool2d", {"kernel_size": (0, 1)}, "kernel_size expects .* two ints >= 1"),
    ("max_pool2d", {"stride": (0, 1)}, "stride expects .* two ints >= 1"),
    ("max_pool2d", {"stride": None}, "stride expects .* got None"),
    ("max_pool2d", {"padding": (-1, 0)}, "padding expects .* two ints >= 0"),
    ("max_pool2d", {"padding": (3, 0)}, r"padding expects less than kernel_size = \(3, 2\)"),
    ("max_pool2d", {"kernel_size": (18, 1)}, "kernel_size expects a window that fits .* 18x1 on"),
    (
        "max_pool2d",
        {"x": ONES((1, 2**16, 2**15, 0)), "kernel_size": (2**16, 2**15)},
        "kernel_size expects at most 2147483647 taps",
    ),
    ("max_pool2d", {"x": ONES((2, 0, 11, 6))}, "kernel_size expects a window that fits .* on 0x11"),
    ("avg_pool2d", {"padding": (0, 2)}, "padding expects less than kernel_size"),
    ("avg_pool2d_grad", {"stride": (1, 3)}, r"g expects shape \(2, 13, 4, 6\)"),
    ("avg_pool2d_grad", {"input_shape": (2, 13, 13, 6)}, r"g expects shape \(2, 7, 5, 6\)"),
    ("max_pool2d_grad", {"index": INDEX.astype(np.int32)}, "index expects the uint8 array"),
    ("max_pool2d_grad", {"index": INDEX.astype(np.int8)}, "index expects the uint8 array"),
    ("max_pool2d_grad", {"kernel_size": (3, 100)}, "kernel_size expects a window that fits"),
    ("max_pool2d_grad", {"index": INDEX + 4}, "index expects taps from 0 to 5 .* got 6"),
    ("max_pool2d_grad", {"index": INDEX - 2}, "index expects taps .* in the image, got 0"),
    ("max_pool2d_grad", {"index": INDEX + 2}, "index expects taps .* in the image, got 4"),
    ("max_pool2d_grad", {"index": INDEX[:, :1]}, r"index expects shape \(2, 7, 4, 6\), what max"),
    ("max_pool2d_grad", {"input_shape": (3, 13, 11, 6)}, r"g expects shape \(3, 7, 4, 6\)"),
    ("max_pool2d_grad", {"input_shape": (2, 13, 11, 5)}, r"g expects shape \(2, 7, 4, 5\)"),
    ("max_pool2d_grad", {"input_shape": (2, 0, 11, 6)}, "kernel_size expects a window that fits"),
    ("max_pool2d_gather", {"index": INDEX + 4}, "index expects taps from 0 to 5 .* got 6"),
    ("max_pool2d_gather", {"index": INDEX - 2}, "index expects taps .* in the image, got 0"),
    ("max_pool2d_gather", {"index": INDEX[:, 0]}, "index expects 4 axes"),
    ("max_pool2d_gather", {"x": ONES((2, 0, 11, 6))}, "kernel_size expects a window that fits"),
    ("softmax_cross_entropy", {"logits": ONES((74, 0))}, "logits expects at least one class"),
    ("softmax_cross_entropy", {"label_smoothing": 1.5}, r"label_smoothing expects .* \[0, 1\]"),
    ("softmax_cross_entropy", {"label_smoothing": np.nan}, r"label_smoothing expects .* \[0, 1\]"),
    ("softmax_cross_entropy", {"ignore_index": 2**63}, "ignore_index expects an int of 64 bits"),
    ("softmax_cross_entropy", {"ignore_index": None}, "ignore_index expects an int .* got None"),
    ("softmax_cross_entropy", {"labels": np.full(74, 7)}, "labels expects classes from 0 to 6"),
    ("softmax_cross_entropy", {"labels": np.zeros(74)}, "labels expects .* integers, got float64"),
    ("softmax_cross_entropy", {"labels": np.zeros(74, bool)}, "labels expects .* got bool"),
    ("dropout", {"p": 1.5}, "p expects a probability from 0 to 1, got 1.5"),
    ("dropout", {"p": np.nan}, "p expects a probability from 0 to 1, got nan"),
    ("dropout", {"seed": -1}, "seed expects an int from 0 .* got -1"),
    ("dropout", {"seed": 2**64}, "seed expects an int from 0 .* got 18446744073709551616"),
    ("dropout", {"seed": 0.5}, "seed expects an int from 0 .* got 0.5"),
    ("matmul", {"a": ONES((2, 3)), "b": ONES((2, 3))}, r"got \(2, 3\) and \(2, 3\)"),
    ("matmul", {"a": ONES((2, 3)), "b": ONES((1, 3, 2))}, r"got \(2, 3\) and \(1, 3, 2\)"),
    ("matmul", {"a": ONES((1, 2, 3)), "b": ONES((2, 3, 2))}, "a and b expect shapes"),
    ("matmul", {"a": ONES(3), "b": ONES((3, 2))}, "a and b expect shapes"),
    ("matmul", {"a": ONES((1,) * 4), "b": ONES((1,) * 4)}, "a and b expect shapes"),
    ("batch_norm_statistics", {"x": ONES(())}, r"x expects axes \(..., C\)"),
    ("batch_norm", {"residual": ONES((1, 13, 11, 6))}, r"residual expects shape .* that of x, got"),
    ("batch_norm", {"bias": ONES(5)}, r"bias expects shape \(6,\), one number for each channel"),
    ("batch_norm_sums", {"weight": ONES(7)}, r"weight expects shape \(6,\), one number for each"),
    ("batch_norm_input_grad", {"sums": ONES((2, 5))}, r"sums expects shape \(2, 6\), what batch_"),
]  # fmt: skip


@pytest.mark.parametrize("which", ["blas", "direct", "reference"])
@pytest.mark.parametrize(
    ("op", "changes", "message"),
    BAD,
    ids=[f"{op}-{'-'.join(changes)}-{i}" for i, (op, changes, _) in enumerate(BAD)],
)
def test_a_malformed_call_is_one_sentence(op, changes, message, which, call):
    good = call(op, np.float64, 2)
    with minigrad_ext.kernels(which):
        with pytest.raises((TypeError, ValueError), match=f"^{op}: .*{message}") as caught:
            good(**changes)
        assert "\n" not in str(caught.value)
        good()
