"""The number of threads of every parallel loop, and what becomes of it in a forked child.

OpenMP's worker threads do not survive ``fork``, and GCC's libgomp waits for them forever. So a
child that was forked runs every kernel on the thread that calls it.
"""

import operator
import os

# Read by kernels without the GIL. Two ints and no lock: a kernel that starts while another
# thread changes them uses the old or the new number, and the results are the same bits anyway.
cdef int requested = 1
cdef bint forked = False


cdef int thread_count() noexcept nogil:
    return 1 if forked else requested


def set_num_threads(n):
    """Let every kernel use up to n threads; the results do not depend on n, only the time does.

    Raises:
        ValueError: n is less than 1.
        TypeError: n is not an int.
    """
    global requested
    count = operator.index(n)  # not what C would make of 1.5
    if count < 1:
        raise ValueError(
            f"set_num_threads: n expects an int >= 1, got {count}; use 1 to run serially"
        )
    requested = count


def get_num_threads():
    """Return the number of threads that kernels use: 1 in a forked child, see set_num_threads."""
    return thread_count()


def default_num_threads():
    """Return OMP_NUM_THREADS if it is set to a number, else how many CPUs this process may use."""
    # OMP_NUM_THREADS may be a list, one number for each level of nesting; ours is the outermost.
    outermost = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if outermost.isdecimal() and int(outermost) >= 1:
        return int(outermost)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _after_fork():
    global forked
    forked = True


set_num_threads(default_num_threads())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
