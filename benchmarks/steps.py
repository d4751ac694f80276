"""One convolution, from loops in Python to Winograd: what does each step gain?

    python -m benchmarks.steps

64 images of 28 x 28 pixels, 32 channels to 32: forward with a 1x1 and a 3x3 kernel, and the
gradient of the 3x3 weights. Then pairs that differ in memory, fusion or threads alone.
docs/kernels.md explains the steps.

GFLOP/s count the definition, 2 FLOPs for each of its products, so Winograd's are more than the
machine computes. All cases take turns, each in a process with an environment of its own. Loops in
Python are timed on one image of 14 x 14 pixels, 8 channels to 8; their time is multiplied.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.pool import Pool
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import minigrad_ext as ext
from benchmarks.harness import options, results
from benchmarks.harness.contest import TURN, contest
from minigrad_ext import isa

Array = NDArray[Any]
Work = Callable[[], Any]
Environment = tuple[tuple[str, str], ...]

SIZES = 64, 28, 32  # images, height and width, channels
TINY = 1, 14, 8  # for loops in Python
COLUMNS = {("forward", 1): "1x1", ("forward", 3): "3x3", ("weight_grad", 3): "3x3 weights"}


class Case(NamedTuple):
    """What is timed."""

    name: str
    work: str  # a function of WORKS
    kernel: int
    dial: Any = "auto"
    environment: Environment = ()  # of the process that it runs in
    sizes: tuple[int, int, int] = SIZES


class Arrays:
    """Those of a convolution that keeps the size of the image, and its geometry."""

    def __init__(self, kernel: int, images: int, size: int, channels: int) -> None:
        rng = np.random.default_rng(0)
        image, weights = (images, size, size, channels), (kernel, kernel, channels, channels)
        self.x, self.g, self.w, self.b = (
            rng.standard_normal(shape, dtype=np.float32)
            for shape in (image, image, weights, channels)
        )
        padding = ((kernel // 2, kernel // 2),) * 2
        self.geometry: dict[str, Any] = {
            "stride": (1, 1), "padding": padding, "dilation": (1, 1), "groups": 1
        }  # fmt: skip

    def conv2d(self, relu: bool = False) -> Array:
        """The convolution, as the dial says."""
        return ext.conv2d(self.x, self.w, self.b, **self.geometry, relu=relu)


# -------------------------------------------------------------------------------------------- work


def loops(a: Arrays) -> Work:
    """The definition."""
    x, w, b = a.x.tolist(), a.w.tolist(), a.b.tolist()
    (N, H, W, C_in), (kh, kw, _, C_out) = a.x.shape, a.w.shape

    def output(n: int, i: int, j: int, o: int) -> float:
        y: float = b[o]
        for u in range(kh):
            for v in range(kw):
                h, k = i + u - kh // 2, j + v - kw // 2
                if 0 <= h < H and 0 <= k < W:
                    for c in range(C_in):
                        y += x[n][h][k][c] * w[u][v][c][o]
        return y

    places = list(itertools.product(range(N), range(H), range(W), range(C_out)))
    return lambda: [output(*place) for place in places]


def forward(a: Arrays) -> Work:
    """The convolution."""
    return a.conv2d


def weight_grad(a: Arrays) -> Work:
    """The gradient of its weights."""
    return lambda: ext.conv2d_weight_grad(a.g, a.x, weight_shape=a.w.shape, **a.geometry)


def layers(a: Arrays) -> Work:
    """Sixteen times, keeping all results, as a network in training does."""
    return lambda: [a.conv2d() for _ in range(16)]


def relu_apart(a: Arrays) -> Work:
    """The convolution, then ReLU."""
    return lambda: ext.relu(a.conv2d())


def relu_within(a: Arrays) -> Work:
    """The same in one pass."""
    return lambda: a.conv2d(relu=True)


def grads_apart(a: Arrays) -> Work:
    """All gradients of the convolution with ReLU, one after the other."""
    out = a.conv2d(relu=True)

    def work() -> tuple[Array, Array, Array]:
        g = ext.relu_grad(a.g, out)
        dx = ext.conv2d_input_grad(g, a.w, input_shape=a.x.shape, **a.geometry)
        dw = ext.conv2d_weight_grad(g, a.x, weight_shape=a.w.shape, **a.geometry)
        return dx, dw, g.sum(axis=(0, 1, 2))

    return work


def grads_within(a: Arrays) -> Work:
    """The same in one pass."""
    out, needs = a.conv2d(relu=True), (True, True, True)
    return lambda: ext.conv2d_grads(a.g, a.x, a.w, out, needs=needs, **a.geometry)


def norm_apart(a: Arrays) -> Work:
    """Batch norm with known statistics, then ReLU."""
    mean, var = ext.batch_norm_statistics(a.x)
    numbers = (a.x, mean, 1 / np.sqrt(var), a.b, a.b, None)
    return lambda: ext.relu(ext.batch_norm(*numbers, relu=False))


def norm_within(a: Arrays) -> Work:
    """The same in one pass."""
    mean, var = ext.batch_norm_statistics(a.x)
    numbers = (a.x, mean, 1 / np.sqrt(var), a.b, a.b, None)
    return lambda: ext.batch_norm(*numbers, relu=True)


WORKS: dict[str, Callable[[Arrays], Work]] = {
    "loops": loops,
    "forward": forward,
    "weight_grad": weight_grad,
    "layers": layers,
    "relu_apart": relu_apart,
    "relu_within": relu_within,
    "grads_apart": grads_apart,
    "grads_within": grads_within,
    "norm_apart": norm_apart,
    "norm_within": norm_within,
}

# ------------------------------------------------------------------------------------------- cases


def steps() -> Iterator[Case]:
    """The first table, row by row."""
    for kernel in (1, 3):
        yield Case("loops in Python", "loops", kernel, sizes=TINY)
    names = isa.available()
    names = names[names.index(isa.chosen()) :]  # fewer after --isa avx2
    ways = [("NumPy, shifted images", "reference", names[0]), ("BLAS, im2col", "blas", names[0])]
    ways += [(f"register tile, {name}", "direct", name) for name in reversed(names)]
    ways += [(f"Winograd, {name}", "winograd", name) for name in reversed(names)]
    for name, dial, instructions in ways:
        for work, kernel in COLUMNS:
            if kernel == 3 or dial != "winograd":
                yield Case(name, work, kernel, dial, (("MINIGRAD_ISA", instructions),))


def pairs() -> Iterator[tuple[Case, Case]]:
    """The second table: without and with something."""

    def varied(case: Case, variable: str, *values: str) -> tuple[Case, Case]:
        without, with_it = (case._replace(environment=((variable, value),)) for value in values)
        return without, with_it

    def fused(name: str, work: str) -> tuple[Case, Case]:
        return Case(name, f"{work}_apart", 1), Case(name, f"{work}_within", 1)

    many = Case("1x1, 16 results kept: warm memory", "layers", 1)
    yield varied(many, "MINIGRAD_CACHE_MB", "0", "1024")
    yield fused("1x1: ReLU within", "relu")
    yield fused("1x1: all gradients in one pass", "grads")
    yield fused("batch norm: ReLU within", "norm")
    for kernel in (1, 3):
        case = Case(f"{kernel}x{kernel}: two threads", "forward", kernel)
        yield varied(case, "OMP_NUM_THREADS", "1", "2")


# --------------------------------------------------------------------------------------- measuring


@cache
def prepare(case: Case) -> Work:
    """Make the arrays, once in each process."""
    return WORKS[case.work](Arrays(case.kernel, *case.sizes))


def products(case: Case) -> int:
    """How many multiplications the convolution has by its definition."""
    images, size, channels = case.sizes
    return images * size**2 * case.kernel**2 * channels**2


def seconds(case: Case, least: float) -> float:
    """Of one call: the mean of as many as take so many seconds, after one to warm up.

    Where the case is a smaller one, multiplied as if it had the sizes of the table.
    """
    work = prepare(case)
    larger = products(case._replace(sizes=SIZES)) / products(case)
    with ext.kernels(case.dial):
        work()
        calls, start = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() < start + least:
            work()
            calls += 1
        return (time.perf_counter() - start) / calls * larger


def measure(cases: Sequence[Case], turns: int, threads: int) -> dict[Case, float]:
    """The median seconds of each, taken in turns."""
    with ExitStack() as stack:
        workers = {
            environment: stack.enter_context(worker(environment, threads))
            for environment in dict.fromkeys(case.environment for case in cases)
        }
        least = TURN if turns > 1 else 0.0
        times = [
            [workers[case.environment].apply(seconds, (case, least)) for case in cases]
            for _ in range(turns)
        ]
    return dict(zip(cases, map(statistics.median, zip(*times, strict=True)), strict=True))


@contextmanager
def worker(environment: Environment, threads: int) -> Iterator[Pool]:
    """A process that finds these variables when it imports minigrad and NumPy."""
    before, count = os.environ.copy(), str(threads)
    os.environ |= {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, **dict(environment)}
    try:
        pool = multiprocessing.get_context("spawn").Pool(1)
    finally:
        os.environ.clear()
        os.environ |= before
    with pool:
        yield pool


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables and what bounds them."""
    parser = options.parser(__doc__, iterations=7)
    parser.set_defaults(threads=[1], peers=[])
    chosen = options.read(parser, arguments)
    rows: list[results.Row] = []
    cases = [*steps(), *itertools.chain.from_iterable(pairs())]
    for threads in chosen.threads:
        measured = measure(cases, chosen.iterations, threads)
        with contest(["minigrad"], threads) as sides:
            peak = results.sgemm_peak(sides, chosen.iterations) / 1e9
            bandwidth = results.bandwidth(sides, chosen.iterations) / 1e9
        print(f"threads: {threads}")
        print(results.table(*step_columns(measured)))
        print(results.table(*pair_columns(measured)))
        print(f"matrix product of 2048 x 2048: {peak:.0f} GFLOP/s")
        print(f"ReLU over 256 MB, read and written: {bandwidth:.1f} GB/s")
        rows += [
            {**case._asdict(), "threads": threads, "seconds": {"minigrad": measured[case]}}
            for case in cases
        ]
    results.save(chosen, rows)


def step_columns(measured: dict[Case, float]) -> results.Columns:
    """The first table's header and lines."""
    header = ["", *itertools.chain.from_iterable((f"{t} ms", "GFLOP/s") for t in COLUMNS.values())]
    lines = []
    for name, row in itertools.groupby(steps(), lambda case: case.name):
        times = {(case.work.replace("loops", "forward"), case.kernel): case for case in row}
        cells = [_cells(measured, times.get(column)) for column in COLUMNS]
        lines.append([name, *itertools.chain.from_iterable(cells)])
    return header, lines


def pair_columns(measured: dict[Case, float]) -> results.Columns:
    """The second table's header and lines."""
    lines = []
    for pair in pairs():
        without, with_it = (measured[case] for case in pair)
        times = map(results.milliseconds, (without, with_it))
        lines.append([pair[0].name, *times, f"{without / with_it:.2f}x"])
    return ["", "without, ms", "with, ms", "ratio"], lines


def _cells(measured: dict[Case, float], case: Case | None) -> list[str]:
    if case is None:
        return ["-", "-"]
    rate = 2 * products(case._replace(sizes=SIZES)) / measured[case] / 1e9
    return [results.milliseconds(measured[case]), f"{rate:.3g}"]


if __name__ == "__main__":
    main()
