"""Layers against NumPy: values, gradients, buffers, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def tensor(array):
    return mg.Tensor(np.array(array, dtype=np.float32))


def test_linear():
    layer, x = nn.Linear(3, 2).astype(np.float64), images(4, 5, 3)
    layer.bias.data[:] = [1, 2]
    np.testing.assert_allclose(
        layer(mg.Tensor(x)).data, x @ layer.weight.data + [1, 2], rtol=1e-12, atol=1e-12
    )
    assert nn.Linear(3, 2, bias=False).bias is None
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(3, 2, bias=False)"


def test_conv2d_sees_stride_padding_dilation_groups_and_activation():
    # One tap that is not 0 tells where it is put: y[i, j] = relu(x[2 i - 1 + 3, 2 j] + b).
    layer = nn.Conv2d(
        4, 4, (2, 1), stride=2, padding=(1, 0), dilation=(3, 1), groups=4, activation="relu"
    )
    assert layer.weight.shape == (2, 1, 1, 4)
    layer.weight.data[:] = 0
    layer.weight.data[1] = 1
    layer.bias.data[:] = 0.25
    x = images(2, 6, 5, 4).astype(np.float32)
    expected = np.zeros((2, 3, 3, 4), np.float32)  # (6 + 2 - 4) // 2 + 1 rows
    expected[:, :2] = x[:, 2::2, ::2]
    np.testing.assert_array_equal(
        layer(mg.Tensor(x)).data, np.maximum(expected + np.float32(0.25), 0)
    )


def test_conv2d_repr_shows_what_is_not_default():
    assert repr(nn.Conv2d(2, 3, 1)) == "Conv2d(2, 3, kernel_size=(1, 1))"
    layer = nn.Conv2d(
        4, 8, (3, 5), stride=2, padding="valid", groups=2, bias=False, activation="relu"
    )
    assert repr(layer) == (
        "Conv2d(4, 8, kernel_size=(3, 5), stride=2, padding='valid', groups=2, activation='relu', "
        "bias=False)"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=4), r"groups expects a divisor .* groups=4 for 4 and 6"),
        (lambda: nn.Conv2d(5, 8, 3, groups=4), r"groups expects a divisor .* groups=4 for 5 and 8"),
        (lambda: nn.Conv2d(0, 8, 3), "Conv2d: in_channels expects an integer >= 1, got 0"),
        (lambda: nn.Conv2d(1, 8, 3, groups=0), "Conv2d: groups expects an integer >= 1, got 0"),
        (lambda: nn.Conv2d(1, 8, 0), "Conv2d: expected kernel_size as an int .* got 0"),
        (lambda: nn.Conv2d(1, 8, (3, 3, 3)), "Conv2d: expected kernel_size as an int"),
        (lambda: nn.Linear(3, 0), "Linear: out_features expects an integer >= 1, got 0"),
        (lambda: nn.Conv2d(1, 8, 3, activation="gelu"), "Conv2d: activation expects None or"),
        (lambda: nn.BatchNorm2d(8, activation="tanh"), "BatchNorm2d: activation expects None or"),
        (lambda: nn.Linear(3.5, 2), "Linear: in_features expects an integer >= 1, got 3.5"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: channels expects an integer >= 1, got 0"),
        (lambda: nn.Dropout(1.5), "Dropout: p expects a probability from 0 to 1, got 1.5"),
        (lambda: nn.Dropout(float("nan")), "Dropout: p expects"),
    ],
)
def test_impossible_configurations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_configuration_is_by_keyword():
    with pytest.raises(TypeError, match="positional"):
        nn.Conv2d(1, 2, 3, 1)
    with pytest.raises(TypeError, match="positional"):
        nn.BatchNorm2d(1, 1e-5)


def test_batch_norm_in_training_and_evaluation():
    layer, x = nn.BatchNorm2d(3, momentum=0.3).astype(np.float64), 2 * images(4, 5, 6, 3) + 1
    layer.weight.data[:], layer.bias.data[:] = [1, 2, 3], [4, 5, 6]
    mean, var, m = x.mean((0, 1, 2)), x.var((0, 1, 2)), 4 * 5 * 6

    out = layer(mg.Tensor(x)).data
    expected = (x - mean) / np.sqrt(var + 1e-5) * [1, 2, 3] + [4, 5, 6]
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(layer.running_mean.data, 0.3 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, 0.7 + 0.3 * var * m / (m - 1), rtol=1e-12)

    layer.eval()
    running = layer.state_dict()
    out = layer(mg.Tensor(x)).data
    spread = np.sqrt(running["running_var"] + 1e-5)
    expected = (x - running["running_mean"]) / spread * [1, 2, 3] + [4, 5, 6]
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(layer.running_mean.data, running["running_mean"])
    np.testing.assert_array_equal(layer.running_var.data, running["running_var"])


def test_batch_norm_has_two_parameters_and_two_buffers():
    layer = nn.BatchNorm2d(2, activation="relu")
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_var"]
    assert repr(layer) == "BatchNorm2d(2, eps=1e-05, momentum=0.1, activation='relu')"
    x = tensor(images(4, 3, 3, 2))
    assert layer(x).data.min() == 0
    assert not layer.running_mean.requires_grad
    assert not (layer.running_mean.data == 0).any()


def test_batch_norm_eps():
    layer = nn.BatchNorm2d(1, eps=3.0).eval()  # 1 / sqrt(1 + 3)
    assert layer(tensor([[[[8.0]]]])).item() == 4


def test_dropout():
    layer, x = nn.Dropout(0.25, rng=np.random.default_rng(0)), tensor(np.ones((100, 100)))
    out = layer(x).data
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    # 10,000 draws: the standard deviation of the share is 0.0043
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert not np.array_equal(layer(x).data, out)
    again = nn.Dropout(0.25, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again(x).data, out)
    np.testing.assert_array_equal(layer.eval()(x).data, x.data)
    assert repr(layer) == "Dropout(p=0.25)"


def test_dropout_draws_from_the_default_generator():
    layer, x = nn.Dropout(), tensor(np.ones(50))
    mg.manual_seed(1)
    first = layer(x).data
    mg.manual_seed(1)
    np.testing.assert_array_equal(layer(x).data, first)


def windows(x, k, stride):
    """(N, OH, OW, C, k * k)."""
    views = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    return views[:, ::stride, ::stride].reshape(*views[:, ::stride, ::stride].shape[:4], k * k)


@pytest.mark.parametrize(
    ("kernel", "stride", "expected_stride"), [(2, None, 2), (3, 1, 1), (3, 2, 2)]
)
def test_pooling(kernel, stride, expected_stride):
    x = images(2, 7, 7, 3)
    parts = windows(x, kernel, expected_stride)
    for layer, expected in [
        (nn.MaxPool2d(kernel, stride), parts.max(-1)),
        (nn.AvgPool2d(kernel, stride), parts.mean(-1)),
    ]:
        np.testing.assert_allclose(layer(mg.Tensor(x)).data, expected, rtol=1e-12, atol=1e-12)


def test_pooling_options():
    x = mg.Tensor(-np.ones((1, 3, 3, 1)))
    assert nn.MaxPool2d(2, padding=1)(x).data.tolist() == [[[[-1], [-1]], [[-1], [-1]]]]
    assert nn.MaxPool2d(2, ceil_mode=True)(x).shape == (1, 2, 2, 1)
    assert nn.AvgPool2d(2, padding=1)(x).data[0, 0, 0, 0] == -0.25
    assert nn.AvgPool2d(2, padding=1, count_include_pad=False)(x).data[0, 0, 0, 0] == -1
    assert nn.AvgPool2d(2, ceil_mode=True)(x).shape == (1, 2, 2, 1)
    assert repr(nn.MaxPool2d(3, 2, padding=1)) == "MaxPool2d(kernel_size=3, stride=2, padding=1)"


def test_global_avg_pool_flatten_relu():
    x = images(2, 3, 4, 5)
    np.testing.assert_allclose(
        nn.GlobalAvgPool2d()(mg.Tensor(x)).data, x.mean((1, 2)), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_array_equal(nn.Flatten()(mg.Tensor(x)).data, x.reshape(2, 60))
    np.testing.assert_array_equal(nn.ReLU()(mg.Tensor(x)).data, np.maximum(x, 0))
    assert nn.Flatten()(mg.Tensor(x[:0])).shape == (0, 60)
    assert nn.Flatten()(mg.Tensor([1.0, 2.0])).shape == (2, 1)


def test_sequential():
    layers = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)]
    net, x = nn.Sequential(*layers), tensor([[1.0, 2.0]])
    np.testing.assert_array_equal(net(x).data, layers[2](layers[1](layers[0](x))).data)
    assert len(net) == 3
    assert list(net) == layers
    assert net[1] is layers[1]
    assert isinstance(net[1:], nn.Sequential)
    assert list(net[1:]) == layers[1:]
    assert nn.Sequential()(x) is x


def test_sequential_applies_a_shared_layer_twice():
    double = nn.Linear(1, 1, bias=False)
    double.weight.data[:] = 2
    net = nn.Sequential(double, double)
    assert net(tensor([[3.0]])).item() == 12
    assert [name for name, _ in net.named_parameters()] == ["0.weight"]


def test_a_subclass_of_sequential_may_have_more():
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(1, 1, bias=False))
            self.scale = nn.Parameter([2.0])

    assert sorted(name for name, _ in Scaled().named_parameters()) == ["0.weight", "scale"]


@pytest.mark.parametrize(
    "layer", [lambda: nn.Linear(3, 4), lambda: nn.Conv2d(2, 3, 3)], ids=["Linear", "Conv2d"]
)
def test_the_seed_decides_how_a_layer_starts(layer):
    mg.manual_seed(3)
    first, second = layer(), layer()
    mg.manual_seed(3)
    np.testing.assert_array_equal(layer().weight.data, first.weight.data)
    assert not np.array_equal(first.weight.data, second.weight.data)
    assert not first.bias.data.any()
    assert first.weight.dtype == first.bias.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "fan"),
    [
        (lambda: nn.Linear(300, 200), 300),
        (lambda: nn.Conv2d(40, 60, 3), 9 * 60),
        (lambda: nn.Conv2d(40, 200, 3, groups=4), 9 * 50),
        (lambda: nn.Conv2d(2000, 2000, 3, groups=2000), 9),
    ],
    ids=["Linear", "Conv2d", "grouped", "depthwise"],
)
def test_weights_start_kaiming_normal(make, fan):
    mg.manual_seed(0)
    weight = make().weight.data
    # over 18,000 samples: the relative error of their standard deviation is about 0.5 %
    assert weight.std() == pytest.approx(np.sqrt(2 / fan), rel=0.02)
