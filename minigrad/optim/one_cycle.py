"""The one-cycle schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from minigrad.optim.optimizer import Optimizer, expect
from minigrad.optim.schedules import LRSchedule, cosine


class OneCycleLR(LRSchedule):
    """Up to `max_lr` and down to almost nothing, momentum the other way (Smith, Topin 2017).

    From `max_lr / div_factor` to `max_lr` in the first `pct_start` of the steps, then down to
    `max_lr / div_factor / final_div_factor`. To be stepped after every batch.

    Args:
        optimizer: whose learning rates are replaced.
        max_lr: the peak; a list for one per group.
        total_steps: the length of the cycle.
        pct_start: which part of it goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether to move momentum (or Adam's beta1) from `max_momentum` to
            `base_momentum` and back.
        base_momentum: the momentum at the peak.
        max_momentum: the momentum at both ends.
        div_factor: what the peak is divided by at the start.
        final_div_factor: what the start is divided by at the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int,
        *,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        groups = optimizer.param_groups
        peaks = [*max_lr] if isinstance(max_lr, Sequence) else [max_lr] * len(groups)
        expect(len(peaks) == len(groups), self, "max_lr", f"{len(groups)} numbers", max_lr)
        expect(total_steps >= 1, self, "total_steps", "a number >= 1", total_steps)
        expect(0 <= pct_start <= 1, self, "pct_start", "a number from 0 to 1", pct_start)
        known = tuple(_CURVES)
        expect(
            anneal_strategy in known, self, "anneal_strategy", f"one of {known}", anneal_strategy
        )
        can_cycle = "momentum" in groups[0] or "betas" in groups[0]
        expect(
            can_cycle or not cycle_momentum,
            self,
            "cycle_momentum",
            "False for an optimizer without momentum or betas",
            cycle_momentum,
        )
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.base_momentum = base_momentum
        self.max_momentum = max_momentum
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        super().__init__(optimizer, peaks)

    def lr(self, base_lr: float) -> float:
        """The formula, from the peak `base_lr`."""
        start = base_lr / self.div_factor
        return self._cycle(start, base_lr, start / self.final_div_factor)

    def apply(self) -> None:
        """Set the learning rates and the momentum of the optimizer."""
        super().apply()
        if self.cycle_momentum:
            momentum = self._cycle(self.max_momentum, self.base_momentum, self.max_momentum)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum

    def step(self) -> None:
        """Go one step further, at most `total_steps` times."""
        if self.last_epoch >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: step expects to be called at most total_steps = {self.total_steps} "
                "times, got one more; count all batches of all epochs in total_steps"
            )
        super().step()

    def _cycle(self, start: float, peak: float, end: float) -> float:
        """Where something is now that goes from start to peak to end."""
        curve = _CURVES[self.anneal_strategy]
        top, bottom = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if self.last_epoch <= top:
            return curve(start, peak, _part(self.last_epoch, 0, top))
        return curve(peak, end, _part(self.last_epoch, top, bottom))


def _part(now: float, start: float, end: float) -> float:
    """How much of the way from start to end is done; all of it if there is no way to go.

    Not more after the last step, where PyTorch's "linear" falls below 0.
    """
    return min((now - start) / (end - start), 1.0) if end > start else 1.0


def _linear(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


_CURVES = {"cos": cosine, "linear": _linear}
