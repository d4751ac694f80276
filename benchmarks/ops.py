"""How fast is each op?

    python -m benchmarks.ops [--only PATTERN]

Forward as in inference (batch norm: as in training), and backward: the gradients of the input and
of all parameters. The sides take turns. `torch / minigrad` is the time of PyTorch's better layout
divided by minigrad's; GFLOP/s count the definition of the convolution, and `of sgemm` compares them
with the matrix product of 2048 x 2048 on the same threads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.harness import options, results
from benchmarks.harness.contest import Side, contest, measure
from benchmarks.harness.networks import flops, parse

# Network and, for each, (N, H = W, C_in).
POINTWISE = [
    ("conv1-64", 32, 56, 256),
    ("conv1-32", 64, 28, 64),
    ("conv1-256", 64, 28, 64),
    ("conv1-128", 64, 7, 512),
    ("conv1-64", 64, 8, 256),
    ("conv1-32", 128, 28, 32),
    ("conv1-64", 128, 14, 64),
    ("conv1-16", 128, 28, 16),
]
SPATIAL = [
    ("conv3-64", 32, 56, 64),
    ("conv3-32", 64, 28, 32),
    ("conv3-64", 128, 14, 64),
    ("conv3-64", 64, 8, 64),
    ("conv3-256", 16, 28, 256),
    ("conv3-64", 128, 7, 64),
]
FEW_CHANNELS = [("conv3-32", 64, 28, 1), ("conv3-16", 128, 28, 16)]
ODD = [
    ("conv1-20", 64, 27, 3),
    ("conv1-100", 64, 13, 48),
    ("conv1-10", 128, 7, 100),
    ("conv1-64", 1, 28, 64),
    ("conv3-48", 64, 27, 3),
    ("conv3-20", 64, 31, 10),
    ("conv3-48", 64, 13, 48),
    ("conv3-100", 64, 7, 100),
    ("conv3-64", 1, 28, 64),
    ("conv3-20", 1, 31, 10),
]
DEPTHWISE = [
    ("dw3", 64, 28, 64),
    ("dw3", 128, 14, 128),
    ("dw5", 64, 28, 64),
    ("dw3s2", 64, 28, 64),
    ("dw1s2", 64, 28, 64),
]
STRIDED = [("conv3-64s2", 64, 28, 32), ("conv1-128s2", 64, 28, 64)]
POOLS = [("pool2", 128, 28, 32), ("pool2", 128, 14, 64), ("pool3s2", 128, 28, 32)]
NORMS = [("bn relu", 128, 28, 32), ("bn relu", 128, 14, 64), ("bn relu", 128, 7, 128)]
GROUPS = {
    "1x1": POINTWISE,
    "3x3, 32 channels or more": SPATIAL,
    "3x3, few channels": FEW_CHANNELS,
    "odd sizes": ODD,
    "depthwise": DEPTHWISE,
    "stride 2": STRIDED,
    "max pool": POOLS,
    "batch norm + ReLU": NORMS,
}


class Case(NamedTuple):
    """One measurement."""

    group: str
    task: str
    network: str
    batch: int
    image: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.task} {self.network}, {self.batch}x{'x'.join(map(str, self.image))}"


def cases() -> Iterator[Case]:
    """All of them."""
    for group, members in GROUPS.items():
        convolution = group not in ("max pool", "batch norm + ReLU")
        for network, batch, size, channels in members:
            image = (size, size, channels)
            yield Case(f"{group}, forward", "forward", network, batch, image)
            if convolution:
                fused = f"{network} relu"
                yield Case(f"{group}, forward + ReLU", "forward", fused, batch, image)
            yield Case(f"{group}, backward", "backward", network, batch, image)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each case, and the geometric means of the groups."""
    parser = options.parser(__doc__, iterations=7)
    parser.set_defaults(threads=[1])
    parser.add_argument("--only", default="", help="cases in whose name this pattern is found")
    chosen = options.read(parser, arguments)
    wanted = [case for case in cases() if re.search(chosen.only, f"{case.name}, {case.group}")]
    if not wanted:
        parser.error(f"no case matches {chosen.only!r}")
    rows: list[results.Row] = []
    for threads in chosen.threads:
        with contest(chosen.sides, threads) as sides:
            peak = results.sgemm_peak(sides, chosen.iterations)
            rows += [_measure(case, sides, chosen.iterations, threads, peak) for case in wanted]
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines, with the geometric means of the groups at its end."""
    names = results.frameworks(rows)
    header = ["op", "threads", "minigrad ms", "GFLOP/s", "of sgemm", *results.peer_header(rows)]
    lines = [_cells(row, names) for row in rows]
    for mean in results.group_means(rows) if names else []:
        cells = [f"geometric mean: {mean['case']}", str(mean["threads"]), "", "", ""]
        for name in names:
            cells += ["", f"{mean['speedups'].get(name, math.nan):.2f}x"]
        lines.append(cells)
    return header, lines


def _measure(
    case: Case, sides: Sequence[Side], turns: int, threads: int, peak: float
) -> results.Row:
    work = {"network": case.network, "image": case.image, "batch": case.batch}
    if case.task == "forward":
        work["training"] = case.network.startswith("bn")
    seconds = measure(sides, turns, case.task, **work)
    count = case.batch * flops(parse(case.network, case.image))
    return {
        "case": case.name,
        "group": case.group,
        "threads": threads,
        "seconds": seconds,
        "flops": 2 * count if case.task == "backward" else count,
        "sgemm": peak,
    }


def _cells(row: results.Row, names: Sequence[str]) -> list[str]:
    seconds = row["seconds"]["minigrad"]
    rate = row["flops"] / seconds
    speed = [f"{rate / 1e9:.0f}", f"{rate / row['sgemm']:.2f}"] if row["flops"] else ["", ""]
    cells = [row["case"], str(row["threads"]), results.milliseconds(seconds), *speed]
    return [*cells, *results.peer_cells(row, names)]


if __name__ == "__main__":
    main()
