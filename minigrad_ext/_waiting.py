"""How long threads look for work before they sleep: decided when the OpenMP runtime is loaded.

GCC's runtime looks 300,000 times by default. On a busy machine a thread then holds the core that
the one it waits for needs, for whole time slices: with two cores and two other busy processes, a
training step of NiN took 1,290 ms. With few looks a thread falls asleep in the 10 to 50 µs of
Python between two kernels, and waking it takes as long. Medians of ten steps, ms (AMD Zen 4, two
cores):

    looks                      1,000    5,000   20,000  100,000
    NiN, idle machine             62       61       59       59
    bottleneck, idle machine      47       42       43       43
    NiN, one busy process        113      135      180
    NiN, two busy processes      139      180      189      439
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def briefly() -> Iterator[None]:
    """Load compiled modules inside. What the user has set wins, and nothing stays set."""
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "5000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]
