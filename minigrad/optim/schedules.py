"""Schedules: learning rates that change from step to step.

    schedule = optim.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        train_one_epoch()
        schedule.step()

Each is a formula for the rate after so many steps, so a schedule can be read, and resumed anywhere.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from minigrad.optim.optimizer import Optimizer, expect


class LRSchedule:
    """Base class: a subclass says in `lr` what the rate is after `last_epoch` steps.

    Attributes:
        base_lrs: what `lr` starts from, for each group of the optimizer; by default, its learning
            rate when the schedule is made.
        last_epoch: how many times `step` was called; PyTorch's name, whatever the unit.
    """

    def __init__(self, optimizer: Optimizer, base_lrs: list[float] | None = None) -> None:
        self.optimizer = optimizer
        self.base_lrs = base_lrs or [group["lr"] for group in optimizer.param_groups]
        self.last_epoch = 0
        self.apply()

    def lr(self, base_lr: float) -> float:
        """The learning rate now, of a group that started with `base_lr`."""
        raise NotImplementedError(f"{type(self).__name__} has no lr method; define one")

    def apply(self) -> None:
        """Set the learning rates of the optimizer."""
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.lr(base_lr)

    def step(self) -> None:
        """Go one step further."""
        self.last_epoch += 1
        self.apply()

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer: plain numbers and lists of them."""
        return {k: copy.copy(v) for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was made, and set the optimizer's learning rates accordingly.

        Raises:
            ValueError: it is of another kind of schedule.
        """
        own = self.state_dict()
        if own.keys() != state_dict.keys() or len(own["base_lrs"]) != len(state_dict["base_lrs"]):
            raise ValueError(
                f"{type(self).__name__}: load_state_dict expects {own}, got {dict(state_dict)}; "
                "make the schedule as it was when the state was saved"
            )
        vars(self).update({k: copy.copy(v) for k, v in state_dict.items()})
        self.apply()


class StepLR(LRSchedule):
    """Multiply the learning rate by `gamma` every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        expect(step_size >= 1, self, "step_size", "a number >= 1", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def lr(self, base_lr: float) -> float:
        """The formula."""
        return base_lr * self.gamma ** (self.last_epoch // self.step_size)


class CosineAnnealingLR(LRSchedule):
    """From the learning rate down to `eta_min` in `T_max` steps, along half a cosine wave.

    (Loshchilov, Hutter 2017, equation 5, without restarts.) After `T_max` it goes up again.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        expect(T_max >= 1, self, "T_max", "a number >= 1", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def lr(self, base_lr: float) -> float:
        """The formula."""
        return cosine(base_lr, self.eta_min, self.last_epoch / self.T_max)


def cosine(start: float, end: float, part: float) -> float:
    """Between start and end along half a cosine wave; part is from 0 to 1."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
