"""Every kernel in plain NumPy: what the compiled ones must answer, and where to read what they do.

Loops run over the taps of a window; NumPy does all pixels of all images at once. In the formulas
n is an image, (i, j) an output pixel, (u, v) a tap of the window, c a channel, o an output channel,
p a pixel of any image. With a stride of (sh, sw), a dilation of (dh, dw) and a padding of
((top, bottom), (left, right)), tap (u, v) of output pixel (i, j) sees the input pixel

    h = i * sh + u * dh - top,   w = j * sw + v * dw - left

which is 0 where that lies outside the image (for max pooling: minus infinity). All arrays of a call
are of one dtype, float32 or float64, and so is the result. The caller has checked the arguments.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import Array, index_pixels, label_values
from .geometry import Padding, Pair, Shape, conv_output_size, pool_output_size, tap_dtype

# ------------------------------------------------------------------------- windows and padding


def _taps(
    kernel_size: Shape, stride: Shape, dilation: Shape, output_size: Shape
) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Yield each tap (u, v) with the padded pixels it meets: one for each output pixel."""
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            rows, cols = (
                slice(tap * d, tap * d + s * (size - 1) + 1, s)
                for tap, d, s, size in zip((u, v), dilation, stride, output_size, strict=True)
            )
            yield u, v, (slice(None), rows, cols)


def _pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    return np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def _crop(x: Array, padding: Padding, shape: Shape) -> Array:
    """Undo `_pad`: the pixels of the image, without its padding."""
    (top, _), (left, _) = padding
    return np.ascontiguousarray(x[:, top : top + shape[1], left : left + shape[2]])


def _padded_shape(shape: Shape, padding: Padding) -> Shape:
    N, H, W, C = shape
    (top, bottom), (left, right) = padding
    return N, top + H + bottom, left + W + right, C


# ----------------------------------------------------------------------------------- convolution


def _by_group(a: Array, groups: int) -> Array:
    """(..., groups * C) as (groups, P, C), so that ``@`` multiplies group by group."""
    P, C = math.prod(a.shape[:-1]), a.shape[-1] // groups
    return a.reshape(P, groups, C).swapaxes(0, 1)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None,
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    relu: bool,
) -> Array:
    """Convolve images with a bank of windows.

        y[n,i,j,o] = b[o] + sum over u,v,c of x[n,h,w,c] w[u,v,c,o]

    x is (N, H, W, C_in), w (kh, kw, C_in // groups, C_out), b (C_out,), y (N, OH, OW, C_out). Each
    tap is one matrix multiply over all pixels. An output channel sees the input channels of its own
    group only. With relu, the result is max(y, 0). (A cross-correlation, as usual in this field.)
    """
    output_size = map(conv_output_size, x.shape[1:3], w.shape[:2], stride, padding, dilation)
    padded = _pad(x, padding)
    y = np.zeros((len(x), *output_size, w.shape[3]), x.dtype)
    for u, v, seen in _taps(w.shape[:2], stride, dilation, y.shape[1:3]):
        _by_group(y, groups)[...] += _by_group(padded[seen], groups) @ _by_group(w[u, v], groups)
    if b is not None:
        y += b
    return np.maximum(y, 0) if relu else y


def conv2d_input_grad(
    g: Array,
    w: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of a convolution's input from g, that of its output.

        dx[n,h,w,c] += sum over o of g[n,i,j,o] w[u,v,c,o]    for all i,j,u,v

    g is (N, OH, OW, C_out), dx has the input_shape. Where a tap read from, it now adds to.
    """
    dx = np.zeros(_padded_shape(input_shape, padding), g.dtype)
    for u, v, seen in _taps(w.shape[:2], stride, dilation, g.shape[1:3]):
        # dx[p,c] = sum over o of g[p,o] w[c,o], group by group, then the groups side by side
        product = _by_group(g, groups) @ _by_group(w[u, v], groups).mT
        dx[seen] += product.swapaxes(0, 1).reshape(*g.shape[:3], input_shape[3])
    return _crop(dx, padding, input_shape)


def conv2d_weight_grad(
    g: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the gradient of a convolution's weight from g, that of its output.

        dw[u,v,c,o] = sum over n,i,j of x[n,h,w,c] g[n,i,j,o]

    g is (N, OH, OW, C_out), dw has the weight_shape. Each tap is one matrix multiply.
    """
    padded = _pad(x, padding)
    dw = np.empty(weight_shape, g.dtype)
    for u, v, seen in _taps(weight_shape[:2], stride, dilation, g.shape[1:3]):
        _by_group(dw[u, v], groups)[...] = _by_group(padded[seen], groups).mT @ _by_group(g, groups)
    return dw


def conv2d_grads(
    g: Array,
    x: Array,
    w: Array,
    out: Array | None,
    *,
    needs: tuple[bool, bool, bool],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of a convolution's input, weight and bias, those that needs asks for.

    g is that of its output, and out the output itself if the convolution ends in ReLU, else None:

        g[n,i,j,o] counts where out[n,i,j,o] > 0,    db[o] = sum over n,i,j of g[n,i,j,o]

    Together they take one pass over memory where apart they take several.
    """
    window: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    window["groups"] = groups
    g = g if out is None else relu_grad(g, out)
    return (
        conv2d_input_grad(g, w, input_shape=x.shape, **window) if needs[0] else None,
        conv2d_weight_grad(g, x, weight_shape=w.shape, **window) if needs[1] else None,
        g.sum(axis=(0, 1, 2)) if needs[2] else None,
    )


def channel_sums(g: Array) -> Array:
    """Return the sums over all axes but the last: the gradient of a bias from that of the output.

    db[o] = sum over p of g[p,o]
    """
    return np.asarray(g.sum(axis=tuple(range(g.ndim - 1))))


# --------------------------------------------------------------------------------------- pooling


def _pool_windows(
    shape: Shape, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Shape, Padding]:
    """The output size, and the padding that gives every window, hanging over or not, its room."""
    sizes, margins = [], []
    for size, kernel, s, before in zip(shape[1:3], kernel_size, stride, padding, strict=True):
        count = pool_output_size(size, kernel, s, before, ceil_mode)
        margins.append((before, max((count - 1) * s + kernel - before - size, 0)))
        sizes.append(count)
    return tuple(sizes), (margins[0], margins[1])


def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """Return the largest number in each window, and the tap that found it.

        y[n,i,j,c] = max over u,v of x[n,h,w,c],    index[n,i,j,c] = u * kw + v of that maximum

    x is (N, H, W, C), y and index (N, OH, OW, C); index is uint8, int32 for a window of more than
    256 taps. The first of equals wins, and the first NaN wins over every number. With ceil_mode,
    the last window may hang over the far edge.
    """
    N, H, W, C = x.shape
    output_size, margins = _pool_windows(x.shape, kernel_size, stride, padding, ceil_mode)
    padded, inside = _pad(x, margins), _pad(np.ones((1, H, W, 1)), margins) > 0
    y = np.full((N, *output_size, C), -np.inf, x.dtype)
    index = np.full(y.shape, -1, np.int32)
    for u, v, seen in _taps(kernel_size, stride, (1, 1), output_size):
        value = padded[seen]
        better = (index < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y))
        better &= inside[seen]
        y, index = np.where(better, value, y), np.where(better, u * kernel_size[1] + v, index)
    return y, index.astype(tap_dtype(kernel_size))


def max_pool2d_grad(
    g: Array,
    index: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,  # noqa: ARG001 - the index has as many windows
) -> Array:
    """Return the gradient of a max pooling's input from g, that of its output.

    dx[n,h,w,c] += g[n,i,j,c]    for all i,j, with u * kw + v = index[n,i,j,c]
    """
    h, w = index_pixels("max_pool2d_grad", index, input_shape, kernel_size, stride, padding)
    dx = np.zeros(input_shape, g.dtype)
    image, channel = np.arange(len(dx)).reshape(-1, 1, 1, 1), np.arange(dx.shape[3])
    np.add.at(dx, (image, h, w, channel), g)
    return dx


def max_pool2d_gather(
    x: Array,
    index: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,  # noqa: ARG001 - as above
) -> Array:
    """Look up the pixels that an index names: the adjoint of `max_pool2d_grad`.

    y[n,i,j,c] = x[n,h,w,c]    with u * kw + v = index[n,i,j,c]
    """
    h, w = index_pixels("max_pool2d_gather", index, x.shape, kernel_size, stride, padding)
    image, channel = np.arange(len(x)).reshape(-1, 1, 1, 1), np.arange(x.shape[3])
    return np.asarray(x[image, h, w, channel])


def _divisors(
    shape: Shape,
    output_size: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,
) -> Array:
    """How many pixels each window is averaged over, (OH, OW, 1)."""
    counts = []
    for size, count, kernel, s, p in zip(
        shape[1:3], output_size, kernel_size, stride, padding, strict=True
    ):
        start = np.arange(count) * s - p
        end = np.minimum(start + kernel, size + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        counts.append(end - start)
    return np.multiply.outer(counts[0], counts[1])[:, :, np.newaxis]


def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return the average of each window.

        y[n,i,j,c] = sum over u,v of x[n,h,w,c] / divisor[i,j]

    The divisor is the number of pixels in the window: with count_include_pad those of the padding
    too, but never what ceil_mode lets hang over the padding.
    """
    output_size, margins = _pool_windows(x.shape, kernel_size, stride, padding, ceil_mode)
    padded = _pad(x, margins)
    y = np.zeros((len(x), *output_size, x.shape[3]), x.dtype)
    for _, _, seen in _taps(kernel_size, stride, (1, 1), output_size):
        y += padded[seen]
    divisors = _divisors(x.shape, output_size, kernel_size, stride, padding, count_include_pad)
    return np.asarray(y / divisors.astype(x.dtype))


def avg_pool2d_grad(
    g: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return the gradient of an average pooling's input from g, that of its output.

    dx[n,h,w,c] += g[n,i,j,c] / divisor[i,j]    for all i,j,u,v
    """
    output_size, margins = _pool_windows(input_shape, kernel_size, stride, padding, ceil_mode)
    divisors = _divisors(input_shape, output_size, kernel_size, stride, padding, count_include_pad)
    share = g / divisors.astype(g.dtype)
    dx = np.zeros(_padded_shape(input_shape, margins), g.dtype)
    for _, _, seen in _taps(kernel_size, stride, (1, 1), output_size):
        dx[seen] += share
    return _crop(dx, margins, input_shape)


# ------------------------------------------------------------------------------------ batch norm


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance over all m pixels; 0 if there are none.

    mean[c] = sum over p of x[p,c] / m,    var[c] = sum over p of (x[p,c] - mean[c])**2 / m
    """
    pixels = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).astype(np.float64)
    m = max(len(pixels), 1)
    mean = pixels.sum(axis=0) / m
    var = np.square(pixels - mean).sum(axis=0) / m
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm(
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    *,
    relu: bool,
) -> Array:
    """Normalise each channel (Ioffe and Szegedy, 2015, arXiv:1502.03167, algorithm 1).

        y[p,c] = (x[p,c] - mean[c]) * inv_std[c] * weight[c] + bias[c] + residual[p,c]

    x, y and residual (which can be None) are (..., C), the others (C,). With relu, the result is
    max(y, 0).
    """
    y = np.asarray((x - mean) * (inv_std * weight) + bias)
    y = y if residual is None else y + residual
    return np.maximum(y, 0) if relu else y


def batch_norm_sums(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array, *, relu: bool
) -> Array:
    """Return the gradients of bias and weight, (2, C), from g, that of `batch_norm`'s output.

        sums[0,c] = sum over p of g[p,c],    sums[1,c] = sum over p of g[p,c] xhat[p,c]

    with xhat = (x - mean) * inv_std; and 0 for g[p,c] where the ReLU was at work.
    """
    g = _past_relu(g, x, mean, inv_std, weight, bias) if relu else g
    pixels = tuple(range(x.ndim - 1))
    xhat = (x - mean) * inv_std
    sums = [a.sum(axis=pixels, dtype=np.float64) for a in (g, g * xhat)]
    return np.stack(sums).astype(x.dtype)


def batch_norm_input_grad(
    g: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    weight: Array,
    bias: Array,
    sums: Array,
    *,
    relu: bool,
) -> Array:
    """Return the gradient of x, through the statistics too, from g, that of the output.

        dx[p,c] = weight[c] inv_std[c] (g[p,c] - sums[0,c] / m - xhat[p,c] sums[1,c] / m)

    with m pixels and the sums of `batch_norm_sums`: section 3 of the paper, simplified.
    """
    g = _past_relu(g, x, mean, inv_std, weight, bias) if relu else g
    m = max(math.prod(x.shape[:-1]), 1)
    xhat = (x - mean) * inv_std
    return np.asarray(weight * inv_std * (g - sums[0] / m - xhat * sums[1] / m))


def _past_relu(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array
) -> Array:
    """What of g passes the ReLU: it is decided by the output, which is computed again."""
    return relu_grad(g, batch_norm(x, mean, inv_std, weight, bias, None, relu=True))


# ------------------------------------------------------------------------ softmax cross-entropy


def _log_softmax(logits: Array) -> Array:
    """Subtracting the row's maximum first changes nothing but keeps exp from overflowing."""
    with np.errstate(invalid="ignore"):  # a row of -inf only, or one with +inf, is NaN
        shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def softmax_cross_entropy(
    logits: Array, labels: NDArray[np.int64], *, label_smoothing: float, ignore_index: int
) -> Array:
    """Return each row's loss; 0 where the label is ignore_index.

        losses[r] = -sum over c of t[r,c] log softmax(logits[r])[c]

    logits are (M, C), labels (M,). The target t is 1 - label_smoothing at the label, and then
    label_smoothing / C more everywhere (Szegedy et al., 2015, arXiv:1512.00567, section 7).
    """
    label_values("softmax_cross_entropy", labels, logits.shape[1], ignore_index)
    log_p = _log_softmax(logits)
    kept = labels != ignore_index
    losses = -log_p[np.arange(len(labels)), np.where(kept, labels, 0)]
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_p.mean(axis=1)
    return np.where(kept, losses, np.zeros_like(losses))


def softmax_cross_entropy_grad(
    g: Array,
    logits: Array,
    labels: NDArray[np.int64],
    *,
    label_smoothing: float,
    ignore_index: int,
) -> Array:
    """Return the gradient of the logits from g, that of each row's loss.

    dlogits[r,c] = g[r] (softmax(logits[r])[c] - t[r,c]), or 0 where the label is ignored
    """
    C = logits.shape[1]
    label_values("softmax_cross_entropy_grad", labels, C, ignore_index)
    dlogits: Array = np.exp(_log_softmax(logits)) - label_smoothing / C
    kept = np.flatnonzero(labels != ignore_index)
    dlogits[kept, labels[kept]] -= 1 - label_smoothing
    dlogits *= g[:, np.newaxis]
    dlogits[labels == ignore_index] = 0
    return dlogits


# --------------------------------------------------------------------------------------- dropout


def dropout(x: Array, *, p: float, seed: int) -> Array:
    """Set numbers to 0 with probability p and divide the others by 1 - p.

        y[i] = x[i] / (1 - p)    where random[i] >= p 2**32, else x[i] * 0

    The random numbers depend on the seed and the place alone, so the gradient is the dropout of the
    output's gradient by the same seed. Each block of 8192 numbers has 16 generators, seeded by
    numbers of splitmix64, that draw in turn.
    """
    blocks = -(-x.size // 8192)
    state = splitmix64(seed, np.arange(blocks * 4 * 16)).reshape(blocks, 4, 16) >> 32
    turns = xoshiro128(state.astype(np.uint32).swapaxes(0, 1), 8192 // 16)
    random = np.stack(turns, axis=1).reshape(-1)[: x.size].reshape(x.shape)
    threshold = min(int(p * 2**32 + 0.5), 2**32 - 1)
    factors = np.where(random >= threshold, 1 / (1 - p) if p < 1 else 0, 0)
    return np.asarray(x * factors.astype(x.dtype))


def splitmix64(seed: int, i: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Return the i-th numbers that splitmix64 draws (Steele, Lea and Flood, 2014, figure 13)."""
    z: Any = np.uint64(seed) + (i.astype(np.uint64) + 1) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return np.asarray(z ^ (z >> 31))


def xoshiro128(state: NDArray[np.uint32], n: int) -> list[NDArray[np.uint32]]:
    """Draw n times with generators xoshiro128++, whose states are (4, ...).

    Blackman and Vigna, 2021, "Scrambled Linear Pseudorandom Number Generators", figure 5.
    """
    a, b, c, d = state
    drawn = []
    for _ in range(n):
        drawn.append(_rotated(a + d, 7) + a)
        shifted = b << 9
        c, d = c ^ a, d ^ b
        a, b, c, d = a ^ d, b ^ c, c ^ shifted, _rotated(d, 11)
    return drawn


def _rotated(words: NDArray[np.uint32], bits: int) -> NDArray[np.uint32]:
    return np.asarray((words << bits) | (words >> (32 - bits)))


# --------------------------------------------------------------------- matrices and elementwise


def matmul(a: Array, b: Array) -> Array:
    """Multiply two matrices, or two batches of them: c[i,j] = sum over k of a[i,k] b[k,j]."""
    return np.asarray(a @ b)


def add(x: Array, y: Array) -> Array:
    """Return x + y, for arrays of the same shape."""
    return np.asarray(x + y)


def add_relu(x: Array, y: Array) -> Array:
    """Return max(x + y, 0), for arrays of the same shape; NaN stays NaN."""
    return np.asarray(np.maximum(x + y, 0))


def relu(x: Array) -> Array:
    """Return max(x, 0); NaN stays NaN."""
    return np.asarray(np.maximum(x, 0))


def relu_grad(g: Array, out: Array) -> Array:
    """Return 0 where out <= 0, and g elsewhere (where out is NaN, too)."""
    return np.where(out <= 0, np.zeros_like(g), g)


def erf(x: Array) -> Array:
    """Return the error function, 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return np.array([math.erf(value) for value in x.flat], x.dtype).reshape(x.shape)
