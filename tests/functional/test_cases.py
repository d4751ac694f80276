"""Every row of the op table: value, derivatives of both orders, dtype, layouts, plain arrays."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case

import minigrad as mg
import minigrad.functional as F
from minigrad.engine import Op
from minigrad.observing import Observer, Run
from minigrad.testing import gradcheck, gradgradcheck

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
smooth = pytest.mark.parametrize("case", [c for c in CASES if c.smooth], ids=lambda case: case.id)


def same(got: np.ndarray, expected: np.ndarray, dtype: type) -> None:
    # float64 against NumPy's own order of summation; float32 sums of some 50 terms near 1.
    tolerance = 1e-12 if dtype is np.float64 else 3e-5
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def as_dtype(case: Case, dtype: type) -> list[np.ndarray]:
    return [x.astype(dtype) for x in case.inputs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every
def test_value_and_dtype(case: Case, dtype: type) -> None:
    inputs = as_dtype(case, dtype)
    out = case.function(*[mg.Tensor(x) for x in inputs])
    assert isinstance(out, mg.Tensor)
    if case.name == "argmax":
        assert out.dtype == np.int64
    elif case.name != "astype":
        assert out.dtype == dtype
    if case.expected is not None:
        same(out.data, case.expected(*case.inputs), dtype)


@smooth
def test_first_derivative(case: Case) -> None:
    gradcheck(case.function, *case.inputs)


@smooth
def test_second_derivative(case: Case) -> None:
    gradgradcheck(case.function, *case.inputs)


@smooth
def test_gradient_keeps_dtype_and_shape(case: Case) -> None:
    inputs = [mg.Tensor(x, requires_grad=True) for x in as_dtype(case, np.float32)]
    case.function(*inputs).sum().backward()
    if case.name == "relu_grad":
        inputs = inputs[:1]  # there is no slope by the ReLU's own output
    for x in inputs:
        assert x.grad is not None
        assert x.grad.dtype == np.float32
        assert x.grad.shape == x.shape


def odd_layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers, laid out in memory in other ways."""
    spread = np.zeros((*x.shape[:-1], 2 * x.shape[-1])) if x.ndim else x
    if x.ndim:
        spread[..., ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "fortran": np.asfortranarray(x),
        "strided": spread[..., ::2] if x.ndim else x,
        "negative": np.ascontiguousarray(x[::-1])[::-1] if x.ndim else x,
        "read-only": frozen,
        "swapped": x.astype(x.dtype.newbyteorder()),
    }


@pytest.mark.parametrize("layout", ["fortran", "strided", "negative", "read-only", "swapped"])
@every
def test_layouts(case: Case, layout: str) -> None:
    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [mg.Tensor(x, requires_grad=case.smooth) for x in inputs]
        out = case.function(*tensors)
        if case.smooth:
            out.backward(np.ones(out.shape))
        return [out.data, *(x.grad.data for x in tensors if x.grad is not None)]

    plain = run([x.copy() for x in case.inputs])
    odd = run([odd_layouts(x)[layout] for x in case.inputs])
    for a, b in zip(plain, odd, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)  # the order of sums may differ


@every
def test_arrays_in_array_out(case: Case) -> None:
    if case.name in ("argmax", "sum", "max"):
        return  # NumPy gives scalars here
    out = case.function(*[x.copy() for x in case.inputs])
    assert not isinstance(out, mg.Tensor)


def test_inputs_are_left_alone() -> None:
    for case in CASES:
        inputs = [x.copy() for x in case.inputs]
        tensors = [mg.Tensor(x, requires_grad=case.smooth) for x in inputs]
        out = case.function(*tensors)
        if case.smooth:
            out.sum().backward()
        for x, before in zip(inputs, case.inputs, strict=True):
            assert np.array_equal(x, before), case.id


def all_ops() -> dict[str, Op]:
    modules = [m for m in vars(F).values() if isinstance(m, types.ModuleType)]
    ops = [x for m in modules for x in vars(m).values() if isinstance(x, Op)]
    return {op.name: op for op in ops}


def test_every_public_op_has_a_row() -> None:
    assert set(F.__all__) - {case.name for case in CASES} == set()
    assert sorted(F.__all__) == F.__all__


def test_every_op_is_run_by_some_row() -> None:
    ran: set[str] = set()

    class Noting(Observer):
        def call(self, run: Run, op: Op, *_: object) -> Any:
            ran.add(op.name)
            return run()

    with Noting():
        for case in CASES:
            case.function(*[mg.Tensor(x) for x in case.inputs])
    # These are made only on the way back, and the derivative tests above run them.
    backward_only = {"normalize_sums", "normalize_input_grad"}
    assert set(all_ops()) - ran == backward_only
