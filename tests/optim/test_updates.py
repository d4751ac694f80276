"""The update formulas: by hand, and against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim


def moves(make, start, gradients):
    """The values of one number under an optimizer, for these gradients."""
    p = nn.Parameter(np.array([start]))
    optimizer, values = make([p]), []
    for g in gradients:
        p.grad = mg.Tensor(np.array([float(g)]))
        optimizer.step()
        values.append(p.item())
    return values


def sgd(**options):
    return lambda params: optim.SGD(params, lr=0.1, **options)


BY_HAND = {
    "plain": (sgd(), 1.0, [1, 2], [0.9, 0.7]),
    # d = 1 + 0.5 * 1 = 1.5;  d = 2 + 0.5 * 0.85 = 2.425
    "weight decay": (sgd(weight_decay=0.5), 1.0, [1, 2], [0.85, 0.6075]),
    # v = 1, then 0.9 * 1 + 2 = 2.9, then 0.9 * 2.9 - 1 = 1.61
    "momentum": (sgd(momentum=0.9), 1.0, [1, 2, -1], [0.9, 0.61, 0.449]),
    # v = 1 (undamped), then 0.9 + 0.75 * 2 = 2.4, then 2.16 - 0.75 = 1.41
    "dampening": (sgd(momentum=0.9, dampening=0.25), 1.0, [1, 2, -1], [0.9, 0.66, 0.519]),
    # d + 0.9 v = 1.9, then 2 + 0.9 * 2.9 = 4.61, then -1 + 0.9 * 1.61 = 0.449
    "nesterov": (sgd(momentum=0.9, nesterov=True), 1.0, [1, 2, -1], [0.81, 0.349, 0.3041]),
    # d = 1.5, v = 1.5;  then d = 2 + 0.5 * 0.85 = 2.425, v = 1.35 + 2.425 = 3.775
    "momentum and weight decay": (
        sgd(momentum=0.9, weight_decay=0.5), 1.0, [1, 2], [0.85, 0.4725],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_sgd_by_hand(case):
    make, start, gradients, expected = BY_HAND[case]
    assert moves(make, start, gradients) == pytest.approx(expected, rel=1e-12)


def adam_by_hand(start, gradients, lr, beta1, beta2, eps, decay, decoupled):
    """Algorithm 1 of Kingma and Ba, and 2 of Loshchilov and Hutter, written down in numbers."""
    w, m, v, values = start, 0.0, 0.0, []
    for t, gradient in enumerate(gradients, start=1):
        g = gradient if decoupled else gradient + decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        shrink = lr * decay * w if decoupled else 0.0
        w = w - lr * m_hat / (math.sqrt(v_hat) + eps) - shrink
        values.append(w)
    return values


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.25), (0.0, 0.0)], ids=str)
@pytest.mark.parametrize("eps", [1e-8, 0.5])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW], ids=["Adam", "AdamW"])
def test_adam_by_hand(kind, betas, eps, decay):
    gradients = [1.0, -2.0, 0.5, 3.0]
    options = {"lr": 0.1, "betas": betas, "eps": eps, "weight_decay": decay}
    found = moves(lambda params: kind(params, **options), 2.0, gradients)
    expected = adam_by_hand(2.0, gradients, 0.1, *betas, eps, decay, kind is optim.AdamW)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_first_step_of_adam_has_the_size_of_lr():
    # m_hat = g and v_hat = g * g, whatever the gradient is
    for g in (1e-3, 1.0, -1e3):
        [value] = moves(lambda params: optim.Adam(params, lr=0.1), 0.0, [g])
        assert value == pytest.approx(-math.copysign(0.1, g), rel=1e-4)


def test_defaults_are_pytorchs():
    p = nn.Parameter([1.0])
    settings = [dict(o([p]).param_groups[0]) for o in (optim.SGD, optim.Adam, optim.AdamW)]
    for group in settings:
        del group["params"]
    adam = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}
    assert settings == [
        {"lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
        {**adam, "weight_decay": 0},
        {**adam, "weight_decay": 1e-2},
    ]


AGAINST_TORCH = {
    "SGD": {"lr": 0.1},
    "SGD weight decay": {"lr": 0.1, "weight_decay": 0.1},
    "SGD momentum": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "SGD dampening": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    "SGD nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"lr": 0.01},
    "Adam weight decay": {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    "AdamW": {"lr": 0.01},
    "AdamW options": {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
}


@pytest.mark.parametrize("case", AGAINST_TORCH)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float64, 1e-13), (np.float32, 2e-6)],  # some ulps, over ten steps
    ids=["float64", "float32"],
)
def test_ten_steps_as_pytorch(case, dtype, tolerance):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    name, options = case.split()[0], AGAINST_TORCH[case]
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(dtype) for shape in [(3, 4), (5,), (2, 2)]]
    mine = [nn.Parameter(a.copy()) for a in starts]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts]
    groups = [slice(0, 1), slice(1, 3)]
    optimizers = [
        getattr(library, name)(
            [{"params": params[groups[0]]}, {"params": params[groups[1]], "lr": 0.02}], **options
        )
        for library, params in [(optim, mine), (torch.optim, theirs)]
    ]
    for step in range(10):
        for i, (p, q) in enumerate(zip(mine, theirs, strict=True)):
            if i == 2 and step in (0, 4):  # steps differ between parameters
                p.grad = q.grad = None
                continue
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad, q.grad = mg.Tensor(g), torch.tensor(g)
        for optimizer in optimizers:
            optimizer.step()
        for p, q in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(
                p.data, q.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=f"step {step}"
            )
