"""What counts as arithmetic: by hand, and products as PyTorch's FlopCounterMode counts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.flops import Work


def work(function: Callable[..., Any], *inputs: Any) -> tuple[Work, Work]:
    """That of a call forward, and backward from a gradient of ones."""
    with mg.profile() as p:
        out = function(*inputs)
        out.backward(np.ones(out.shape, out.dtype))
    totals = {"forward": Work(), "backward": Work()}
    for event in p.events:
        if len(event.path) == 1:
            totals[event.phase] += event.work
    return totals["forward"], totals["backward"]


def tensor(*shape: int) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(0).random(shape, np.float32) + 0.5, requires_grad=True)


# -------------------------------------------------------------------------- the texts' own figures


@pytest.mark.parametrize(
    ("size", "c_in", "c_out", "k", "flops"),
    [  # errata A2, A3 and R1
        (56, 256, 64, 1, 102_961_152),
        (56, 256, 64, 3, 925_044_736),
        (28, 64, 32, 1, 3_236_352),
    ],
)
def test_convolutions_of_the_texts(size: int, c_in: int, c_out: int, k: int, flops: int) -> None:
    layer = nn.Conv2d(c_in, c_out, k, padding=k // 2)
    total = mg.summary(layer, (size, size, c_in)).total
    assert total.forward == Work(size**2 * c_out * c_in * k**2, flops)
    assert total.backward == total.forward  # weights and bias; the image wants no gradient
    plain = nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=False)
    assert mg.summary(plain, (size, size, c_in)).total.forward.flops == flops - size**2 * c_out


def test_the_input_of_a_convolution_costs_its_products() -> None:
    x, layer = tensor(2, 5, 5, 3), nn.Conv2d(3, 4, 3)
    products = 2 * 3 * 3 * 4 * (3 * 9)
    forward, backward = work(layer, x)
    assert forward == Work(products, 2 * products + 2 * 3 * 3 * 4)
    assert backward == Work(2 * products, 4 * products + 2 * 3 * 3 * 4)


# ------------------------------------------------------------------------ every row of the table

N = 2 * 6 * 6 * 4  # numbers of the image below


def norm(**options: Any) -> Callable[..., Any]:
    def call(x: Any, weight: Any, bias: Any, *residual: Any) -> Any:
        mean, var = np.zeros(4, np.float32), np.ones(4, np.float32)
        return F.batch_norm(x, weight, bias, mean, var, *residual, **options)

    return call


IMAGE, CHANNELS = (2, 6, 6, 4), (4,)
AFFINE = [IMAGE, CHANNELS, CHANNELS]

# name: (function, shapes of its inputs, FLOPs forward, FLOPs backward), all without multiply-adds
COUNTS: dict[str, tuple[Callable[..., Any], list[Any], int, int]] = {
    "relu": (F.relu, [IMAGE], N, N),
    "exp": (F.exp, [IMAGE], N, N),
    "mul": (F.mul, [IMAGE, IMAGE], N, 2 * N),
    "add hands its gradient on": (F.add, [IMAGE, IMAGE], N, 0),
    "add of a bias sums its gradient": (F.add, [IMAGE, CHANNELS], N, N),
    "dropout": (lambda x: F.dropout(x, p=0.5), [IMAGE], N, N),
    "sum": (F.sum, [IMAGE], N, 0),
    "max pool 2x2": (lambda x: F.max_pool2d(x, kernel_size=2), [IMAGE], N, N // 4),
    "max pool 3x3, stride 1": (
        lambda x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        [IMAGE],
        9 * N,
        N,
    ),
    "average pool 3x3": (lambda x: F.avg_pool2d(x, kernel_size=3), [IMAGE], N, N),
    "global average pool": (F.global_avg_pool2d, [IMAGE], N, N),
    "batch norm": (norm(training=True), AFFINE, 6 * N, 9 * N),
    "batch norm of an image that wants no gradient": (
        lambda weight, bias: norm(training=True)(np.ones(IMAGE, np.float32), weight, bias),
        [CHANNELS, CHANNELS],
        6 * N,
        5 * N,
    ),
    "batch norm with ReLU": (norm(training=True, activation="relu"), AFFINE, 7 * N, 10 * N),
    "batch norm with ReLU and residual": (
        norm(training=True, activation="relu"),
        [*AFFINE, IMAGE],
        8 * N,
        10 * N,
    ),
    "batch norm in evaluation": (norm(training=False), AFFINE, 2 * N, 6 * N),
    "batch norm in evaluation with ReLU and residual": (
        norm(training=False, activation="relu"),
        [*AFFINE, IMAGE],
        4 * N,
        7 * N,
    ),
    "softmax": (F.softmax, [(5, 7)], 5 * 35, 4 * 35),
    "log_softmax": (F.log_softmax, [(5, 7)], 5 * 35, 4 * 35),
    "cross-entropy": (  # with the sum and the division that make its mean
        lambda x: F.cross_entropy(x, np.zeros(5, int)),
        [(5, 7)],
        5 * 35 + 5 + 1,
        2 * 35 + 1,
    ),
    "variance": (F.var, [IMAGE], 4 * N, 3 * N),
    "reshape": (lambda x: F.reshape(x, shape=(-1,)), [IMAGE], 0, 0),
    "concatenate": (F.concatenate, [IMAGE, IMAGE], 0, 0),
    "pad": (lambda x: F.pad(x, pad_width=1), [IMAGE], 0, 0),
    "index": (lambda x: x[:, [1, 1, 2]], [IMAGE], 0, 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    function, shapes, forward, backward = COUNTS[name]
    assert work(function, *(tensor(*shape) for shape in shapes)) == (
        Work(0, forward),
        Work(0, backward),
    )


def test_linear_layers_add_a_bias() -> None:
    products, biases = 8 * 5 * 3, 8 * 3
    forward, backward = work(nn.Linear(5, 3), tensor(8, 5))
    assert forward == Work(products, 2 * products + biases)
    assert backward == Work(2 * products, 4 * products + biases)


def test_repeated_factors_add_up_their_gradient() -> None:
    products = 4 * 2 * 3 * 5
    forward, backward = work(F.matmul, tensor(4, 2, 3), tensor(1, 3, 5))
    assert forward == Work(products, 2 * products)
    assert backward == Work(2 * products, 4 * products + 4 * 3 * 5)


def test_einsum_counts_its_products() -> None:
    products = 6 * 2 * 12 * 5
    forward, backward = work(lambda x, y: F.einsum("bij,bjk->bik", x, y), *MATRICES)
    assert forward == Work(products, 2 * products)
    assert backward == Work(2 * products, 4 * products)
    assert work(lambda x: F.einsum("bij->b", x), tensor(6, 2, 3))[0] == Work(0, 36)


MATRICES = tensor(6, 2, 12), tensor(6, 12, 5)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("plain", ["x", "w"])
def test_a_factor_may_be_a_plain_array(plain: str, activation: str | None) -> None:
    x, w = tensor(2, 5, 5, 3), tensor(3, 3, 3, 4)
    inputs = (x.detach().numpy(), w) if plain == "x" else (x, w.detach().numpy())
    products = 2 * 3 * 3 * 4 * (3 * 9)
    _, backward = work(lambda x, w: F.conv2d(x, w, activation=activation), *inputs)
    assert backward == Work(products, 2 * products + (activation == "relu") * 2 * 3 * 3 * 4)


def test_ops_of_users_may_be_called_as_ours() -> None:
    @mg.op
    def softmax(x):  # type: ignore[no-untyped-def]
        return x * 2.0

    @mg.op
    def matmul(x):  # type: ignore[no-untyped-def]
        return x * 2.0

    for op in softmax, matmul:
        op.vjp(x=lambda g: g * 2.0)
        assert work(op, tensor(3, 4)) == (Work(0, 12), Work(0, 12))


# ------------------------------------------------------------------------------------- by PyTorch

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "1x1": {"kernel_size": 1},
    "3x3": {"kernel_size": 3, "padding": 1},
    "without bias": {"kernel_size": 3, "bias": False},
    "stride": {"kernel_size": 3, "padding": 1, "stride": 2},
    "a stride that leaves a rest": {"kernel_size": 2, "stride": 3},
    "dilation": {"kernel_size": 3, "dilation": 2},
    "oblong": {"kernel_size": (5, 1), "stride": (1, 2), "padding": (2, 0)},
    "groups": {"kernel_size": 3, "groups": 2},
    "depthwise": {"kernel_size": 3, "padding": 1, "groups": 6},
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("activation", [None, "relu"])
def test_convolutions_count_as_in_pytorch(name: str, activation: Any) -> None:
    """Behind another, so that its input wants a gradient."""
    torch = pytest.importorskip("torch", reason="its FlopCounterMode is the oracle")
    options = CONVOLUTIONS[name]
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, activation=activation, **options))
    twin = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.Conv2d(6, 12, **options))
    summary = mg.summary(model, (2, 9, 8, 3))
    forward, backward = counted_by_torch(torch, twin, (2, 3, 9, 8))
    # It takes the gradient of grouped weights for that of full ones (its comment says that groups
    # are skipped), which is so many times as large.
    excess = (options.get("groups", 1) - 1) * 2 * summary["1"].total.forward.multiply_adds
    assert products(summary.total) == (forward, backward - excess)


def test_linear_layers_count_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="its FlopCounterMode is the oracle")
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3, bias=False))
    twin = torch.nn.Sequential(
        torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3, bias=False)
    )
    assert products(mg.summary(model, (4, 7)).total) == counted_by_torch(torch, twin, (4, 7))


@pytest.mark.parametrize("name", ["nin", "nin-bn", "bottleneck"])
def test_networks_count_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="its FlopCounterMode is the oracle")
    from benchmarks.peers.torch import Torch

    models = {
        "nin": mg.models.nin,
        "nin-bn": lambda: mg.models.nin(batch_norm=True),
        "bottleneck": mg.models.bottleneck,
    }
    twin = Torch(torch.get_num_threads()).build(name, (28, 28, 1))
    total = mg.summary(models[name](), (2, 28, 28, 1)).total
    assert products(total) == counted_by_torch(torch, twin, (2, 1, 28, 28))


def products(total: Any) -> tuple[int, int]:
    """Two operations for each multiply-add, and nothing else, as FlopCounterMode counts."""
    return 2 * total.forward.multiply_adds, 2 * total.backward.multiply_adds


def counted_by_torch(torch: Any, model: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as forward:
        out = model(torch.ones(shape))
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()
