"""The number of threads: its default, its limits, a forked child, and that results ignore it."""

import os
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

import minigrad_ext as ext
from minigrad_ext import _waiting

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

# Sizes at which several threads are at work, on several tiles of every image.
CONVOLUTIONS = {
    "1x1": ((8, 28, 28, 64), (1, 1, 64, 32), 1, 0, 1),
    "1x1, few pixels": ((8, 7, 7, 512), (1, 1, 512, 128), 1, 0, 1),
    "3x3": ((8, 28, 28, 32), (3, 3, 32, 32), 1, 1, 1),
    "3x3, stride 2": ((4, 28, 28, 64), (3, 3, 64, 64), 2, 1, 1),
    "5x5, odd sizes": ((3, 27, 27, 33), (5, 5, 33, 65), 1, 2, 1),
    "groups": ((8, 14, 14, 64), (3, 3, 16, 64), 1, 1, 4),
    "depthwise": ((8, 28, 28, 64), (3, 3, 1, 64), 1, 1, 64),
}


def run(program: str, **variables: str) -> list[str]:
    environment = os.environ | {"OMP_NUM_THREADS": ""} | variables
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# -------------------------------------------------------------------------------------- the number


def test_set_num_threads_is_got_back(threads):
    threads(3)
    assert ext.get_num_threads() == 3


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_thread_is_refused(threads, n):
    threads(2)
    with pytest.raises(ValueError, match=rf"set_num_threads: n expects an int >= 1, got {n}"):
        threads(n)
    assert ext.get_num_threads() == 2


@pytest.mark.parametrize("n", ["2", 1.5, None])
def test_a_number_of_threads_is_an_int(threads, n):
    with pytest.raises(TypeError):
        threads(n)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("3", 3), ("5,2", 5), (" 4 ", 4), ("", None), ("0", None), ("many", None)],
)
def test_default_is_omp_num_threads_or_the_cpus_of_this_process(variable, expected):
    got = run(
        "import minigrad_ext; print(minigrad_ext.get_num_threads())", OMP_NUM_THREADS=variable
    )
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(got[0]) == (expected or cpus)


@linux
def test_default_counts_the_cpus_that_this_process_may_use():
    program = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import minigrad_ext
        print(minigrad_ext.get_num_threads())
    """
    assert run(program) == ["1"]


@linux
def test_kernels_start_as_many_threads_as_they_may_and_blas_none():
    program = """
        import os
        import numpy as np
        import minigrad_ext as ext
        running = lambda: len(os.listdir("/proc/self/task"))
        x, before = np.ones((512, 512), np.float32), running()
        for n in 1, 3:
            ext.set_num_threads(n)
            ext.matmul(x, x)
            print(running() - before)
    """
    one, three = run(program)
    assert one == "0"
    assert three in ("2", "0")  # 0: built by a compiler without OpenMP


# ------------------------------------------------------------------------- the same bits and memory


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def convolution(request, dtype):
    """A function of some images and their gradients, and these."""
    x_shape, w_shape, stride, margin, groups = request.param
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype)
    config = {
        "stride": (stride, stride), "padding": ((margin, margin),) * 2, "dilation": (1, 1),
        "groups": groups,
    }  # fmt: skip
    y = ext.conv2d(x, w, None, relu=False, **config)
    g = rng.standard_normal(y.shape).astype(dtype)

    def run(x, g):
        return (
            ext.conv2d(x, w, w[0, 0, 0], relu=True, **config),
            ext.conv2d_input_grad(g, w, input_shape=x.shape, **config),
            ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **config),
        )

    return run, x, g


def test_convolution_has_the_same_bits_on_any_number_of_threads(convolution, threads):
    run, x, g = convolution
    threads(1)
    alone = [a.tobytes() for a in run(x, g)]
    for n in 2, 3:
        threads(n)
        assert [a.tobytes() for a in run(x, g)] == alone


def test_convolution_has_the_same_bits_for_any_cut_of_the_batch(convolution):
    run, x, g = convolution
    whole = run(x, g)[:2]  # the weight gradient is a sum over the batch
    for cuts in [1], [2], range(1, len(x)):
        parts = zip(np.split(x, cuts), np.split(g, cuts), strict=True)
        pieces = zip(*(run(*part)[:2] for part in parts), strict=True)
        assert [np.concatenate(p).tobytes() for p in pieces] == [a.tobytes() for a in whole]


def test_matmul_has_the_same_bits_on_any_number_of_threads(threads, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((700, 200)).astype(dtype), rng.standard_normal((200, 900))
    threads(1)
    alone = ext.matmul(a, b.astype(dtype)).tobytes()
    for n in 2, 3:
        threads(n)
        assert ext.matmul(a, b.astype(dtype)).tobytes() == alone


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 3)], ids=str)
def test_scratch_does_not_grow_with_the_batch(threads, kernel_size):
    threads(2)
    w = np.ones((*kernel_size, 32, 32), np.float32)
    padding = tuple((k // 2, k // 2) for k in kernel_size)
    config = {"stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1}

    def scratch(call):
        tracemalloc.start()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak - result.nbytes

    def all_scratch(N):
        x = np.ones((N, 28, 28, 32), np.float32)
        return [
            scratch(lambda: ext.conv2d(x, w, None, relu=False, **config)),
            scratch(lambda: ext.conv2d_input_grad(x, w, input_shape=x.shape, **config)),
            scratch(lambda: ext.conv2d_weight_grad(x, x, weight_shape=w.shape, **config)),
        ]

    few, many = all_scratch(16), all_scratch(64)
    # Some Python objects apart; 48 images more take 5 MB each way.
    assert np.allclose(few, many, atol=20_000)
    assert max(many) < 2 * 2**20


# ------------------------------------------------------------------------------------------- forks


@fork
def test_a_forked_child_computes_on_one_thread():
    """After kernels ran here on several threads, which the child does not have.

    Where it waits for them, its alarm ends it, and its status is not 0.
    """
    program = """
        import os, signal
        import numpy as np
        import minigrad_ext as ext
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal((16, 28, 28, 32)), rng.standard_normal((3, 3, 32, 32))
        config = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
        def run():
            y = ext.conv2d(x, w, None, relu=True, **config)
            dx = ext.conv2d_input_grad(y, w, input_shape=x.shape, **config)
            dw = ext.conv2d_weight_grad(y, x, weight_shape=w.shape, **config)
            return [a.tobytes() for a in (y, dx, dw, ext.matmul(x[0, 0], x[0, 0].T))]
        ext.set_num_threads(3)
        before = run()
        for _ in range(2):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                right = run() == before and ext.get_num_threads() == 1
                ext.set_num_threads(3)  # no help: the threads are not there
                right = right and run() == before and ext.get_num_threads() == 1
                os._exit(0 if right else 1)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(run() == before, ext.get_num_threads())
    """
    assert run(program) == ["0"] * 2 + ["True", "3"]


@pytest.mark.parametrize("theirs", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_how_long_threads_wait_is_set_for_loading_alone(monkeypatch, theirs):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    inside = theirs or {"GOMP_SPINCOUNT": "5000"}
    with _waiting.briefly():
        assert os.environ.items() >= inside.items()
    assert dict(os.environ) == before


def test_the_environment_is_restored_when_loading_fails(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with pytest.raises(ImportError), _waiting.briefly():
        raise ImportError
    assert "GOMP_SPINCOUNT" not in os.environ
