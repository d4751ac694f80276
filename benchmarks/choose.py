"""Which way to compute a 3x3 convolution is fastest, and does `auto` choose it?

    python -m benchmarks.choose [--threads 1] [--images 32] [--iterations 5]

Times of one training step of a convolution (forward and both gradients) by matrix products of
gathered windows ("blas"), by register tiles ("direct") and by Winograd, taken in turn; medians.
`winograd_pays` in minigrad_ext/choice.py is fitted to this table. The last column tells what
it loses against the best: 1.00 is nothing.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
import minigrad_ext as ext

SIZES = [4, 5, 7, 14, 28]
CHANNELS = [(1, 32), (3, 32), (8, 8), (10, 20), (16, 16), (32, 32), (48, 100), (64, 64), (256, 256)]
WAYS = ["blas", "direct", "winograd"]


def training_step(shape: tuple[int, int, int, int]) -> Callable[[str], None]:
    """Make a convolution of (images, size, C_in, C_out), as a function of the way to compute it."""
    N, H, C_in, C_out = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, H, H, C_in), dtype=np.float32)
    w = rng.standard_normal((3, 3, C_in, C_out), dtype=np.float32)
    g = rng.standard_normal((N, H, H, C_out), dtype=np.float32)
    geometry: dict[str, Any] = {
        "stride": (1, 1),
        "padding": ((1, 1),) * 2,
        "dilation": (1, 1),
        "groups": 1,
    }

    def run(way: Any) -> None:
        with mg.kernels(way):
            ext.conv2d(x, w, None, **geometry, relu=False)
            ext.conv2d_input_grad(g, w, input_shape=x.shape, **geometry)
            ext.conv2d_weight_grad(g, x, weight_shape=w.shape, **geometry)

    return run


def seconds(run: Callable[[], None]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print one row for each size and number of channels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=5)
    args = parser.parse_args()
    mg.set_num_threads(args.threads)
    print(f"{args.threads} threads, {args.images} images, {ext.config()}")
    print(f"{'size':>8} {'channels':>9}", *(f"{way + ' ms':>12}" for way in WAYS), "  auto / best")
    for H, (C_in, C_out) in itertools.product(SIZES, CHANNELS):
        run = training_step((args.images, H, C_in, C_out))
        runs = [partial(run, way) for way in [*WAYS, "auto"]]
        times = [[seconds(one) for one in runs] for _ in range(args.iterations + 1)][1:]
        *ways, auto = (statistics.median(t) * 1e3 for t in zip(*times, strict=True))
        columns = " ".join(f"{t:12.3f}" for t in ways)
        print(f"{f'{H} x {H}':>8} {f'{C_in}->{C_out}':>9} {columns} {auto / min(ways):13.2f}")


if __name__ == "__main__":
    main()
