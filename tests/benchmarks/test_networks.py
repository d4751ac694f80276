"""Networks from a line of text: shapes, FLOPs, and the same network in every framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.harness.networks import (
    NETWORKS,
    flops,
    parameters,
    parse,
    training_flops,
)
from benchmarks.peers.minigrad import Minigrad
from minigrad import models
from minigrad_ext import get_num_threads

IMAGE = (28, 28, 1)


@pytest.mark.parametrize(
    ("word", "outputs", "weight"),
    [
        ("conv3-8", (9, 7, 8), (3, 3, 6, 8)),
        ("conv1-8s2", (5, 4, 8), (1, 1, 6, 8)),
        ("conv5-4s3g2", (3, 3, 4), (5, 5, 3, 4)),
        ("dw3s2", (5, 4, 6), (3, 3, 1, 6)),
        ("linear10", (10,), (9 * 7 * 6, 10)),
    ],
)
def test_words_have_shapes(word: str, outputs: tuple[int, ...], weight: tuple[int, ...]) -> None:
    (layer,) = parse(word, (9, 7, 6))
    assert layer.outputs == outputs
    assert layer.weight_shape == weight
    assert parameters([layer])[0].shape == weight


def test_pools_and_blocks_have_shapes() -> None:
    layers = parse("pool3s2 bottleneck4-8s2 gap linear3", (9, 7, 6))
    assert [layer.outputs for layer in layers] == [(4, 3, 6), (2, 2, 8), (8,), (3,)]
    assert [x.outputs for x in layers[1].shortcut] == [(2, 2, 8)] * 2
    assert parse("bottleneck4-6", (9, 7, 6))[0].shortcut == ()


@pytest.mark.parametrize(
    "text", ["conv3", "conv2-8", "relu6", "what", "pool", "conv3-8x", "gap gap", "gap conv1-3"]
)
def test_what_is_no_layer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="network: "):
        parse(text, IMAGE)


def test_flops_are_those_of_the_definition() -> None:
    # 3x3 from 2 to 4 channels on 6x6 pixels, then a matrix of 4 x 5: two for each product
    layers = parse("conv3-4 relu gap linear5", (6, 6, 2))
    first, last = 2 * 36 * 9 * 2 * 4, 2 * 4 * 5
    assert flops(layers) == first + last
    assert training_flops(layers) == 2 * first + 3 * last


@pytest.mark.parametrize("name", NETWORKS)
def test_named_networks_are_those_of_the_models(name: str) -> None:
    model = {
        "nin": models.nin,
        "nin-bn": lambda: models.nin(batch_norm=True),
        "bottleneck": models.bottleneck,
    }[name]()
    built = Minigrad(get_num_threads()).build(name, IMAGE)
    ours, theirs = ([p.shape for p in m.parameters()] for m in (built, model))
    assert ours == theirs
    assert repr(built).count("relu") == repr(model).count("relu")  # fused alike


# ------------------------------------------------------------------------------- frameworks agree


@pytest.mark.parametrize("side", ["torch NCHW", "torch NHWC", "jax", "tinygrad"])
@pytest.mark.parametrize(
    ("network", "image"),
    [
        ("conv3-4 relu conv1-5 relu pool2 conv3-6 gap", (8, 8, 1)),
        ("conv3-4s2 bn relu pool3s2 linear7", (17, 13, 3)),
        ("dw5 bn relu conv1-8 conv3-8g4 relu linear5", (6, 5, 3)),
        ("bottleneck4-6 bottleneck4-8s2 gap linear3 relu linear2", (7, 7, 6)),
        ("bn relu", (4, 5, 3)),
        ("pool2", (7, 6, 3)),
    ],
)
def test_frameworks_compute_the_same(side: str, network: str, image: tuple[int, ...]) -> None:
    pytest.importorskip(peers_module(side), reason="one of the frameworks to compare with")
    threads = get_num_threads()
    ours = Minigrad(threads).evaluate(network, image, 4)
    theirs = peers.load(side, threads).evaluate(network, image, 4)
    # float32 sums of at most a few hundred terms, through up to eight layers
    for a, b in zip([ours[0], *ours[1]], [theirs[0], *theirs[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * max(1, np.abs(a).max()))


def test_learners_learn_the_same() -> None:
    pytest.importorskip("torch", reason="one of the frameworks to compare with")
    rng = np.random.default_rng(3)
    batches = [(rng.random((32, 8, 8, 1), np.float32), rng.integers(0, 10, 32)) for _ in range(5)]
    norms = []
    for side in ("minigrad", "torch NHWC"):
        network = "conv3-8 bn relu pool2 conv1-8 relu gap linear10"
        learner: Any = peers.load(side, get_num_threads()).learner(network, (8, 8, 1))
        first = learner.predict(batches[0][0])
        for images, labels in batches:
            learner.step(images, labels, 0.05)
        assert (learner.predict(batches[0][0]) != first).any()
        arrays = [p.detach().data for p in learner.model.parameters()]
        norms.append([float(np.linalg.norm(np.asarray(array))) for array in arrays])
    np.testing.assert_allclose(*norms, rtol=1e-4)  # float32, five steps; norms know no layout


def peers_module(side: str) -> str:
    return side.partition(" ")[0]
