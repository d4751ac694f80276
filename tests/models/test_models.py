"""The reference networks: parameters by hand, shapes, seeds, and that they learn.

Their values are compared with PyTorch's in tests/nn/test_against_torch.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import models, nn, optim

NETWORKS = {
    "nin": models.nin,
    "nin with batch norm": lambda **options: models.nin(batch_norm=True, **options),
    "bottleneck": models.bottleneck,
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def count(module):
    return sum(p.size for p in module.parameters())


def conv(k, i, o, bias=True):
    return k * k * i * o + o * bias


def block(i, m, o):
    """A bottleneck with its three batch norms."""
    return i * m + 2 * m + 9 * m * m + 2 * m + m * o + 2 * o


def test_parameters_of_nin():
    first = conv(3, 1, 32) + 2 * conv(1, 32, 32)
    second = conv(3, 32, 64) + 2 * conv(1, 64, 64)
    last = conv(3, 64, 64) + conv(1, 64, 64) + conv(1, 64, 10)
    assert count(models.nin()) == first + second + last == 70_986
    # Batch norm has two numbers per channel where the convolution loses one.
    assert count(models.nin(True)) == 70_986 + 3 * 32 + 3 * 64 + 2 * 64 == 71_402


def test_parameters_of_bottleneck():
    stem = conv(3, 1, 32, bias=False) + 2 * 32
    projections = 32 * 64 + 2 * 64 + 64 * 128 + 2 * 128
    blocks = block(32, 16, 64) + block(64, 16, 64) + block(64, 32, 128) + block(128, 32, 128)
    assert count(models.bottleneck()) == stem + blocks + projections + 128 * 10 + 10 == 54_378


@every_network
def test_images_to_logits(make):
    net = make()
    for N in (0, 1, 3):
        x = mg.Tensor(np.zeros((N, 28, 28, 1), np.float32))
        assert net.eval()(x).shape == (N, 10)
    other = make(in_channels=3, classes=7).eval()
    assert other(mg.Tensor(np.zeros((2, 28, 28, 3), np.float32))).shape == (2, 7)


@every_network
def test_layers_of_one_kind(make):
    net = make()
    kinds = [type(m) for m in net.modules()]
    if make is models.bottleneck:
        assert kinds.count(nn.Conv2d) == kinds.count(nn.BatchNorm2d) == 1 + 4 * 3 + 2
        assert kinds.count(nn.Linear) == 1
        assert nn.Dropout not in kinds
    else:
        assert kinds.count(nn.Conv2d) == 9
        assert kinds.count(nn.BatchNorm2d) in (0, 8)
        assert nn.Linear not in kinds
        assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]


@every_network
def test_every_convolution_but_the_last_of_nin_has_a_relu(make):
    """The batch norm at the end of a bottleneck adds the shortcut before its ReLU."""
    net = make()
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    active = sum(m.activation == "relu" for m in layers)
    assert active == (1 + 4 * 3 if make is models.bottleneck else 8)


@every_network
def test_the_seed_decides(make):
    mg.manual_seed(0)
    first, second = make().state_dict(), make().state_dict()
    mg.manual_seed(0)
    for name, array in make().state_dict().items():
        np.testing.assert_array_equal(array, first[name])
    assert any(not np.array_equal(first[name], second[name]) for name in first)


@every_network
def test_training_is_random_evaluation_is_not(make):
    net, x = make(), mg.Tensor(np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32))
    has_dropout = make is not models.bottleneck
    assert np.array_equal(net(x).data, net(x).data) is not has_dropout
    net.eval()
    np.testing.assert_array_equal(net(x).data, net(x).data)


@every_network
def test_it_learns_four_textures(make):
    mg.manual_seed(0)
    i, j = np.indices((28, 28))
    textures = [i % 4 < 2, j % 4 < 2, (i + j) % 4 < 2, i >= 0]
    x = mg.Tensor(np.stack(textures)[..., None].astype(np.float32))
    net = make()
    optimizer = optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(20):
        loss = F.cross_entropy(net(x), np.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # chance is log(10) = 2.3, and log(4) = 1.4 among these
