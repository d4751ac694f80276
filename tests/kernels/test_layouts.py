"""Every kernel, compiled: right for any memory layout, thread count, cut of the batch, and fork."""

import ast
import ctypes
import inspect
import mmap
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import minigrad_ext

# float32 sums of a few hundred numbers of size 1, in another order than the twin's.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}

# Computed from one image or row alone: cutting the batch must not change a bit.
CUTTABLE = [
    "add", "add_relu", "avg_pool2d", "avg_pool2d_grad", "batch_norm", "conv2d", "conv2d_input_grad",
    "erf", "max_pool2d", "max_pool2d_gather", "max_pool2d_grad", "relu", "relu_grad",
    "softmax_cross_entropy", "softmax_cross_entropy_grad",
]  # fmt: skip
PER_IMAGE = ["g", "index", "labels", "logits", "out", "residual", "x", "y"]

LAYOUTS = {
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "negative_stride": lambda a: a[::-1].copy()[::-1],
    "fortran": np.asfortranarray,
    "read_only": lambda a: _read_only(a.copy()),
    "broadcast_view": lambda a: np.stack([a, a])[1],
    "byte_swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": lambda a: _unaligned(a),
    "subclass": lambda a: a.view(np.recarray),
}


def _read_only(a):
    a.flags.writeable = False
    return a


def _unaligned(a):
    memory = np.empty(a.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    return unaligned


def test_agrees_with_its_twin(kernel, dtype, call, agree):
    small = call(kernel, dtype, 3)
    agree(small(), small.reference(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_comparison_notices_one_wrong_corner(agree):
    right = np.zeros((2, 3, 3, 4), np.float32)
    wrong = right.copy()
    wrong[-1, -1, -1, -1] = 1e-4
    with pytest.raises(AssertionError):
        agree((right, wrong), (right, right), rtol=2e-5, atol=2e-5)
    with pytest.raises(AssertionError):
        agree(right, right.astype(np.float64))
    with pytest.raises(AssertionError):
        agree(right, right[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_does_not_matter(kernel, layout, call, agree):
    plain = call(kernel, np.float32, 2)
    arrays = {name: LAYOUTS[layout](a) for name, a in plain.arrays.items()}
    agree(plain(**arrays), plain())


@pytest.mark.parametrize("layout", ["plain", *LAYOUTS])
def test_copies_are_made_in_the_seam_and_only_where_needed(kernel, layout, call, monkeypatch):
    one, received = call(kernel, np.float32, 2), []
    arrays = {name: LAYOUTS.get(layout, np.asarray)(a) for name, a in one.arrays.items()}
    monkeypatch.setattr(
        minigrad_ext._IMPLEMENTATIONS["auto"], kernel, lambda *args, **_: received.extend(args)
    )
    one(**arrays)
    assert len(received) == len(arrays)
    for a in received:
        assert type(a) is np.ndarray
        assert a.flags.aligned
        assert a.dtype.isnative
        assert a.flags.c_contiguous or kernel == "matmul"
    if layout in ("plain", "read_only"):
        assert all(any(a is b for b in arrays.values()) for a in received)


def test_inputs_stay_and_outputs_are_new(kernel, call):
    one = call(kernel, np.float32, 2)
    before = {name: a.copy() for name, a in one.arrays.items()}
    for arrays in (one.arrays, {name: _read_only(a.copy()) for name, a in one.arrays.items()}):
        outputs = one(**arrays)
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            assert output.flags.writeable
            assert output.flags.c_contiguous
            assert not any(np.shares_memory(output, a) for a in arrays.values())
    for name, a in one.arrays.items():
        np.testing.assert_array_equal(a, before[name])


# ------------------------------------------------------------------------------- threads and cuts


def _make_sums_inexact(call):
    """Change the numbers such that the order of a sum shows in its last bits."""
    for a in call.arrays.values():
        if a.dtype.kind == "f":
            a *= a.dtype.type(np.pi)


def test_same_bits_for_any_number_of_threads(kernel, dtype, call, agree, threads):
    large = call(kernel, dtype, 400)  # enough for every kernel to use its threads
    _make_sums_inexact(large)
    threads(1)
    expected = large()
    for n in (2, 3):
        threads(n)
        agree(large(), expected)


@pytest.mark.parametrize("name", CUTTABLE)
def test_same_bits_for_any_cut_of_the_batch(name, call, agree):
    whole = call(name, np.float32, 6)
    _make_sums_inexact(whole)
    pieces = []
    for start, stop in ((0, 1), (1, 3), (3, 6)):
        changes = {
            name: a[start * len(a) // 6 : stop * len(a) // 6]
            for name, a in whole.arrays.items()
            if name in PER_IMAGE
        }
        if "input_shape" in whole.config:
            changes["input_shape"] = (stop - start, *whole.config["input_shape"][1:])
        pieces.append(whole(**changes))
    expected = whole()
    if isinstance(expected, tuple):
        agree(tuple(map(np.concatenate, zip(*pieces, strict=True))), expected)
    else:
        agree(np.concatenate(pieces), expected)


def test_empty_batch(kernel, dtype, call, agree):
    empty = call(kernel, dtype, 0)
    agree(empty(), empty.reference())


# ------------------------------------------------------------------------------------ guard pages


class Guarded:
    """Arrays whose first or last byte lies beside a page that must not be touched."""

    def __init__(self, at_end):
        self.at_end = at_end
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def empty(self, shape, dtype=float):
        page, dtype = mmap.PAGESIZE, np.dtype(dtype)
        count = int(np.prod(shape))
        inside = -(-max(count * dtype.itemsize, 1) // page) * page
        memory = mmap.mmap(-1, inside + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for guard in (start, start + page + inside):
            assert self.libc.mprotect(guard, page, 0) == 0
        offset = page + (inside - count * dtype.itemsize if self.at_end else 0)
        return np.frombuffer(memory, dtype, count, offset).reshape(shape)

    def copy(self, a):
        guarded = self.empty(a.shape, a.dtype)
        guarded[...] = a
        return guarded


needs_mprotect = pytest.mark.skipif(sys.platform == "win32", reason="mprotect is POSIX")


@needs_mprotect
@pytest.mark.parametrize("at_end", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("N", [1, 2])
def test_no_access_outside_an_array(kernel, dtype, N, at_end, call, agree, monkeypatch):
    plain, guarded = call(kernel, dtype, N), Guarded(at_end)
    expected = plain()
    compiled = [module for name, module in sys.modules.items() if name.startswith("minigrad_ext.")]
    for module in compiled:
        if hasattr(module, "new_array"):
            monkeypatch.setattr(module, "new_array", guarded.empty)
    for way in "blas", "direct":
        with minigrad_ext.kernels(way):
            agree(plain(**{name: guarded.copy(a) for name, a in plain.arrays.items()}), expected)


@needs_mprotect
@pytest.mark.parametrize(("at_end", "place"), [(True, 3), (False, -1)], ids=["after", "before"])
def test_guard_pages_do_guard(at_end, place):
    program = f"""
        import ctypes
        from test_layouts import Guarded
        a = Guarded({at_end}).empty(3, "float32")
        a[0] = a[2] = 1
        ctypes.c_float.from_address(a.ctypes.data + 4 * {place}).value
    """
    child = _run(program)
    assert child.returncode < 0, child  # killed by a signal


# ------------------------------------------------------------------------------------------- fork


def _run(program):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONPATH": str(Path(minigrad_ext.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_runs_every_kernel():
    child = _run(
        """
        import os, sys, warnings
        import numpy as np
        import minigrad_ext
        from conftest import KERNELS, assert_agree, make_call
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the point here
        minigrad_ext.set_num_threads(2)
        calls = [make_call(kernel, np.float32, 80) for kernel in KERNELS]
        expected = [call() for call in calls]
        pid = os.fork()
        if pid == 0:
            assert minigrad_ext.get_num_threads() == 1
            for call, result in zip(calls, expected):
                assert_agree(call(), result)
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert child.returncode == 0, child.stderr


# ------------------------------------------------------------------------------------------- seam


def test_seam_twin_and_kernel_have_the_same_parameters(kernel):
    public = inspect.signature(getattr(minigrad_ext, kernel)).parameters.values()
    for implementation in minigrad_ext._IMPLEMENTATIONS.values():
        other = inspect.signature(getattr(implementation, kernel)).parameters.values()
        assert [(p.name, p.kind) for p in other] == [(p.name, p.kind) for p in public]


def test_stub_declares_everything_with_the_same_parameters():
    stub = ast.parse(Path(minigrad_ext.__file__).with_suffix(".pyi").read_text())
    declared = {node.name: node.args for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert sorted(declared) == minigrad_ext.__all__ == sorted(minigrad_ext.__all__)
    for name in set(declared) & set(vars(minigrad_ext.reference)):
        parameters = inspect.signature(getattr(minigrad_ext, name)).parameters.values()
        assert [(a.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD) for a in declared[name].args] + [
            (a.arg, inspect.Parameter.KEYWORD_ONLY) for a in declared[name].kwonlyargs
        ] == [(p.name, p.kind) for p in parameters]


def test_public_kernels_are_documented_by_their_twins(kernel):
    assert getattr(minigrad_ext, kernel).__doc__ == getattr(minigrad_ext.reference, kernel).__doc__


def test_dial_stands_at_auto_and_is_turned_back():
    assert minigrad_ext.current_kernels() == "auto"
    with pytest.raises(KeyError), minigrad_ext.kernels("reference"):  # noqa: PT012
        with minigrad_ext.kernels("blas"):
            assert minigrad_ext.current_kernels() == "blas"
        assert minigrad_ext.current_kernels() == "reference"
        raise KeyError
    assert minigrad_ext.current_kernels() == "auto"


def test_dial_selects_the_implementation(monkeypatch):
    x = np.ones(3, np.float32)
    monkeypatch.setattr(minigrad_ext.reference, "relu", lambda x: "twin")
    assert isinstance(minigrad_ext.relu(x), np.ndarray)
    with minigrad_ext.kernels("reference"):
        assert minigrad_ext.relu(x) == "twin"


def test_dial_refuses_an_unknown_name():
    with (
        pytest.raises(
            ValueError, match="kernels: name expects one of auto, blas, direct, reference, winograd"
        ),
        minigrad_ext.kernels("fast"),
    ):
        pass
