"""Matrix multiplication by OpenBLAS; the only module that knows about BLAS.

The library is the one in the scipy-openblas32 wheel. It is loaded here at import, and the addresses
of its functions are taken, instead of linking against it: so building needs no BLAS, and a wheel
needs no rpath. It runs every call on the calling thread; what is parallel is minigrad's own loop
over images or rows, so that nothing is oversubscribed and results do not depend on threads.
"""

import _ctypes
import contextlib
import ctypes
import importlib.util
import os

from cython cimport floating
from libc.stdint cimport uintptr_t

from .parallel cimport threads_for

from . import isa
from .threads import get_num_threads

ctypedef void (*sgemm_t)(
    int order, int a_transposed, int b_transposed, int M, int N, int K,
    float alpha, const float* a, int lda, const float* b, int ldb,
    float beta, float* c, int ldc,
) noexcept nogil
ctypedef void (*dgemm_t)(
    int order, int a_transposed, int b_transposed, int M, int N, int K,
    double alpha, const double* a, int lda, const double* b, int ldb,
    double beta, double* c, int ldc,
) noexcept nogil

# The values of CBLAS's enums.
cdef enum:
    ROW_MAJOR = 101
    AS_IT_IS = 111
    TRANSPOSED = 112

# The widest integer that this BLAS takes as a dimension.
MAX_DIMENSION = 2**31 - 1


def find_library() -> str:
    """Return the path of OpenBLAS in the installed scipy-openblas32.

    The package is found without being imported: its import would load the library by itself, with
    as many threads as the machine has CPUs.

    Raises:
        ImportError: scipy-openblas32 is not installed, or holds no shared library.
    """
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "minigrad_ext: expects OpenBLAS from the scipy-openblas32 package, which is not "
            "installed; run `pip install scipy-openblas32`"
        )
    folder = os.path.join(spec.submodule_search_locations[0], "lib")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if "scipy_openblas" in name and name.endswith((".so", ".dylib", ".dll")):
            return os.path.join(folder, name)
    raise ImportError(
        f"minigrad_ext: expects the OpenBLAS library in {folder}, which holds none; run "
        "`pip install --force-reinstall scipy-openblas32`"
    )


@contextlib.contextmanager
def environment(**variables):
    """Set environment variables for the time of a with block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def open_library(path: str, **variables: str) -> ctypes.CDLL:
    """Load OpenBLAS for calls on one thread, with environment variables that it reads just then."""
    with environment(OPENBLAS_NUM_THREADS="1", **variables):
        library = ctypes.CDLL(os.fspath(path))
    # Without effect if we were the first to load this file; else it was loaded with more threads.
    library.scipy_openblas_set_num_threads(1)
    return library


def core_name(library: ctypes.CDLL) -> str:
    """Return the name of the CPU type whose kernels OpenBLAS has chosen."""
    library.scipy_openblas_get_corename.restype = ctypes.c_char_p
    return library.scipy_openblas_get_corename().decode()


# The kernels of OpenBLAS for the instruction sets of isa.pyx.
CORES = {"avx512": "SkylakeX", "avx2": "Haswell", "baseline": "Nehalem"}


def better_core(chosen: str, used: str, best: str) -> str | None:
    """Return the core type to ask for instead of the chosen one, or None if that is right.

    OpenBLAS falls back to Haswell's AVX2 kernels on CPUs that it does not know yet: on a Zen 5,
    138 GFLOP/s of one core where SkylakeX's give 262. And where MINIGRAD_ISA asks for less than
    the best, so do we. The user's own choice is never overruled.
    """
    if "OPENBLAS_CORETYPE" in os.environ:
        return None
    if used != best or (used == "avx512" and chosen == "Haswell"):
        return CORES.get(used)
    return None


def load_library() -> ctypes.CDLL:
    """Load OpenBLAS with the kernels that suit this CPU best."""
    path = find_library()
    library = open_library(path)
    better = better_core(core_name(library), isa.NAME, isa.available()[0])
    if better is not None and hasattr(_ctypes, "dlclose"):
        # The choice is made once, while the library is loaded: load it anew.
        _ctypes.dlclose(library._handle)
        library = open_library(path, OPENBLAS_CORETYPE=better)
    return library


def config() -> dict[str, str]:
    """Return which BLAS library computes, its kernels and ours, and on how many threads."""
    _library.scipy_openblas_get_config.restype = ctypes.c_char_p
    name, version = _library.scipy_openblas_get_config().decode().split()[:2]
    return {
        "library": name,
        "version": version,
        "core": core_name(_library),
        "isa": isa.NAME,
        "threads": str(get_num_threads()),
    }


cdef uintptr_t address(function) except? 0:
    return ctypes.cast(function, ctypes.c_void_p).value


_library = load_library()  # referred to from here on, so never unloaded
cdef sgemm_t sgemm = <sgemm_t> address(_library.scipy_cblas_sgemm)
cdef dgemm_t dgemm = <dgemm_t> address(_library.scipy_cblas_dgemm)

# OpenBLAS multiplies small matrices without packing them first, where it has such kernels: up to
# this many multiplications, a limit of its own. That is worth it with few channels: 98 GFLOP/s
# against 75 for 256 -> 64 of them on a Zen 4, where the biggest matrices reach 106.
cdef Py_ssize_t UNPACKED = (
    1_000_000 if core_name(_library) in ("SkylakeX", "Cooperlake", "SapphireRapids") else 0
)


cdef void gemm(
    bint a_transposed, bint b_transposed,
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
    floating alpha, const floating* a, Py_ssize_t lda,
    const floating* b, Py_ssize_t ldb,
    floating beta, floating* c, Py_ssize_t ldc,
) noexcept nogil:
    """c = alpha op(a) op(b) + beta c, with op(a) of M x K, op(b) of K x N, c of M x N.

    All three are row-major, their rows lda, ldb and ldc elements apart; op is the transpose where
    a_transposed or b_transposed says so. With beta = 0, c may hold anything before. Nothing is
    checked: who calls has every dimension and row distance pass check_dimensions first.
    """
    if M == 0 or N == 0:
        return
    cdef int op_a = TRANSPOSED if a_transposed else AS_IT_IS
    cdef int op_b = TRANSPOSED if b_transposed else AS_IT_IS
    if floating is float:
        sgemm(
            ROW_MAJOR, op_a, op_b, <int> M, <int> N, <int> K,
            alpha, a, <int> lda, b, <int> ldb, beta, c, <int> ldc,
        )
    else:
        dgemm(
            ROW_MAJOR, op_a, op_b, <int> M, <int> N, <int> K,
            alpha, a, <int> lda, b, <int> ldb, beta, c, <int> ldc,
        )


cdef Py_ssize_t preferred_rows(Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """How many rows of a tall (rows, K) @ (K, N) product one call computes fastest, about.

    It depends on N, K and this library alone. A product (N, rows) @ (rows, K), which has the same
    three sizes, is fastest with as many.
    """
    cdef Py_ssize_t unpacked = UNPACKED // max(N * K, 1) // 4 * 4  # kernels compute 4 rows at once
    if unpacked >= 12:
        return min(unpacked, 512)
    return 512


cdef int threads_for_sums(Py_ssize_t sums, Py_ssize_t products) noexcept nogil:
    """How many threads are worth starting for so many sums of so many products each."""
    # 32 products take as long as one number in a plain loop, about. Each sum is such a number, too.
    return threads_for(sums * max(products, 32) // 32)


def check_dimensions(operation: str, **sizes: int) -> None:
    """Check that BLAS, whose integers have 32 bits, can be told each of these sizes.

    Raises:
        ValueError: a size is too big, naming it.
    """
    for name, size in sizes.items():
        if size > MAX_DIMENSION:
            raise ValueError(
                f"{operation}: {name} expects a size that fits BLAS's 32-bit integers, at most "
                f"{MAX_DIMENSION}, got {size}; split the arrays"
            )


def gemm_arrays(
    double alpha, const floating[:, ::1] a, const floating[:, ::1] b,
    double beta, floating[:, ::1] c, *, bint a_transposed=False, bint b_transposed=False,
):
    """Compute c = alpha op(a) op(b) + beta c in place, for tests of gemm.

    Raises:
        ValueError: the shapes do not fit each other, or exceed 32 bits.
    """
    cdef Py_ssize_t M = a.shape[a_transposed], K = a.shape[not a_transposed]
    cdef Py_ssize_t N = b.shape[not b_transposed]
    if b.shape[b_transposed] != K or c.shape[0] != M or c.shape[1] != N:
        raise ValueError(
            f"gemm: c expects the shape of op(a) @ op(b), got op(a) {(M, K)}, "
            f"op(b) {(b.shape[b_transposed], N)}, c {(c.shape[0], c.shape[1])}; check the "
            "transpositions"
        )
    check_dimensions("gemm", M=M, N=N, K=K)
    if M == 0 or N == 0:
        return
    # A pointer to an array without elements is never followed, but must not be taken either.
    gemm(
        a_transposed, b_transposed, M, N, K,
        <floating> alpha, &a[0, 0] if K else NULL, max(a.shape[1], 1),
        &b[0, 0] if K else NULL, max(b.shape[1], 1),
        <floating> beta, &c[0, 0], N,
    )
