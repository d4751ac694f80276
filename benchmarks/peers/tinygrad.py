"""tinygrad on its CPU device (which needs clang), steps captured by TinyJit; images are NCHW."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.networks import Layer, images, labels, parameters, parse
from benchmarks.peers import Learner, Work, use_cpus

os.environ.setdefault("DEV", "CPU")  # read at import

from tinygrad import Context, Tensor, TinyJit
from tinygrad.helpers import TRAINING
from tinygrad.nn.optim import SGD


class Tinygrad:
    """Whole steps are captured, as tinygrad is meant to be used."""

    def __init__(self, threads: int) -> None:
        use_cpus(threads)

    def evaluate(
        self, network: str, image: tuple[int, ...], batch: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The output, and the gradients of its squares' sum."""
        layers, weights, x = _prepare(network, image, batch)
        with Context(TRAINING=1):
            y = _run(layers, iter(weights), x)
            first, *rest = (y * y).sum().gradient(x, *weights)
            output = y.permute(0, 2, 3, 1) if y.ndim == 4 else y
            return output.numpy(), [
                first.permute(0, 2, 3, 1).numpy(),
                *(_minigrad_layout(g.numpy()) for g in rest),
            ]

    def forward(
        self, network: str, image: tuple[int, ...], batch: int, training: bool = False
    ) -> Work:
        """The captured network."""
        layers, weights, x = _prepare(network, image, batch)

        def run(x: Any) -> Any:
            with Context(TRAINING=int(training)):
                return _run(layers, iter(weights), x).realize()

        captured = TinyJit(run)
        return _ready(lambda: captured(x).numpy())

    def backward(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """There is no backward pass without the forward pass in tinygrad."""
        raise NotImplementedError("backward alone is not offered")

    def train_step(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """Forward, cross-entropy, backward and update, captured."""
        layers, weights, x = _prepare(network, image, batch)
        y = Tensor(labels(batch, layers[-1].outputs[-1]).astype(np.int32)).realize()
        optimizer = SGD(weights, lr=0.01, momentum=0.9)

        def step(x: Any, y: Any) -> Any:
            with Context(TRAINING=1):
                optimizer.zero_grad()
                loss = _run(layers, iter(weights), x).sparse_categorical_crossentropy(y).backward()
                return loss.realize(*optimizer.schedule_step())

        captured = TinyJit(step)
        return _ready(lambda: captured(x, y).numpy())

    def learner(self, network: str, image: tuple[int, ...]) -> Learner:
        """Not written: nobody compares the accuracy yet."""
        raise NotImplementedError("training to an accuracy is not offered")

    def chain(self, op: str, length: int, size: int) -> Work:
        """Tiny ops in a row: built and fused anew each time."""
        c = Tensor.full((size,), 0.999).realize()
        one = {"add": lambda y: y + c, "mul": lambda y: y * c, "relu": lambda y: y.relu()}[op]

        def work() -> None:
            x = Tensor.ones(size).contiguous().realize()
            y = x
            for _ in range(length):
                y = one(y)
            y.sum().gradient(x)[0].realize()

        return work


def _prepare(network: str, image: tuple[int, ...], batch: int) -> tuple[Any, list[Any], Any]:
    layers = parse(network, image)
    weights = [Tensor(_tinygrad_layout(array)).realize() for array in parameters(layers)]
    for weight in weights:
        weight.is_param_()
    x = images(batch, image)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x
    return layers, weights, Tensor(x).realize()


def _ready(work: Work) -> Work:
    """Called until it is captured: the first call compiles, the second records."""
    for _ in range(3):
        work()
    return work


def _run(  # noqa: C901 - a case for each kind of layer
    layers: Sequence[Layer], weights: Iterator[Any], x: Any
) -> Any:
    for layer in layers:
        match layer.kind:
            case "conv":
                w = next(weights)
                bias = next(weights) if layer.bias else None
                half = layer.kernel // 2
                x = x.conv2d(w, bias, groups=layer.groups, stride=layer.stride, padding=half)
            case "bn":
                mean, var = Tensor.zeros(x.shape[1]), Tensor.ones(x.shape[1])
                if TRAINING:
                    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
                x = x.batchnorm(next(weights), next(weights), mean, (var + 1e-5).rsqrt())
            case "relu":
                x = x.relu()
            case "bottleneck":
                body = _run(layer.body, weights, x)
                x = (body + _run(layer.shortcut, weights, x)).relu()
            case "pool":
                x = x.max_pool2d(layer.kernel, layer.stride)
            case "drop":
                x = x.dropout(layer.p)
            case "gap":
                x = x.mean((2, 3))
            case "linear":
                x = x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
                x = x.linear(next(weights).T, next(weights) if layer.bias else None)
    return x


def _tinygrad_layout(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def _minigrad_layout(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


PEER = Tinygrad
