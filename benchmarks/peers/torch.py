"""PyTorch, eager or compiled, with the memory of images in either order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# Its pool of compilers goes on for a while, on a core that the others are measured on.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.harness.networks import Layer, images, labels, parameters, parse
from benchmarks.peers import Work


class Torch:
    """One of the four configurations: layout "NCHW" or "NHWC" (channels-last), compiled or not."""

    def __init__(self, threads: int, layout: str = "NHWC", *, compiled: bool = False) -> None:
        torch.set_num_threads(threads)
        last, first = torch.channels_last, torch.contiguous_format
        self.format = last if layout == "NHWC" else first
        self.compiled = compiled
        if compiled:
            from torch._functorch import config

            config.donated_buffer = False  # `backward` keeps its graph

    def build(self, network: str, image: tuple[int, ...]) -> nn.Module:
        """The network with the weights that all sides have."""
        layers = parse(network, image)
        model: nn.Module = _sequential(layers)
        with torch.no_grad():
            for p, array in zip(model.parameters(), parameters(layers), strict=True):
                p.copy_(torch.from_numpy(_torch_layout(array)))
        return model.to(memory_format=self.format)

    def run(self, model: nn.Module) -> Any:
        """The model, compiled where that is what is measured."""
        return torch.compile(model, dynamic=False) if self.compiled else model

    def tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        """A tensor of an NHWC array in this layout."""
        x = torch.from_numpy(array)
        return x.permute(0, 3, 1, 2).contiguous(memory_format=self.format) if x.ndim == 4 else x

    def evaluate(
        self, network: str, image: tuple[int, ...], batch: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The output, and the gradients of its squares' sum."""
        model, x = self.build(network, image), self.tensor(images(batch, image)).requires_grad_()
        y = self.run(model)(x)
        gradients = torch.autograd.grad((y * y).sum(), [x, *model.parameters()])
        first, *rest = [g.numpy() for g in gradients]
        output = y.detach().numpy()
        output = output.transpose(0, 2, 3, 1) if output.ndim == 4 else output
        return output, [first.transpose(0, 2, 3, 1), *map(_minigrad_layout, rest)]

    def forward(
        self, network: str, image: tuple[int, ...], batch: int, training: bool = False
    ) -> Work:
        """The network in inference mode."""
        model = self.build(network, image).train(training)
        run, x = self.run(model), self.tensor(images(batch, image))

        def work() -> None:
            with torch.inference_mode():
                run(x)

        return work

    def backward(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """Autograd from a kept graph."""
        model, x = self.build(network, image), self.tensor(images(batch, image)).requires_grad_()
        y, goals = self.run(model)(x), [x, *model.parameters()]
        g = self.tensor(images(batch, parse(network, image)[-1].outputs))
        return lambda: torch.autograd.grad(y, goals, g, retain_graph=True)

    def train_step(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """As in PyTorch's tutorials."""
        model = self.build(network, image)
        run, x = self.run(model), self.tensor(images(batch, image))
        y = torch.from_numpy(labels(batch, parse(network, image)[-1].outputs[-1]))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def step() -> None:
            loss = nn.functional.cross_entropy(run(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def learner(self, network: str, image: tuple[int, ...]) -> Learner:
        """A network in training."""
        model = self.build(network, image)
        return Learner(model, self.run(model), self.tensor)

    def chain(self, op: str, length: int, size: int) -> Work:
        """Tiny ops in a row."""
        x, c = torch.ones(size, requires_grad=True), torch.full((size,), 0.999)
        one = {"add": lambda y: y + c, "mul": lambda y: y * c, "relu": torch.relu}[op]

        def work() -> None:
            y = x
            for _ in range(length):
                y = one(y)
            y.sum().backward()
            x.grad = None

        return work


class Learner:
    """One network in training."""

    def __init__(self, model: nn.Module, run: Any, tensor: Any) -> None:
        self.model, self.run, self.tensor = model, run, tensor
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, nesterov=True)

    def step(self, images: NDArray[Any], labels: NDArray[Any], lr: float) -> None:
        """One step of SGD."""
        self.optimizer.param_groups[0]["lr"] = lr
        self.model.train()
        loss = nn.functional.cross_entropy(self.run(self.tensor(images)), torch.from_numpy(labels))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def predict(self, images: NDArray[Any]) -> NDArray[Any]:
        """The class of each image."""
        self.model.eval()
        with torch.inference_mode():
            return self.run(self.tensor(images)).numpy().argmax(axis=1)


class Bottleneck(nn.Module):
    """Body and shortcut, added, then ReLU."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.body, self.shortcut = _sequential(layer.body), _sequential(layer.shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """An empty shortcut is x itself."""
        return torch.relu_(self.body(x) + self.shortcut(x))


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function


def _sequential(layers: Sequence[Layer]) -> nn.Sequential:
    return nn.Sequential(*(_module(layer, first=i == 0) for i, layer in enumerate(layers)))


def _module(layer: Layer, *, first: bool) -> nn.Module:
    C, C_out, k = layer.inputs[-1], layer.outputs[-1], layer.kernel
    match layer.kind:
        case "conv":
            return nn.Conv2d(
                C, C_out, k, layer.stride, k // 2, groups=layer.groups, bias=layer.bias
            )
        case "bn":
            return nn.BatchNorm2d(C)
        case "relu":
            return nn.ReLU(inplace=not first)  # what comes in is not ours to change
        case "bottleneck":
            return Bottleneck(layer)
        case "pool":
            return nn.MaxPool2d(k, layer.stride)
        case "drop":
            return nn.Dropout(layer.p)
        case "gap":
            return Apply(lambda x: x.mean((2, 3)))
        case _:
            linear = nn.Linear(layer.weight_shape[0], C_out, bias=layer.bias)
            if len(layer.inputs) == 1:
                return linear
            return nn.Sequential(Apply(lambda x: x.permute(0, 2, 3, 1).flatten(1)), linear)


def _torch_layout(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """HWIO -> OIHW, (in, out) -> (out, in)."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _minigrad_layout(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
