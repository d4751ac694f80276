"""minigrad itself, as one would write the network by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
import minigrad.functional as F
from benchmarks.harness.networks import Layer, images, labels, parameters, parse
from benchmarks.peers import Work
from minigrad import nn, optim
from minigrad.engine import walk
from minigrad.nn.layers import Activation


class Minigrad:
    """Images are NHWC and everything is fused as the layers offer it."""

    def __init__(self, threads: int) -> None:
        mg.set_num_threads(threads)

    def build(self, network: str, image: tuple[int, ...]) -> nn.Sequential:
        """The network with the weights that all sides have."""
        layers = parse(network, image)
        model = nn.Sequential(*_modules(layers))
        for p, array in zip(model.parameters(), parameters(layers), strict=True):
            p.data[...] = array
        return model

    def evaluate(
        self, network: str, image: tuple[int, ...], batch: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The output, and the gradients of its squares' sum."""
        model = self.build(network, image)
        x = mg.Tensor(images(batch, image), requires_grad=True)
        y = model(x)
        gradients = mg.grad((y * y).sum(), [x, *model.parameters()])
        return y.data, [g.data for g in gradients if g is not None]

    def forward(
        self, network: str, image: tuple[int, ...], batch: int, training: bool = False
    ) -> Work:
        """The network under `no_grad`."""
        model, x = self.build(network, image).train(training), mg.Tensor(images(batch, image))
        return mg.no_grad(lambda: model(x))

    def backward(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """The chain rule from a kept graph; not `mg.grad`, which copies what it returns."""
        model = self.build(network, image)
        x = mg.Tensor(images(batch, image), requires_grad=True)
        y, goals = model(x), [x, *model.parameters()]
        g = mg.Tensor(images(batch, y.shape[1:]))
        return lambda: walk([y], [g], goals, retain_graph=True)

    def train_step(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """As in examples/training.py."""
        model = self.build(network, image)
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x = mg.Tensor(images(batch, image))
        y = labels(batch, parse(network, image)[-1].outputs[-1])

        def step() -> None:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def learner(self, network: str, image: tuple[int, ...]) -> Learner:
        """A network in training."""
        return Learner(self.build(network, image))

    def layers(
        self, network: str, image: tuple[int, ...], batch: int, turns: int
    ) -> list[dict[str, Any]]:
        """What `mg.profile` says of each op of a training step, its time the median of turns."""
        step = self.train_step(network, image, batch)
        step()
        steps = []
        for _ in range(turns):
            with mg.profile() as p:
                step()
            steps.append([event for event in p.events if len(event.path) == 1])
        return [
            {
                "op": event.name,
                "phase": event.phase,
                "shape": event.shape,
                "flops": event.flops,
                "bytes": event.nbytes,
                "seconds": {"minigrad": statistics.median(e.seconds for e in same)},
            }
            for event, same in zip(steps[0], zip(*steps, strict=True), strict=True)
        ]

    def chain(self, op: str, length: int, size: int) -> Work:
        """Tiny ops in a row."""
        x = mg.Tensor(np.ones(size, np.float32), requires_grad=True)
        c = mg.Tensor(np.full(size, 0.999, np.float32))
        one = {"add": lambda y: y + c, "mul": lambda y: y * c, "relu": F.relu}[op]

        def work() -> None:
            y = x
            for _ in range(length):
                y = one(y)
            y.sum().backward()
            x.grad = None

        return work


class Learner:
    """One network in training."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), momentum=0.9, nesterov=True)

    def step(self, images: NDArray[Any], labels: NDArray[Any], lr: float) -> None:
        """One step of SGD."""
        self.optimizer.param_groups[0]["lr"] = lr
        loss = F.cross_entropy(self.model.train()(mg.Tensor(images)), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def predict(self, images: NDArray[Any]) -> NDArray[Any]:
        """The class of each image."""
        with mg.no_grad():
            return self.model.eval()(mg.Tensor(images)).data.argmax(axis=1)


def _modules(layers: Sequence[Layer]) -> Iterator[nn.Module]:
    """One module for each layer, and for what is fused: convolution, batch norm and ReLU."""
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        norm = layer.kind == "conv" and _take(rest, "bn")
        relu = layer.kind in ("conv", "bn") and _take(rest, "relu")
        if layer.kind == "linear" and len(layer.inputs) == 3:
            yield nn.Flatten()
        yield _module(layer, norm, "relu" if relu else None)


def _take(rest: list[Layer], kind: str) -> bool:
    """Whether the next layer is of this kind; if so, it is taken."""
    return bool(rest) and rest[0].kind == kind and bool(rest.pop(0))


def _module(layer: Layer, norm: bool, activation: Activation) -> nn.Module:
    C, C_out, k = layer.inputs[-1], layer.outputs[-1], layer.kernel
    options = {"stride": layer.stride, "groups": layer.groups}
    match layer.kind:
        case "conv":
            return nn.conv_block(C, C_out, k, **options, batch_norm=norm, activation=activation)
        case "bn":
            return nn.BatchNorm2d(C, activation=activation)
        case "relu":
            return nn.ReLU()
        case "bottleneck":
            return nn.Bottleneck(C, layer.body[0].outputs[-1], C_out, stride=layer.stride)
        case "pool":
            return nn.MaxPool2d(k, layer.stride)
        case "drop":
            return nn.Dropout(layer.p)
        case "gap":
            return nn.GlobalAvgPool2d()
        case _:
            return nn.Linear(layer.weight_shape[0], C_out, bias=layer.bias)


PEER = Minigrad
