"""Blocks: their shapes and what they are made of; their values are in test_against_torch.py."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


def count(module):
    return sum(p.size for p in module.parameters())


def output_shape(module, *shape):
    return module.eval()(mg.Tensor(np.zeros(shape, np.float32))).shape


BLOCKS = {  # block, input, output, parameters counted by hand
    "conv_block": (nn.conv_block(4, 8, 3), (2, 6, 6, 4), (2, 6, 6, 8), 9 * 4 * 8 + 2 * 8),
    "conv_block plain": (
        nn.conv_block(4, 8, 3, batch_norm=False),
        (2, 6, 6, 4),
        (2, 6, 6, 8),
        9 * 4 * 8 + 8,
    ),
    "MLPConv": (
        nn.MLPConv(3, 5, 7, 5),
        (2, 6, 6, 3),
        (2, 6, 6, 7),
        25 * 3 * 5 + 5 + 5 * 5 + 5 + 5 * 7 + 7,
    ),
    "MLPConv with batch norm": (
        nn.MLPConv(3, 5, 7, 5, batch_norm=True),
        (2, 6, 6, 3),
        (2, 6, 6, 7),
        25 * 3 * 5 + 10 + 5 * 5 + 10 + 5 * 7 + 14,
    ),
    "Bottleneck": (
        nn.Bottleneck(8, 2, 8),
        (2, 6, 6, 8),
        (2, 6, 6, 8),
        8 * 2 + 4 + 9 * 2 * 2 + 4 + 2 * 8 + 16,
    ),
    "Bottleneck with projection": (
        nn.Bottleneck(8, 2, 4, stride=2),
        (2, 7, 6, 8),
        (2, 4, 3, 4),
        8 * 2 + 4 + 9 * 2 * 2 + 4 + 2 * 4 + 8 + 8 * 4 + 8,
    ),
    "Inception 3a of GoogLeNet": (
        nn.Inception(192, 64, 96, 128, 16, 32, 32),
        (1, 4, 4, 192),
        (1, 4, 4, 256),
        163_696,  # "159K" in table 1 of the paper, where K is 1024
    ),
    "DepthwiseSeparable": (
        nn.DepthwiseSeparable(8, 4, stride=2),
        (2, 6, 6, 8),
        (2, 3, 3, 4),
        9 * 8 + 16 + 8 * 4 + 8,
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_shape_and_number_of_parameters(case):
    block, shape, expected_shape, expected_count = BLOCKS[case]
    assert output_shape(block, *shape) == expected_shape
    assert count(block) == expected_count


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel_size expects an odd number, got 2"):
        nn.MLPConv(1, 2, 3, 2)


def test_bottleneck_projects_only_where_shapes_differ():
    assert nn.Bottleneck(4, 2, 4).shortcut is None
    assert nn.Bottleneck(4, 2, 8).shortcut is not None
    assert nn.Bottleneck(4, 2, 4, stride=2).shortcut is not None


def test_the_stride_of_a_bottleneck_is_on_its_3x3():
    convs = [m for m in nn.Bottleneck(4, 2, 8, stride=2).residual.modules() if hasattr(m, "stride")]
    assert [(c.kernel_size, c.stride) for c in convs] == [((1, 1), 1), ((3, 3), 2), ((1, 1), 1)]


def test_the_relu_of_a_bottleneck_comes_after_the_sum():
    block = nn.Bottleneck(2, 1, 2).eval()
    for p in block.residual.parameters():
        p.data[:] = 0
    block.residual[2][1].bias.data[:] = -3  # the residual is -3 everywhere
    x = mg.Tensor(np.array([[[[5.0, 1.0]]]], np.float32))
    assert block(x).data.tolist() == [[[[2.0, 0.0]]]]


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 4}, {"activation": None}])
def test_evaluation_without_recording_is_the_same(options):
    """There the batch norm is part of the convolution's weights."""
    rng = np.random.default_rng(0)
    block = nn.conv_block(4, 8, 3, **options).astype(np.float64).eval()
    for tensor in [*block.parameters(), *block.buffers()]:
        tensor.data[...] = rng.uniform(0.5, 2, tensor.shape) * rng.choice([-1, 1], tensor.shape)
    block[1].running_var.data[...] = rng.uniform(0.5, 2, 8)
    x = mg.Tensor(rng.normal(size=(2, 5, 6, 4)))
    recorded = block(x)
    with mg.no_grad():
        out = block(x)
    # float64 sums of 36 terms
    np.testing.assert_allclose(out.data, recorded.data, rtol=1e-12, atol=1e-12)
    residual = mg.Tensor(rng.normal(size=out.shape))
    with mg.no_grad():
        out = block(x, residual)
    np.testing.assert_allclose(out.data, block(x, residual).data, rtol=1e-12, atol=1e-12)


def test_training_without_recording_uses_the_batch():
    block = nn.conv_block(2, 3)
    x = mg.Tensor(np.random.default_rng(0).normal(3, 2, (4, 5, 5, 2)).astype(np.float32))
    with mg.no_grad():
        out = block(x)
    assert (block[1].running_mean.data != 0).all()
    np.testing.assert_array_equal(out.data, block(x).data)


def test_train_and_eval_reach_the_branches_of_inception():
    block = nn.Inception(2, 1, 1, 1, 1, 1, 1, batch_norm=True).eval()
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert not any(m.training for m in norms)


def test_a_small_network_learns_by_heart():
    """16 images with random labels: every part must pass gradients for this to work."""
    mg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = mg.Tensor(rng.standard_normal((16, 8, 8, 2), dtype=np.float32))
    labels = rng.integers(4, size=16)
    net = nn.Sequential(
        nn.MLPConv(2, 8, 8, 3),
        nn.MaxPool2d(2),
        nn.Inception(8, 4, 4, 4, 4, 4, 4, batch_norm=True),
        nn.DepthwiseSeparable(16, 16),
        nn.Bottleneck(16, 4, 16),
        nn.GlobalAvgPool2d(),
        nn.Linear(16, 4),
    )
    optimizer = mg.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = mg.functional.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1  # chance is log(4) = 1.39
    assert losses[-1] < 0.05
