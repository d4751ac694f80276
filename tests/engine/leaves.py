"""What the tests of the engine start from."""

from __future__ import annotations

import minigrad as mg


def leaf(*numbers: float) -> mg.Tensor:
    """A float32 tensor of these numbers that requires a gradient."""
    return mg.Tensor(list(numbers), requires_grad=True)
