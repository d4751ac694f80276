"""How long threads look for work before they sleep: decided when the OpenMP runtime is loaded.

GCC's runtime looks 300,000 times by default. On a busy machine a thread then holds the core that
the one it waits for needs, for whole time slices: with two cores and two other busy processes, a
training step of NiN took 1,290 ms, and 150 ms with 1,000 looks. On an idle machine it makes no
difference (AMD Zen 4, medians of ten steps).
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
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]
