"""Memory for results: lent again when it comes back, to one array at a time, and within bounds."""

import functools
import os
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import numpy as np
import pytest

import minigrad as mg
import minigrad_ext as ext

SHAPE = (100, 1000)  # of float32: 400 kB
PRELUDE = """
import contextlib, gc, os, sys
import numpy as np
import minigrad as mg
import minigrad_ext as ext
from minigrad_ext.allocator import held
MB = 2**20
def arrays(n, megabytes=1):
    return [ext.new_array((int(megabytes * MB) // 4,), np.float32) for _ in range(n)]
@contextlib.contextmanager
def collector_after(allocations):
    pairs = [(i, i) for i in range(3000)]  # so that Python keeps no old ones for new ones
    gc.set_threshold(gc.get_count()[0] + allocations, 10**6, 10**6)
    yield
    gc.set_threshold(10**6)
    gc.collect()
"""


def run(program, **variables):
    """Run a program in a process of its own, whose pool is empty."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def succeed(program, **variables):
    done = run(program, **variables)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def address(array):
    return array.ctypes.data


# -------------------------------------------------------------------------------------- the arrays


@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "i4"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 10**6), (7,), SHAPE, (3, 70001)], ids=str)
def test_it_is_a_plain_array_that_can_be_written(shape, kind):
    array = ext.new_array(shape, kind)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, np.dtype(kind))
    assert array.flags.carray
    array[...] = 3
    assert (array == 3).all()
    if array.size > 10**4:
        assert address(array) % 64 == 0


def test_memory_is_lent_again():
    program = """
        a, b = arrays(2)
        came_back = {a.ctypes.data, b.ctypes.data}
        del a, b
        assert {array.ctypes.data for array in arrays(2)} == came_back
    """
    succeed(program)


def test_neighbours_are_joined_and_what_is_too_large_is_cut():
    program = """
        a, b, c, d = arrays(4)
        start = a.ctypes.data
        del c, a, b  # b joins what is on both sides
        three, = arrays(1, megabytes=3)
        assert three.ctypes.data == start
        del three
        parts = arrays(12, megabytes=0.25)
        assert {part.ctypes.data for part in parts} == set(range(start, start + 3 * MB, MB // 4))
        assert held() == (4 * MB, 0)
        del parts, d
        assert arrays(1, megabytes=60)[0].ctypes.data == start
    """
    succeed(program)


def test_the_smallest_that_fits_is_lent():
    program = """
        a, wall, b, wall_2 = (arrays(1, megabytes=n)[0] for n in (3, 1, 2, 1))
        place = b.ctypes.data
        del a, b
        assert arrays(1, megabytes=2)[0].ctypes.data == place
    """
    succeed(program)


def test_an_array_lies_where_the_last_of_its_size_lay():
    succeed("""
        first, second, small, large = *arrays(2), *arrays(1, megabytes=0.5), *arrays(1, megabytes=3)
        places = [a.ctypes.data for a in (small, large, second)]
        del first, large, small, second
        again = [*arrays(1, megabytes=0.5), *arrays(1, megabytes=3), *arrays(1)]
        assert [a.ctypes.data for a in again] == places, (places, again)
    """)


def test_large_arrays_of_250_mb_lie_side_by_side():
    succeed("""
        a, b, c, d, e = arrays(5, megabytes=50)
        start = a.ctypes.data
        del a, b, c, d, e
        assert arrays(1, megabytes=250)[0].ctypes.data == start
    """)


def test_small_arrays_do_not_lie_between_large_ones():
    succeed("""
        pairs = [(*arrays(1), *arrays(1, megabytes=0.125)) for _ in range(4)]
        places = [large.ctypes.data for large, _ in pairs]
        assert places == list(range(places[0], places[0] + 4 * MB, MB))
        kept = [small for _, small in pairs]
        del pairs
        assert arrays(1, megabytes=4)[0].ctypes.data == places[0]
    """)


def test_training_touches_little_more_than_it_needs_at_once():
    succeed("""
        import tracemalloc
        import minigrad.functional as F
        from minigrad import models
        model, x, y = models.nin(), np.ones((128, 28, 28, 1), np.float32), np.zeros(128, np.int64)
        mg.set_num_threads(2)
        tracemalloc.start()
        for step in range(6):
            F.cross_entropy(model(mg.Tensor(x)), y).backward()
            model.zero_grad()
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < sum(held()) < 1.1 * peak, (peak, held())
    """)


def test_memory_is_not_lent_while_a_view_of_it_lives():
    array = ext.new_array(SHAPE, np.float32)
    array[...] = 1
    view = array[::2, 5:].T
    del array
    other = ext.new_array(SHAPE, np.float32)
    other[...] = 2
    assert (view == 1).all()


def test_a_finalizer_may_compute_while_memory_is_lent():
    succeed("""
        class Last:
            def __del__(self):
                found.append(arrays(1)[0])
        for allocations in range(40):
            found = []
            cycle = [Last()]
            cycle.append(cycle)
            del cycle
            with collector_after(allocations):
                (lent,) = arrays(1)
            assert found[0].ctypes.data != lent.ctypes.data, allocations
            del lent
    """)


def test_garbage_that_is_found_while_memory_is_lent_does_no_harm():
    """Up to Python 3.11 any new tuple may start the collector, and so give back neighbours."""
    program = """
        for allocations in range(40):
            a, b, c, wall = arrays(4)
            own = a.ctypes.data
            cycle = [a, c]
            cycle.append(cycle)
            del a, b, c, cycle
            with collector_after(allocations):
                (lent,) = arrays(1)
            others = [wall, *arrays(4)]
            places = {array.ctypes.data for array in [lent, *others]}
            assert len(places) == 6, (allocations, places)
            del lent, others, wall
            mg.empty_cache()
    """
    succeed(program, MINIGRAD_CACHE_MB="1")  # so that neighbours are joined when they come back


def test_a_finalizer_may_empty_the_cache_while_memory_is_lent():
    succeed("""
        class Last:
            def __del__(self):
                mg.empty_cache()
        for allocations in range(40):
            a, b, c, wall = arrays(4)
            del a, b, c  # three that could be one
            cycle = [Last()]
            cycle.append(cycle)
            del cycle
            with collector_after(allocations):
                (lent,) = arrays(1)
            places = {array.ctypes.data for array in [lent, wall, *arrays(4)]}
            assert len(places) == 6, (allocations, places)
            del lent, wall
            mg.empty_cache()
            assert held() == (0, 0)
    """)


def test_results_of_kernels_are_lent_memory():
    x = np.ones((4, 28, 28, 64), np.float32)
    y = ext.relu(x)
    was = address(y)
    del y
    assert address(ext.relu(x)) == was


def test_what_came_from_the_pool_may_be_changed_in_place():
    pool = functools.partial(mg.functional.avg_pool2d, kernel_size=1)
    x = mg.Tensor(np.ones((4, 28, 28, 64), np.float32), requires_grad=True)
    for y in pool(x), mg.checkpoint(pool, x):
        y *= 2
        y.sum().backward()
    assert (x.grad.data == 4).all()


# --------------------------------------------------------------------------------------- the bounds


def test_no_more_is_held_than_was_lent_at_once_and_a_quarter():
    program = """
        a = arrays(10, megabytes=10)
        del a
        assert held() == (0, 100 * MB)
        b = arrays(2, megabytes=70)  # fits none of what is kept
        del b
        lent, kept = held()
        assert lent == 0 and 140 * MB <= kept <= 140 * MB * 5 // 4, held()
    """
    succeed(program)


def test_a_little_more_is_always_kept():
    """Else a network on few images would touch fresh pages again and again."""
    succeed("""
    a, b = arrays(2)
    del a
    c, = arrays(1, 1.5)  # which does not fit where a lay
    del c
    assert held() == (MB, 2.5 * MB), held()
    """)


def test_a_high_point_long_ago_counts_no_more():
    program = """
        a = arrays(150)
        del a
        assert held() == (0, 150 * MB)
        for _ in range(2 * 4096):
            arrays(1)
        assert held()[1] <= MB * 5 // 4, held()
    """
    succeed(program)


def test_no_more_is_kept_than_the_limit():
    program = """
        a = arrays(10)
        del a
        assert held()[0] == 0 and held()[1] <= 4 * MB, held()
    """
    succeed(program, MINIGRAD_CACHE_MB="4")


def test_the_cache_can_be_emptied():
    program = """
        from pathlib import Path
        resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        a = arrays(100)
        for array in a:
            array[...] = 1
        del a, array
        if sys.platform == "linux":
            before = resident()
        mg.empty_cache()
        assert held() == (0, 0)
        if sys.platform == "linux":
            assert before - resident() > 90 * MB
        first, *rest = arrays(10)
        del rest
        mg.empty_cache()
        assert held() == (MB, 0)  # though the first lies in the same pages
        first[...] = 1
    """
    succeed(program)


def test_the_pool_can_be_switched_off():
    program = """
        a, = arrays(1)
        assert a.base is None and held() == (0, 0)
    """
    succeed(program, MINIGRAD_CACHE_MB="0")


@pytest.mark.parametrize("bad", ["", "-1", "1.5", "lots"])
def test_a_limit_that_is_no_number_is_refused(bad):
    done = run("", MINIGRAD_CACHE_MB=bad)
    assert (
        f"MINIGRAD_CACHE_MB: expected how many megabytes of freed memory to keep, got {bad!r}"
        in (done.stderr)
    )


@pytest.mark.parametrize(
    "numbers", [2**44, 2**59, 2**62, 2**80], ids=["16TB", "2EB", "wraps", "big"]
)
def test_too_much_is_a_memory_error(numbers):
    with pytest.raises((MemoryError, ValueError)):
        ext.new_array((numbers,), np.float32)
    assert (ext.relu(np.ones(SHAPE, np.float32)) == 1).all()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and RLIMIT_AS are Linux")
def test_with_few_addresses_left_memory_is_kept_until_it_is_in_the_way():
    succeed("""
        import resource
        from pathlib import Path
        size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + 100 * MB,) * 2)
        a = arrays(6, megabytes=10)
        del a
        b, = arrays(1, megabytes=11)
        assert held() == (11 * MB, 60 * MB), held()
        c, = arrays(1, megabytes=60)
        assert held() == (71 * MB, 0), held()
    """)


def test_tracemalloc_sees_what_is_lent():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        array = ext.new_array(SHAPE, np.float32)
        assert 400_000 <= tracemalloc.get_traced_memory()[0] - before < 500_000
        del array
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------- threads, forks, and the end


def test_threads_never_share_memory():
    wrong = []

    def work(number):
        rng = np.random.default_rng(number)
        held = []
        for _ in range(300):
            array = ext.new_array((int(rng.integers(16384, 40000)),), np.float32)
            array[...] = number
            held.append(array)
            if len(held) > 5:
                wrong.extend(a for a in (held.pop(int(rng.integers(5))),) if (a != number).any())

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_has_memory_of_its_own():
    program = """
        a, b = arrays(2)
        a[...] = 1
        del b
        pid = os.fork()
        if pid == 0:
            a[...] = 2
            c, d = arrays(2)
            c[...] = d[...] = 3
            os._exit(int((a != 2).any()))
        assert os.waitpid(pid, 0)[1] == 0
        assert (a == 1).all()
    """
    succeed(program)


def test_arrays_may_outlive_the_interpreter():
    program = """
        class Late:
            def __init__(self):
                self.arrays = arrays(3)
                self.cycle = self
            def __del__(self):
                del self.arrays[0]
        kept, sys.late, ext.late = Late(), Late(), arrays(2)
    """
    succeed(program)
