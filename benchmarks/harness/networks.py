"""A network as one line of text, so that every framework can build the same one.

    conv3-32 bn relu  pool2 drop0.3  bottleneck16-64s2  gap linear10

| word | layer |
|---|---|
| `conv3-64`, `conv3-64s2`, `conv3-64s2g4` | 3x3 convolution to 64 channels, stride 2, 4 groups |
| `dw3`, `dw5s2` | depthwise convolution: as many groups as channels |
| `bn`, `relu` | batch norm, ReLU |
| `bottleneck16-64s2` | residual block: 1x1 to 16, 3x3 of stride 2, 1x1 to 64, all with `bn` |
| `pool2`, `pool3s2` | max pool, its stride being the window unless given |
| `drop0.3`, `gap`, `linear10` | dropout, global average pool, linear layer |

Kernels are odd, and padded so that stride 1 keeps the size. A convolution has a bias unless `bn`
follows it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]  # of one image: (H, W, C), or (C,) after `gap` and `linear`

_NIN = (
    "conv3-32 relu conv1-32 relu conv1-32 relu pool2 drop0.3 "
    "conv3-64 relu conv1-64 relu conv1-64 relu pool2 drop0.3 "
    "conv3-64 relu conv1-64 relu conv1-10 gap"
)
NETWORKS = {  # those of minigrad.models
    "nin": _NIN,
    "nin-bn": _NIN.replace(" relu", " bn relu"),
    "bottleneck": "conv3-32 bn relu pool2 bottleneck16-64 bottleneck16-64 "
    "bottleneck32-128s2 bottleneck32-128 gap linear10",
}

_WORD = re.compile(
    r"(?P<kind>[a-z]+)(?P<size>[0-9.]+)?(-(?P<out>\d+))?(s(?P<stride>\d+))?(g(?P<groups>\d+))?"
)
_NEEDS_SIZE = ("conv", "dw", "bottleneck", "pool", "drop", "linear")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer with its shapes; a bottleneck is a body and, where shapes differ, a shortcut."""

    word: str
    kind: str  # conv, bn, relu, bottleneck, pool, drop, gap, linear
    inputs: Shape
    outputs: Shape
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    p: float = 0.0
    body: tuple[Layer, ...] = ()
    shortcut: tuple[Layer, ...] = ()

    @property
    def weight_shape(self) -> Shape:
        """That of a convolution, (k, k, C_in // groups, C_out), or of a linear layer, (in, out)."""
        if self.kind == "linear":
            return math.prod(self.inputs), self.outputs[-1]
        return self.kernel, self.kernel, self.inputs[-1] // self.groups, self.outputs[-1]

    @property
    def flops(self) -> int:
        """Of one image forward, multiplications and additions, by the definition of the layer."""
        if self.kind in ("conv", "linear"):
            return 2 * math.prod(self.outputs[:-1]) * math.prod(self.weight_shape)
        return flops(self.body) + flops(self.shortcut)


def parse(text: str, image: Shape) -> tuple[Layer, ...]:
    """Read a network for images of this shape.

    Args:
        text: words as above, or one of the names in NETWORKS.
        image: (H, W, C).

    Raises:
        ValueError: a word that is none, or a layer that does not fit.
    """
    words = NETWORKS.get(text, text).split()
    layers: list[Layer] = []
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        shape = layers[-1].outputs if layers else image
        layers.append(_read(word, shape, bias=following != "bn"))
    return tuple(layers)


def _read(word: str, inputs: Shape, *, bias: bool) -> Layer:
    match = _WORD.fullmatch(word)
    if match is None or (match["kind"] in _NEEDS_SIZE) != bool(match["size"]):
        raise ValueError(f"network: {word!r} is no layer; see benchmarks/harness/networks.py")
    kind, size = match["kind"], match["size"] or "0"
    if kind in ("bn", "relu"):
        return Layer(word, kind, inputs, inputs)
    if kind == "drop":
        return Layer(word, kind, inputs, inputs, p=float(size))
    if kind == "gap" and len(inputs) == 3:
        return Layer(word, kind, inputs, inputs[-1:])
    if kind == "linear":
        return Layer(word, kind, inputs, (int(size),), bias=bias)
    if len(inputs) != 3:
        raise ValueError(f"network: {word!r} needs an image, and gets {inputs}")
    H, W, C = inputs
    stride = int(match["stride"] or (size if kind == "pool" else 1))
    if kind == "pool":
        k = int(size)
        outputs = (H - k) // stride + 1, (W - k) // stride + 1, C
        return Layer(word, kind, inputs, outputs, kernel=k, stride=stride)
    if kind == "bottleneck":
        return _bottleneck(word, inputs, int(size), int(match["out"]), stride)
    if kind not in ("conv", "dw") or int(size) % 2 == 0 or (match["out"] is None) == (kind != "dw"):
        raise ValueError(f"network: {word!r} is no layer; see benchmarks/harness/networks.py")
    groups, C_out = (C, C) if kind == "dw" else (int(match["groups"] or 1), int(match["out"]))
    outputs = (H - 1) // stride + 1, (W - 1) // stride + 1, C_out
    return Layer(word, "conv", inputs, outputs, int(size), stride, groups, bias)


def _bottleneck(word: str, inputs: Shape, narrow: int, wide: int, stride: int) -> Layer:
    text = f"conv1-{narrow} bn relu conv3-{narrow}s{stride} bn relu conv1-{wide} bn"
    same = inputs[-1] == wide and stride == 1
    body, shortcut = parse(text, inputs), "" if same else f"conv1-{wide}s{stride} bn"
    return Layer(
        word,
        "bottleneck",
        inputs,
        body[-1].outputs,
        stride=stride,
        body=body,
        shortcut=parse(shortcut, inputs),
    )


def flops(layers: Sequence[Layer]) -> int:
    """Of one image forward."""
    return sum(layer.flops for layer in layers)


def training_flops(layers: Sequence[Layer]) -> int:
    """Of one image forward and backward: each layer three times, but no gradient of the image."""
    return 3 * flops(layers) - flops(layers[:1])


def parameters(layers: Sequence[Layer], seed: int = 0) -> list[NDArray[np.float32]]:
    """Weights for all layers in minigrad's layout, in the order of `Module.parameters`.

    Nothing is 0 or 1, so that a framework that mixed two of them up would be noticed.
    """
    rng = np.random.default_rng(seed)
    return [array.astype(np.float32) for array in _parameters(layers, rng)]


def _parameters(
    layers: Sequence[Layer], rng: np.random.Generator
) -> Iterator[NDArray[np.floating]]:
    for layer in layers:
        C = layer.outputs[-1]
        if layer.kind in ("conv", "linear"):  # Kaiming normal, convolutions by fan-out
            shape = layer.weight_shape
            fan = shape[0] if layer.kind == "linear" else C * layer.kernel**2 // layer.groups
            yield rng.standard_normal(shape) * math.sqrt(2 / fan)
        if layer.kind == "bn":
            yield 1 + 0.1 * rng.standard_normal(C)
        if layer.bias or layer.kind == "bn":
            yield 0.01 * rng.standard_normal(C)
        yield from _parameters(layer.body, rng)
        yield from _parameters(layer.shortcut, rng)


def images(batch: int, image: Shape) -> NDArray[np.float32]:
    """A batch of images, (N, H, W, C); the same at every call."""
    rng = np.random.default_rng(1)
    return rng.random((batch, *image), dtype=np.float32) - np.float32(0.5)


def labels(batch: int, classes: int) -> NDArray[np.int64]:
    """A class for each image; the same at every call."""
    return np.random.default_rng(2).integers(0, classes, batch)
