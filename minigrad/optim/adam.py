"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer, Params, expect


class Adam(Optimizer):
    """Steps of a size of about lr, for every weight (Kingma, Ba 2015, algorithm 1).

        d = g + weight_decay * w
        m = beta1 * m + (1 - beta1) * d
        v = beta2 * v + (1 - beta2) * d * d
        w = w - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        betas: (beta1, beta2), how much of the running averages is kept in each step.
        eps: keeps the division from exploding where gradients vanish.
        weight_decay: the factor of an L2 penalty; `AdamW` does it better.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse what makes no sense."""
        super().check(settings)
        betas, eps = settings["betas"], settings["eps"]
        are_right = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        expect(are_right, self, "betas", "two numbers >= 0 and < 1", betas)
        expect(eps >= 0, self, "eps", "a number >= 0", eps)

    def update(
        self, w: np.ndarray, g: np.ndarray, state: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        """Apply the formulas above."""
        a, b = self.scratch(w)
        if settings["weight_decay"]:
            a = np.multiply(w, settings["weight_decay"], out=a)
            a += g
            g = a
        self._move(w, g, b, state, settings)

    def _move(
        self,
        w: np.ndarray,
        d: np.ndarray,
        b: np.ndarray,
        state: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(w), exp_avg_sq=np.zeros_like(w))
        state["step"] += 1
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"]
        beta1, beta2 = settings["betas"]

        np.subtract(d, m, out=b)  # m += (1 - beta1) * (d - m), which rounds less
        b *= 1 - beta1
        m += b

        np.multiply(d, d, out=b)
        b *= 1 - beta2
        v *= beta2
        v += b

        np.sqrt(v, out=b)
        b /= math.sqrt(1 - beta2**t)
        b += settings["eps"]
        np.divide(m, b, out=b)
        b *= settings["lr"] / (1 - beta1**t)
        w -= b


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: `w = w * (1 - lr * weight_decay)` first.

    (Loshchilov, Hutter 2019, algorithm 2. Arguments are those of `Adam`.)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def update(
        self, w: np.ndarray, g: np.ndarray, state: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        """Decay, then move as Adam."""
        w *= 1 - settings["lr"] * settings["weight_decay"]
        super().update(w, g, state, {**settings, "weight_decay": 0.0})
