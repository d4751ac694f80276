"""JAX: pure functions of a list of weights, compiled by XLA; images are NHWC, weights HWIO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from benchmarks.harness.networks import Layer, images, labels, parameters, parse
from benchmarks.peers import Learner, Work, use_cpus


class Jax:
    """Whole steps are compiled, as JAX is meant to be used."""

    def __init__(self, threads: int) -> None:
        use_cpus(threads)

    def evaluate(
        self, network: str, image: tuple[int, ...], batch: int
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The output, and the gradients of its squares' sum."""
        layers = parse(network, image)
        x, weights = images(batch, image), parameters(layers)
        y = _apply(layers, weights, x, training=True)
        loss = lambda x, weights: (_apply(layers, weights, x, training=True) ** 2).sum()  # noqa: E731
        dx, dw = jax.grad(loss, argnums=(0, 1))(x, weights)
        return np.asarray(y), [np.asarray(g) for g in [dx, *dw]]

    def forward(
        self, network: str, image: tuple[int, ...], batch: int, training: bool = False
    ) -> Work:
        """The compiled network."""
        layers = parse(network, image)
        run = jax.jit(lambda weights, x: _apply(layers, weights, x, training=training))
        weights, x = jax.device_put((parameters(layers), images(batch, image)))
        return lambda: jax.block_until_ready(run(weights, x))

    def backward(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """The compiled gradients, without the forward pass that they start from."""
        layers = parse(network, image)
        weights, x = jax.device_put((parameters(layers), images(batch, image)))
        apply = jax.jit(
            lambda weights, x: jax.vjp(lambda *a: _apply(layers, *a, training=True), weights, x)
        )
        _, vjp = apply(weights, x)
        g = jax.device_put(images(batch, layers[-1].outputs))
        run = jax.jit(lambda vjp, g: vjp(g))
        return lambda: jax.block_until_ready(run(vjp, g))

    def train_step(self, network: str, image: tuple[int, ...], batch: int) -> Work:
        """Loss, gradients and update in one compiled function."""
        layers = parse(network, image)
        x, y = jax.device_put((images(batch, image), labels(batch, layers[-1].outputs[-1])))

        def loss(weights: Any, key: Any) -> Any:
            logits = _apply(layers, weights, x, training=True, key=key)
            return -jax.nn.log_softmax(logits)[jnp.arange(batch), y].mean()

        def update(state: Any) -> Any:
            weights, velocities, key = state
            key, now = jax.random.split(key)
            gradients = jax.grad(loss)(weights, now)
            velocities = [0.9 * v + g for v, g in zip(velocities, gradients, strict=True)]
            weights = [w - 0.01 * v for w, v in zip(weights, velocities, strict=True)]
            return weights, velocities, key

        compiled = jax.jit(update, donate_argnums=0)
        weights = parameters(layers)
        state = jax.device_put((weights, [0 * w for w in weights], jax.random.key(0)))

        def step() -> None:
            nonlocal state
            state = jax.block_until_ready(compiled(state))

        return step

    def learner(self, network: str, image: tuple[int, ...]) -> Learner:
        """Not written: nobody compares the accuracy yet."""
        raise NotImplementedError("training to an accuracy is not offered")

    def chain(self, op: str, length: int, size: int) -> Work:
        """Tiny ops in a row, one by one: compiled, they would be one."""
        x, c = jnp.ones(size), jnp.full(size, 0.999)
        one = {"add": lambda y: y + c, "mul": lambda y: y * c, "relu": lambda y: jnp.maximum(y, 0)}

        def run(y: Any) -> Any:
            for _ in range(length):
                y = one[op](y)
            return y.sum()

        return lambda: jax.block_until_ready(jax.grad(run)(x))


def _apply(
    layers: Sequence[Layer], weights: Any, x: Any, *, training: bool, key: Any = None
) -> Any:
    """The network; running statistics, which cost next to nothing, are left out."""
    return _run(layers, iter(weights), x, training, key)


def _run(layers: Sequence[Layer], weights: Iterator[Any], x: Any, training: bool, key: Any) -> Any:
    for layer in layers:
        match layer.kind:
            case "conv":
                x = lax.conv_general_dilated(
                    x,
                    next(weights),
                    (layer.stride,) * 2,
                    [(layer.kernel // 2,) * 2] * 2,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                    feature_group_count=layer.groups,
                )
                x = x + next(weights) if layer.bias else x
            case "bn":
                mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if training else (0.0, 1.0)
                x = (x - mean) * lax.rsqrt(jnp.asarray(var) + 1e-5) * next(weights) + next(weights)
            case "relu":
                x = jax.nn.relu(x)
            case "bottleneck":
                body = _run(layer.body, weights, x, training, key)
                x = jax.nn.relu(body + _run(layer.shortcut, weights, x, training, key))
            case "pool":
                windows = (1, layer.kernel, layer.kernel, 1), (1, layer.stride, layer.stride, 1)
                x = lax.reduce_window(x, -jnp.inf, lax.max, *windows, "VALID")
            case "drop" if training and key is not None:
                key, now = jax.random.split(key)
                x = jnp.where(jax.random.bernoulli(now, 1 - layer.p, x.shape), x / (1 - layer.p), 0)
            case "gap":
                x = x.mean((1, 2))
            case "linear":
                x = x.reshape(len(x), -1) @ next(weights)
                x = x + next(weights) if layer.bias else x
    return x


PEER = Jax
