"""What einops needs to know of Tensors; defining it is enough for einops to find it.

from einops import einsum, rearrange, reduce, repeat

patches = rearrange(x, "n (h a) (w b) c -> n h w (a b c)", a=4, b=4)  # a Tensor, with gradients
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from einops._backends import AbstractBackend

import minigrad.functional as F
from minigrad.engine import Tensor


class MinigradBackend(AbstractBackend):
    """Our ops by the names that einops has for them."""

    framework_name = "minigrad"

    def is_appropriate_type(self, tensor: Any) -> bool:
        """Whether it is one of ours."""
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: np.ndarray) -> Tensor:
        """A Tensor of an array."""
        return Tensor(x)

    def to_numpy(self, x: Tensor) -> np.ndarray:
        """An array of a Tensor."""
        return x.data

    def arange(self, start: int, stop: int) -> Tensor:
        """The integers from start to stop."""
        return Tensor(np.arange(start, stop))

    def reduce(self, x: Tensor, operation: str, axes: Sequence[int]) -> Tensor:
        """One of min, max, sum and mean over some axes; of bools, any or all."""
        if operation not in ("min", "max", "sum", "mean", "any", "all"):
            raise NotImplementedError(
                f"reduce: expected one of min, max, sum, mean, any and all for a Tensor, got "
                f"{operation!r}; a product of positive numbers is exp of the sum of their logs"
            )
        return super().reduce(x, operation, tuple(axes))

    def stack_on_zeroth_dimension(self, tensors: Sequence[Tensor]) -> Tensor:
        """For a list of Tensors in the place of one."""
        return F.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        """A new axis of length 1."""
        return F.expand_dims(x, axis=new_position)

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        """Repeat the axes of length 1 that `add_axis` made; without a copy."""
        shape = tuple(n * times for n, times in zip(x.shape, repeats, strict=True))
        return F.broadcast_to(x, shape=shape)

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """One behind another."""
        return F.concatenate(tensors, axis=axis)

    def is_float_type(self, x: Tensor) -> bool:
        """Whether it has a mean."""
        return x.dtype.kind == "f"

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        """Sums of products."""
        return F.einsum(pattern, *x)
