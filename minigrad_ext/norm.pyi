"""Batch normalisation; see norm.pyx."""

from ._checks import Array

# fmt: off
def batch_norm_statistics(x: Array) -> tuple[Array, Array]: ...
def batch_norm(
    x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array, residual: Array | None, *,
    relu: bool,
) -> Array: ...
def batch_norm_sums(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array, *, relu: bool
) -> Array: ...
def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array, sums: Array, *,
    relu: bool,
) -> Array: ...
