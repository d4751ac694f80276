"""Layers, blocks and whole networks against PyTorch: values, gradients, running statistics.

In float64, where two correct programs agree to about 1e-12 whatever the order of their sums; the
tolerances leave room for a network's depth.
"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import models, nn

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
tn = torch.nn


def to_torch(array):
    """HWIO -> OIHW for weights of convolutions, (in, out) -> (out, in) for linear ones."""
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, range(array.ndim))
    return torch.tensor(np.ascontiguousarray(array.transpose(*order)))


def nhwc(t):
    array = t.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def assert_twins(net, twin, x):
    """The same output, gradients and buffers, given the same weights (in order of declaration)."""
    net, twin = net.astype(np.float64), twin.double()
    rng = np.random.default_rng(1)
    for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        mine.data += 0.1 * rng.standard_normal(mine.shape)  # no zeros, no ones
        theirs.data = to_torch(mine.data)
    mine_x = mg.Tensor(x, requires_grad=True)
    their_x = torch.tensor(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x, requires_grad=True)
    out, expected = net(mine_x), twin(their_x)
    close = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(out.data, nhwc(expected), **close)
    g = rng.standard_normal(out.shape)
    out.backward(g)
    expected.backward(torch.tensor(g.transpose(0, 3, 1, 2).copy() if g.ndim == 4 else g))
    np.testing.assert_allclose(mine_x.grad.data, nhwc(their_x.grad), **close)
    for (name, mine), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(
            to_torch(mine.grad.data), theirs.grad, **close, err_msg=f"gradient of {name}"
        )
    buffers = [b for b in twin.buffers() if b.ndim]  # without num_batches_tracked
    for mine, theirs in zip(net.buffers(), buffers, strict=True):
        np.testing.assert_allclose(mine.data, theirs.numpy(), **close)
    np.testing.assert_allclose(  # with the running statistics that training left
        net.eval()(mg.Tensor(x)).data, nhwc(twin.eval()(their_x)), **close
    )


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def conv(i, o, k=1, *, bn=True, relu=True, stride=1, groups=1):
    layers = [tn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=not bn)]
    return layers + [tn.BatchNorm2d(o)] * bn + [tn.ReLU()] * relu


class Residual(tn.Module):
    def __init__(self, i, m, o, stride=1):
        super().__init__()
        layers = conv(i, m) + conv(m, m, 3, stride=stride) + conv(m, o, relu=False)
        self.residual = tn.Sequential(*layers)
        project = i != o or stride > 1
        self.shortcut = tn.Sequential(*conv(i, o, relu=False, stride=stride) if project else [])

    def forward(self, x):
        return torch.relu(self.residual(x) + self.shortcut(x))


class Branches(tn.Module):
    def __init__(self, i, c1, r3, c3, r5, c5, p, bn=False):
        super().__init__()
        self.branches = tn.ModuleList(
            [
                tn.Sequential(*conv(i, c1, bn=bn)),
                tn.Sequential(*conv(i, r3, bn=bn), *conv(r3, c3, 3, bn=bn)),
                tn.Sequential(*conv(i, r5, bn=bn), *conv(r5, c5, 5, bn=bn)),
                tn.Sequential(tn.MaxPool2d(3, 1, 1), *conv(i, p, bn=bn)),
            ]
        )

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class GlobalMean(tn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def mlpconv(i, c, o, k, bn=False):
    return conv(i, c, k, bn=bn) + conv(c, c, bn=bn) + conv(c, o, bn=bn)


def torch_nin(bn):
    return tn.Sequential(
        *mlpconv(1, 32, 32, 3, bn),
        tn.MaxPool2d(2),
        *mlpconv(32, 64, 64, 3, bn),
        tn.MaxPool2d(2),
        *conv(64, 64, 3, bn=bn),
        *conv(64, 64, bn=bn),
        tn.Conv2d(64, 10, 1),
        GlobalMean(),
    )


def torch_bottleneck():
    return tn.Sequential(
        *conv(1, 32, 3),
        tn.MaxPool2d(2),
        Residual(32, 16, 64),
        Residual(64, 16, 64),
        Residual(64, 32, 128, 2),
        Residual(128, 32, 128),
        GlobalMean(),
        tn.Linear(128, 10),
    )


mg.manual_seed(0)
X = (3, 7, 6, 4)
TWINS = {
    "Linear": (nn.Linear(4, 5), tn.Linear(4, 5), (3, 4)),
    "Linear without bias": (nn.Linear(4, 5, bias=False), tn.Linear(4, 5, bias=False), (3, 4)),
    "Conv2d": (nn.Conv2d(4, 6, 3), tn.Conv2d(4, 6, 3), X),
    "Conv2d 1x1": (nn.Conv2d(4, 6, 1, bias=False), tn.Conv2d(4, 6, 1, bias=False), X),
    "Conv2d with all options": (
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2),
        tn.Conv2d(4, 6, (3, 2), (2, 1), (2, 1), (1, 2), 2),
        X,
    ),
    "Conv2d depthwise": (
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        tn.Conv2d(4, 8, 3, padding=1, groups=4),
        X,
    ),
    "Conv2d with ReLU": (
        nn.Conv2d(4, 6, 3, activation="relu"),
        tn.Sequential(tn.Conv2d(4, 6, 3), tn.ReLU()),
        X,
    ),
    "BatchNorm2d": (
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.3),
        tn.BatchNorm2d(4, eps=1e-3, momentum=0.3),
        X,
    ),
    "BatchNorm2d with ReLU": (
        nn.BatchNorm2d(4, activation="relu"),
        tn.Sequential(tn.BatchNorm2d(4), tn.ReLU()),
        X,
    ),
    "MaxPool2d": (nn.MaxPool2d(3, 2, padding=1), tn.MaxPool2d(3, 2, 1), X),
    "MaxPool2d ceil": (nn.MaxPool2d(2, ceil_mode=True), tn.MaxPool2d(2, ceil_mode=True), X),
    "AvgPool2d": (nn.AvgPool2d(3, 2, padding=1), tn.AvgPool2d(3, 2, 1), X),
    "AvgPool2d of the image": (
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        tn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        X,
    ),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), GlobalMean(), X),
    "ReLU": (nn.ReLU(), tn.ReLU(), X),
    "MLPConv": (nn.MLPConv(4, 5, 6, 3), tn.Sequential(*mlpconv(4, 5, 6, 3)), X),
    "MLPConv with batch norm": (
        nn.MLPConv(4, 5, 6, 5, batch_norm=True),
        tn.Sequential(*mlpconv(4, 5, 6, 5, bn=True)),
        X,
    ),
    "Bottleneck": (nn.Bottleneck(4, 2, 4), Residual(4, 2, 4), X),
    "Bottleneck wider": (nn.Bottleneck(4, 2, 6), Residual(4, 2, 6), X),
    "Bottleneck smaller": (nn.Bottleneck(4, 2, 4, stride=2), Residual(4, 2, 4, 2), X),
    "Inception": (nn.Inception(4, 2, 3, 4, 2, 3, 5), Branches(4, 2, 3, 4, 2, 3, 5), X),
    "Inception with batch norm": (
        nn.Inception(4, 2, 3, 4, 2, 3, 5, batch_norm=True),
        Branches(4, 2, 3, 4, 2, 3, 5, bn=True),
        X,
    ),
    "DepthwiseSeparable": (
        nn.DepthwiseSeparable(4, 6, stride=2),
        tn.Sequential(*conv(4, 4, 3, stride=2, groups=4), *conv(4, 6)),
        X,
    ),
    "DepthwiseSeparable 5x5": (
        nn.DepthwiseSeparable(4, 6, 5),
        tn.Sequential(*conv(4, 4, 5, groups=4), *conv(4, 6)),
        X,
    ),
    "nin": (models.nin(dropout=0), torch_nin(False), (2, 28, 28, 1)),
    "nin with batch norm": (models.nin(True, dropout=0), torch_nin(True), (2, 28, 28, 1)),
    "bottleneck": (models.bottleneck(), torch_bottleneck(), (2, 28, 28, 1)),
}


@pytest.mark.parametrize("case", TWINS)
def test_twin(case):
    net, twin, shape = TWINS[case]
    assert_twins(net, twin, images(*shape))


@pytest.mark.parametrize("case", ["Conv2d", "Linear", "BatchNorm2d"])
def test_the_comparison_can_fail(case):
    net, twin, shape = TWINS[case]

    class Wrong(tn.Module):
        def __init__(self):
            super().__init__()
            self.inner = twin

        def forward(self, x):
            return self.inner(x) * (1 + 1e-6)

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_twins(net, Wrong(), images(*shape))
