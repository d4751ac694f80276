"""Gradients of 1x1 convolutions; see pointwise.pyx."""

from ._checks import Array

AVAILABLE: bool

# fmt: off
def grads(
    g: Array, out: Array | None, x: Array, turned: Array, dx: Array | None, dw: Array,
    db: Array | None,
) -> None: ...
def relu_grad(g: Array, out: Array | None, masked: Array | None, db: Array) -> None: ...
