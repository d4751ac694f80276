"""How near do convolutions come to the machine's matrix product?

    python -m benchmarks.convolutions [--threads 2] [--iterations 9]

The peer is sgemm on 2048 x 2048 matrices, by the same library on the same number of threads, taken
in turn with each convolution. The ratio is that of their FLOP rates, by the median times; the
convolution's FLOPs are those of its definition, 2 N OH OW C_out C_in k^2.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import minigrad as mg
import minigrad_ext as ext

# (kernel, N, H = W, C_in, C_out)
SHAPES = [
    (1, 32, 56, 256, 64),
    (1, 64, 28, 64, 32),
    (1, 64, 28, 64, 256),
    (1, 64, 7, 512, 128),
    (1, 64, 8, 256, 64),
    (1, 128, 28, 32, 32),
    (1, 128, 14, 64, 64),
    (1, 128, 28, 16, 16),
    (3, 32, 56, 64, 64),
    (3, 64, 28, 32, 32),
    (3, 64, 28, 1, 32),
    (3, 128, 14, 64, 64),
    (3, 64, 8, 64, 64),
    (3, 128, 28, 16, 16),
    (3, 16, 28, 256, 256),
    (3, 128, 7, 64, 64),
]


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Print one row for each shape."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=mg.get_num_threads())
    parser.add_argument("--iterations", type=int, default=9)
    args = parser.parse_args()
    mg.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2048, 2048), dtype=np.float32)
    print(f"{args.threads} threads, {ext.config()}")
    print(f"{'convolution':>28} {'ms':>8} {'GFLOP/s':>8} {'sgemm':>8} {'ratio':>6}")
    for k, N, H, C_in, C_out in SHAPES:
        x = rng.standard_normal((N, H, H, C_in), dtype=np.float32)
        w = rng.standard_normal((k, k, C_in, C_out), dtype=np.float32)
        pad = ((k // 2, k // 2),) * 2
        geometry = {"stride": (1, 1), "padding": pad, "dilation": (1, 1), "groups": 1}

        def convolve(x=x, w=w, geometry=geometry) -> object:  # type: ignore[no-untyped-def]
            return ext.conv2d(x, w, None, **geometry, relu=False)

        convolve()
        pairs = [
            (seconds(convolve), seconds(lambda: ext.matmul(a, a))) for _ in range(args.iterations)
        ]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        rate, peer = 2e-9 * N * H * H * C_in * C_out * k * k / ours, 2e-9 * 2048**3 / theirs
        name = f"{k}x{k} {N}x{H}x{H} {C_in}->{C_out}"
        print(f"{name:>28} {ours * 1e3:8.2f} {rate:8.0f} {peer:8.0f} {rate / peer:6.2f}")


if __name__ == "__main__":
    main()
