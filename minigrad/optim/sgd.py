"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer, Params, expect


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, by PyTorch's formulas.

    Without momentum `w = w - lr * d`; with it:

        d = g + weight_decay * w
        v = momentum * v + (1 - dampening) * d      (the first time v = d)
        w = w - lr * v                              (nesterov: w - lr * (d + momentum * v))

    (Sutskever et al. 2013, equations 1 to 4, but with lr outside of v.)

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        momentum: how much of the last step's direction is kept.
        dampening: how much less of the gradient is added to it.
        weight_decay: the factor of an L2 penalty.
        nesterov: look one step ahead.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse what makes no sense."""
        super().check(settings)
        momentum, dampening = settings["momentum"], settings["dampening"]
        expect(momentum >= 0, self, "momentum", "a number >= 0", momentum)
        expect(
            not settings["nesterov"] or (momentum > 0 and dampening == 0),
            self,
            "nesterov",
            "momentum > 0 and dampening = 0",
            f"momentum={momentum}, dampening={dampening}",
        )

    def update(
        self, w: np.ndarray, g: np.ndarray, state: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        """Apply the formulas above."""
        lr, momentum, dampening = settings["lr"], settings["momentum"], settings["dampening"]
        a, b = self.scratch(w)
        d = g
        if settings["weight_decay"]:
            d = np.multiply(w, settings["weight_decay"], out=a)
            d += g
        if momentum:
            if "momentum_buffer" in state:
                v = state["momentum_buffer"]
                v *= momentum
                v += np.multiply(d, 1 - dampening, out=b) if dampening else d
            else:
                v = state["momentum_buffer"] = d.copy()
            if settings["nesterov"]:
                ahead = np.multiply(v, momentum, out=b)
                ahead += d
                d = ahead
            else:
                d = v
        w -= np.multiply(d, lr, out=b)
