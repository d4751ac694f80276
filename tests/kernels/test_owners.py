"""Memory that goes from one thread's part of an array to another's is cleared, nothing else is."""

import platform
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import numpy as np
import minigrad as mg
import minigrad_ext as ext
from minigrad_ext import owners
MB = 2**20
def array(bytes):
    return ext.new_array((bytes // 4,), np.float32)
"""

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="stores past the caches are for x86 only"
)


def succeed(program):
    """Run a program in a process of its own, whose pool is empty."""
    command = [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@x86
def test_what_another_thread_wrote_is_cleared():
    succeed("""
        mg.set_num_threads(2)
        large = array(4 * MB)
        large[:] = 1
        del large
        owners.pretend(10)
        first, second = array(2 * MB), array(2 * MB)  # in the first thread's half, and the second's
        here, there = first.reshape(2, -1), second.reshape(2, -1)
        assert (here[0] == 1).all() and (here[1] == 0).all()
        assert (there[0] == 0).all() and (there[1] == 1).all()
    """)


@pytest.mark.parametrize(("threads", "size"), [(1, "2 * MB"), (2, "4 * MB")])
def test_nothing_is_cleared_where_no_thread_changes(threads, size):
    succeed(f"""
        mg.set_num_threads({threads})
        before = array(4 * MB)
        before[:] = 1
        del before
        owners.pretend(10)
        assert (array({size}) == 1).all()
    """)


def test_neighbours_keep_their_numbers():
    succeed("""
        random = np.random.default_rng(0)
        owners.pretend(10**6)
        lent = []
        for i in range(3000):
            mg.set_num_threads(int(random.integers(1, 4)))
            new = array(int(random.integers(260_000, 3_000_000)))
            new[:] = i
            lent.append((i, new))
            if len(lent) > 8:
                number, old = lent.pop(int(random.integers(8)))
                assert (old == number).all()
                del old, new
    """)
