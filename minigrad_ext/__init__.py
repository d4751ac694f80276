# ruff: noqa: D103 - a kernel's docstring is its twin's in reference/, where the formula is
"""The seam: everything that the compiled side may be asked, on arrays, never on Tensors.

A kernel checks its arguments and hands them to the implementation that the dial selects. The types
are in `__init__.pyi`, the formulas in `reference/`. Images are NHWC, convolution weights HWIO,
arrays C-contiguous float32 or float64: others are copied into that form here, and nowhere else.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace

from . import _checks as check
from . import _waiting, reference

with _waiting.briefly():
    from . import avg_pool, choice, convolution, elementwise, loss, max_pool, norm
    from . import dropout as _dropout
    from . import matmul as _matmul
    from .allocator import empty_cache, new_array
    from .blas import config
    from .threads import get_num_threads, set_num_threads

__all__ = [
    "add",
    "add_relu",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_input_grad",
    "batch_norm_statistics",
    "batch_norm_sums",
    "channel_sums",
    "config",
    "conv2d",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "current_kernels",
    "dropout",
    "empty_cache",
    "erf",
    "get_num_threads",
    "kernels",
    "matmul",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_grad",
    "new_array",
    "relu",
    "relu_grad",
    "set_num_threads",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
]

# ---------------------------------------------------------------------------------------- the dial

_compiled = {}
for _module in (avg_pool, _dropout, elementwise, loss, _matmul, max_pool, norm):
    _compiled |= vars(_module)


def _convolving(choose):
    """Return the compiled kernels, with convolutions by the loops that are chosen."""
    loops = convolution.Convolution(choose)
    return SimpleNamespace(
        **_compiled,
        conv2d=loops.conv2d,
        conv2d_input_grad=loops.conv2d_input_grad,
        conv2d_weight_grad=loops.conv2d_weight_grad,
        conv2d_grads=loops.conv2d_grads,
        channel_sums=convolution.channel_sums,
    )


_IMPLEMENTATIONS = {
    "auto": _convolving(choice.by_speed),
    "blas": _convolving(choice.by_blas),
    "direct": _convolving(choice.by_tiles),
    "reference": reference,
    "winograd": _convolving(choice.by_winograd),
}
_dial = ContextVar("minigrad_kernels", default="auto")


@contextmanager
def kernels(name):
    """Compute with these kernels in a `with` block: auto, blas, direct, reference or winograd.

    They differ in convolutions: "blas" and "direct" sum up the products of the definition, which
    "winograd" saves for 3x3 windows in float32, see winograd.pyx; "auto" takes the fastest.
    """
    if name not in _IMPLEMENTATIONS:
        known = ", ".join(_IMPLEMENTATIONS)
        raise ValueError(f"kernels: name expects one of {known}, got {name!r}")
    token = _dial.set(name)
    try:
        yield
    finally:
        _dial.reset(token)


def current_kernels():
    """Return the name that the dial stands at, in this thread."""
    return _dial.get()


def _implementation():
    return _IMPLEMENTATIONS[_dial.get()]


def _kernel(function):
    function.__doc__ = getattr(reference, function.__name__).__doc__
    return function


# ------------------------------------------------------------------------------------- convolution


@_kernel
def conv2d(x, w, b, *, stride, padding, dilation, groups, relu):
    op = "conv2d"
    x = check.array(op, "x", x, check.IMAGES)
    w = check.array(op, "w", w, check.WEIGHTS, x)
    check.conv_windows(op, x.shape, w.shape, stride, padding, dilation, groups)
    if b is not None:
        b = check.channels(op, "b", b, w.shape[3], x)
    return _implementation().conv2d(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, relu=relu
    )


@_kernel
def conv2d_input_grad(g, w, *, input_shape, stride, padding, dilation, groups):
    op = "conv2d_input_grad"
    g = check.array(op, "g", g, check.WINDOWS)
    w = check.array(op, "w", w, check.WEIGHTS, g)
    input_shape = check.sizes(op, "input_shape", input_shape, check.IMAGES)
    windows = check.conv_windows(op, input_shape, w.shape, stride, padding, dilation, groups)
    check.shape(op, "g", g, windows, "the output's for this input_shape")
    return _implementation().conv2d_input_grad(
        g,
        w,
        input_shape=input_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_kernel
def conv2d_weight_grad(g, x, *, weight_shape, stride, padding, dilation, groups):
    op = "conv2d_weight_grad"
    g = check.array(op, "g", g, check.WINDOWS)
    x = check.array(op, "x", x, check.IMAGES, g)
    weight_shape = check.sizes(op, "weight_shape", weight_shape, check.WEIGHTS)
    windows = check.conv_windows(op, x.shape, weight_shape, stride, padding, dilation, groups)
    check.shape(op, "g", g, windows, "the output's for this weight_shape")
    return _implementation().conv2d_weight_grad(
        g,
        x,
        weight_shape=weight_shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_kernel
def conv2d_grads(g, x, w, out, *, needs, stride, padding, dilation, groups):
    op = "conv2d_grads"
    g = check.array(op, "g", g, check.WINDOWS)
    x = check.array(op, "x", x, check.IMAGES, g)
    w = check.array(op, "w", w, check.WEIGHTS, g)
    windows = check.conv_windows(op, x.shape, w.shape, stride, padding, dilation, groups)
    check.shape(op, "g", g, windows, "the output's")
    if len(needs) != 3:
        raise ValueError(f"{op}: needs expects a bool for each of x, w and b, got {needs!r}")
    if out is not None:
        out = check.array(op, "out", out, check.WINDOWS, g)
        check.shape(op, "out", out, windows, "that of g")
    return _implementation().conv2d_grads(
        g,
        x,
        w,
        out,
        needs=needs,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


@_kernel
def channel_sums(g):
    return _implementation().channel_sums(check.pixels("channel_sums", "g", g))


# ----------------------------------------------------------------------------------------- pooling


@_kernel
def max_pool2d(x, *, kernel_size, stride, padding, ceil_mode):
    op = "max_pool2d"
    x = check.array(op, "x", x, check.IMAGES)
    check.pool_windows(op, x.shape, kernel_size, stride, padding, ceil_mode)
    check.tap_numbers(op, kernel_size)
    return _implementation().max_pool2d(
        x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )


@_kernel
def max_pool2d_grad(g, index, *, input_shape, kernel_size, stride, padding, ceil_mode):
    op = "max_pool2d_grad"
    g = check.array(op, "g", g, check.WINDOWS)
    input_shape = check.sizes(op, "input_shape", input_shape, check.IMAGES)
    windows = check.pool_windows(op, input_shape, kernel_size, stride, padding, ceil_mode)
    check.shape(op, "g", g, windows, "the output's for this input_shape")
    index = check.indices(op, index, kernel_size, windows)
    return _implementation().max_pool2d_grad(
        g,
        index,
        input_shape=input_shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
    )


@_kernel
def max_pool2d_gather(x, index, *, kernel_size, stride, padding, ceil_mode):
    op = "max_pool2d_gather"
    x = check.array(op, "x", x, check.IMAGES)
    windows = check.pool_windows(op, x.shape, kernel_size, stride, padding, ceil_mode)
    index = check.indices(op, index, kernel_size, windows)
    return _implementation().max_pool2d_gather(
        x, index, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )


@_kernel
def avg_pool2d(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    op = "avg_pool2d"
    x = check.array(op, "x", x, check.IMAGES)
    check.pool_windows(op, x.shape, kernel_size, stride, padding, ceil_mode)
    return _implementation().avg_pool2d(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


@_kernel
def avg_pool2d_grad(g, *, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad):
    op = "avg_pool2d_grad"
    g = check.array(op, "g", g, check.WINDOWS)
    input_shape = check.sizes(op, "input_shape", input_shape, check.IMAGES)
    windows = check.pool_windows(op, input_shape, kernel_size, stride, padding, ceil_mode)
    check.shape(op, "g", g, windows, "the output's for this input_shape")
    return _implementation().avg_pool2d_grad(
        g,
        input_shape=input_shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


# -------------------------------------------------------------------------------------- batch norm


@_kernel
def batch_norm_statistics(x):
    x = check.pixels("batch_norm_statistics", "x", x)
    return _implementation().batch_norm_statistics(x)


@_kernel
def batch_norm(x, mean, inv_std, weight, bias, residual, *, relu):
    arrays = check.normalization("batch_norm", x, mean, inv_std, weight, bias)
    if residual is not None:
        residual = check.like("batch_norm", "residual", residual, arrays[0])
    return _implementation().batch_norm(*arrays, residual, relu=relu)


@_kernel
def batch_norm_sums(g, x, mean, inv_std, weight, bias, *, relu):
    arrays = check.normalization("batch_norm_sums", x, mean, inv_std, weight, bias)
    g = check.like("batch_norm_sums", "g", g, arrays[0])
    return _implementation().batch_norm_sums(g, *arrays, relu=relu)


@_kernel
def batch_norm_input_grad(g, x, mean, inv_std, weight, bias, sums, *, relu):
    op = "batch_norm_input_grad"
    arrays = check.normalization(op, x, mean, inv_std, weight, bias)
    g = check.like(op, "g", g, arrays[0])
    sums = check.array(op, "sums", sums, check.SUMS, arrays[0])
    check.shape(op, "sums", sums, (2, x.shape[-1]), "what batch_norm_sums gave")
    return _implementation().batch_norm_input_grad(g, *arrays, sums, relu=relu)


# --------------------------------------------------------------------------- softmax cross-entropy


@_kernel
def softmax_cross_entropy(logits, labels, *, label_smoothing, ignore_index):
    op = "softmax_cross_entropy"
    logits = check.logits(op, logits, label_smoothing)
    labels = check.labels(op, labels, len(logits), ignore_index)
    return _implementation().softmax_cross_entropy(
        logits, labels, label_smoothing=label_smoothing, ignore_index=ignore_index
    )


@_kernel
def softmax_cross_entropy_grad(g, logits, labels, *, label_smoothing, ignore_index):
    op = "softmax_cross_entropy_grad"
    logits = check.logits(op, logits, label_smoothing)
    labels = check.labels(op, labels, len(logits), ignore_index)
    g = check.array(op, "g", g, check.ROWS, logits)
    check.shape(op, "g", g, labels.shape, "one number for each row of logits")
    return _implementation().softmax_cross_entropy_grad(
        g, logits, labels, label_smoothing=label_smoothing, ignore_index=ignore_index
    )


# ----------------------------------------------------------------------------------------- dropout


@_kernel
def dropout(x, *, p, seed):
    x = check.array("dropout", "x", x)
    check.probability("dropout", p)
    check.seed("dropout", seed)
    return _implementation().dropout(x, p=p, seed=seed)


# ------------------------------------------------------------------------ matrices and elementwise


@_kernel
def matmul(a, b):
    a, b = check.matrices("matmul", a, b)
    return _implementation().matmul(a, b)


@_kernel
def add(x, y):
    x = check.array("add", "x", x)
    return _implementation().add(x, check.like("add", "y", y, x))


@_kernel
def add_relu(x, y):
    x = check.array("add_relu", "x", x)
    return _implementation().add_relu(x, check.like("add_relu", "y", y, x))


@_kernel
def relu(x):
    return _implementation().relu(check.array("relu", "x", x))


@_kernel
def relu_grad(g, out):
    out = check.array("relu_grad", "out", out)
    g = check.array("relu_grad", "g", g, None, out)
    check.shape("relu_grad", "g", g, out.shape, "that of out")
    return _implementation().relu_grad(g, out)


@_kernel
def erf(x):
    return _implementation().erf(check.array("erf", "x", x))
