"""gemm against NumPy's matrix product, and how OpenBLAS is found, loaded and left alone."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

from minigrad_ext import blas, get_num_threads, matmul
from minigrad_ext import config as public_config

SHAPES = [(1, 1, 1), (3, 5, 7), (17, 1, 33), (1, 64, 9), (64, 96, 49), (130, 70, 515)]
EMPTY = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)]


def run(program: str, **variables: str) -> list[str]:
    """Run a program in a new Python, with these environment variables, and return what it prints.

    A variable set to "" is removed.
    """
    environment = {k: v for k, v in (os.environ | variables).items() if v != ""}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def operands(sixteenths, dtype):
    """a and b of op(a) @ op(b), stored as the transpositions say, and some c to add to."""

    def make(M, N, K, a_transposed, b_transposed):
        a = sixteenths(*((K, M) if a_transposed else (M, K)), dtype=dtype)
        b = sixteenths(*((N, K) if b_transposed else (K, N)), dtype=dtype)
        return a, b, sixteenths(M, N, dtype=dtype)

    return make


@pytest.mark.parametrize("b_transposed", [False, True], ids=["b", "b'"])
@pytest.mark.parametrize("a_transposed", [False, True], ids=["a", "a'"])
@pytest.mark.parametrize(("alpha", "beta"), [(1, 0), (1, 1), (0.5, -2), (0, 1), (0, 0)])
@pytest.mark.parametrize("shape", [*SHAPES, *EMPTY], ids=str)
def test_gemm_is_its_formula(operands, shape, alpha, beta, a_transposed, b_transposed):
    M, N, K = shape
    a, b, c = operands(M, N, K, a_transposed, b_transposed)
    expected = alpha * (a.T if a_transposed else a) @ (b.T if b_transposed else b) + beta * c
    blas.gemm_arrays(alpha, a, b, beta, c, a_transposed=a_transposed, b_transposed=b_transposed)
    # Sixteenths: their products and sums are exact, in any order.
    np.testing.assert_array_equal(c, expected, strict=True)


def test_gemm_with_beta_0_overwrites_whatever_was_there(operands):
    a, b, c = operands(20, 30, 40, a_transposed=False, b_transposed=False)
    c[:] = np.nan
    blas.gemm_arrays(1, a, b, 0, c)
    np.testing.assert_array_equal(c, a @ b)


def test_gemm_reads_read_only_arrays(operands):
    a, b, c = operands(4, 5, 6, a_transposed=False, b_transposed=False)
    a.flags.writeable = b.flags.writeable = False
    blas.gemm_arrays(1, a, b, 0, c)
    np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize("wrong", ["a", "b", "c"])
def test_gemm_refuses_shapes_that_do_not_fit(wrong):
    arrays = {"a": np.ones((3, 4)), "b": np.ones((4, 5)), "c": np.ones((3, 5))}
    arrays[wrong] = np.ones((7, 7))
    with pytest.raises(ValueError, match=r"gemm: c expects the shape of op\(a\) @ op\(b\)"):
        blas.gemm_arrays(1, arrays["a"], arrays["b"], 0, arrays["c"])


def test_sizes_beyond_32_bits_are_refused_not_wrapped():
    blas.check_dimensions("gemm", M=0, N=2**31 - 1)
    with pytest.raises(ValueError, match=r"gemm: N expects .* at most 2147483647, got 2147483648"):
        blas.check_dimensions("gemm", M=1, N=2**31)


def test_matmul_checks_the_sizes_it_hands_to_blas():
    # Its second row lies beyond the memory there is: whoever went on to read it would crash.
    apart = np.lib.stride_tricks.as_strided(
        np.ones(2, np.float32), shape=(2, 2), strides=(4 * 2**31, 4)
    )
    with pytest.raises(ValueError, match=r"matmul: row_of_a expects .* got 2147483648"):
        matmul(apart, np.ones((2, 2), np.float32))


# ------------------------------------------------------------------------------------- the library


def test_config_says_what_computes():
    config = blas.config()
    assert config["library"] == "OpenBLAS"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.\d+)*", config["version"])
    assert config["core"]
    assert config["threads"] == str(get_num_threads())
    assert config.items() <= public_config().items()


def test_blas_computes_on_the_calling_thread():
    assert blas._library.scipy_openblas_get_num_threads() == 1


def test_import_leaves_the_process_as_it_was():
    """No package imported on the way, no worker thread started, no environment variable changed."""
    assert run("""
        import os, sys, numpy
        threads = lambda: len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
        before = dict(os.environ), threads()
        import minigrad_ext
        print((dict(os.environ), threads()) == before, "scipy_openblas32" in sys.modules)
    """) == ["True", "False"]


def test_a_library_that_was_loaded_before_is_set_to_one_thread():
    assert run("""
        import scipy_openblas32
        threads = scipy_openblas32.dll.scipy_openblas_get_num_threads
        scipy_openblas32.dll.scipy_openblas_set_num_threads(2)
        print(threads())
        import minigrad_ext
        print(threads())
    """) == ["2", "1"]


@pytest.mark.parametrize(
    ("chosen", "isa", "best", "asked", "better"),
    [
        ("Haswell", "avx512", "avx512", None, "SkylakeX"),
        ("Haswell", "avx2", "avx2", None, None),
        ("Haswell", "avx512", "avx512", "Haswell", None),
        ("SkylakeX", "avx512", "avx512", None, None),
        ("Cooperlake", "avx512", "avx512", None, None),
        ("Zen", "avx2", "avx2", None, None),
        ("SkylakeX", "avx2", "avx512", None, "Haswell"),
        ("SkylakeX", "baseline", "avx512", None, "Nehalem"),
        ("NEOVERSEN1", "neon", "neon", None, None),
    ],
)
def test_better_core(monkeypatch, chosen, isa, best, asked, better):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if asked is not None:
        monkeypatch.setenv("OPENBLAS_CORETYPE", asked)
    assert blas.better_core(chosen, isa, best) == better


avx512 = pytest.mark.skipif(
    blas.config()["core"] not in ("SkylakeX", "Cooperlake", "SapphireRapids"),
    reason="needs a CPU for which OpenBLAS has more than one set of kernels",
)


@avx512
def test_the_users_choice_of_kernels_stands():
    program = "from minigrad_ext import blas; print(blas.config()['core'])"
    assert run(program, OPENBLAS_CORETYPE="Haswell") == ["Haswell"]


@avx512
def test_a_poor_choice_of_openblas_is_mended(tmp_path, monkeypatch):
    """With a copy of the library, whose first choice is made a poor one."""
    copy = tmp_path / Path(blas.find_library()).name
    shutil.copy(blas.find_library(), copy)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    variables = iter([{"OPENBLAS_CORETYPE": "Haswell"}, {}])
    open_library = blas.open_library
    monkeypatch.setattr(blas, "find_library", lambda: str(copy))
    monkeypatch.setattr(
        blas, "open_library", lambda path, **asked: open_library(path, **(asked | next(variables)))
    )
    assert blas.core_name(blas.load_library()) == "SkylakeX"
    assert next(variables, None) is None  # it was loaded twice
    assert "OPENBLAS_CORETYPE" not in os.environ


def test_environment_is_restored(monkeypatch):
    monkeypatch.setenv("MINIGRAD_TEST_A", "before")
    monkeypatch.delenv("MINIGRAD_TEST_B", raising=False)
    inside = blas.environment(MINIGRAD_TEST_A="1", MINIGRAD_TEST_B="2")
    inside.__enter__()
    assert (os.environ["MINIGRAD_TEST_A"], os.environ["MINIGRAD_TEST_B"]) == ("1", "2")
    assert not inside.__exit__(OSError, OSError("broken"), None)
    assert os.environ["MINIGRAD_TEST_A"] == "before"
    assert "MINIGRAD_TEST_B" not in os.environ


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (False, r"scipy-openblas32 package, which is not installed; run `pip install"),
        (True, r"which holds none; run `pip install --force-reinstall scipy-openblas32`"),
    ],
    ids=["no package", "no library in it"],
)
def test_a_missing_library_is_a_clear_import_error(monkeypatch, tmp_path, found, message):
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)]) if found else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ImportError, match=message):
        blas.find_library()
