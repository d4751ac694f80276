"""How much memory does training take?

    python -m benchmarks.memory [--network nin] [--batch 64,128,256]

The largest resident memory of a process that imports its framework and trains a few steps, one
process for each number. `minigrad / torch` is minigrad's divided by that of PyTorch's best
configuration. `kB / image` is what each image of a batch adds to minigrad's peak, compared with the
smallest batch: constant or falling where memory grows no faster than the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.harness import options, results
from benchmarks.harness.contest import contest

STEPS = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each network and batch size."""
    parser = options.parser(__doc__, iterations=1, networks=["nin"])
    parser.set_defaults(batch=[64, 128, 256], threads=[2])
    chosen = options.read(parser, arguments)
    rows: list[results.Row] = []
    for threads in chosen.threads:
        for network in chosen.network:
            for batch in chosen.batch:
                work = {"network": network, "image": chosen.image, "batch": batch}
                peak = {side: peak_bytes(side, threads, work) for side in chosen.sides}
                row = {"case": network, "threads": threads, "batch": batch, "bytes": peak}
                rows.append({**row, "seconds": {}})
    sides = chosen.sides
    header = ["network", "batch", "threads", *(f"{s} MB" for s in sides), "kB / image"]
    ratios = ["minigrad / torch"] if "torch" in chosen.peers else []
    print(results.table([*header, *ratios], [_cells(row, rows, sides) for row in rows]))
    results.save(chosen, rows)


def peak_bytes(side: str, threads: int, work: dict[str, Any]) -> float:
    """The peak of one process."""
    with contest([side], threads) as (worker,):
        worker.ask("prepare", "train_step", work, 0)
        return float(worker.ask("peak_memory", STEPS))


def _cells(row: results.Row, rows: Sequence[results.Row], sides: Sequence[str]) -> list[str]:
    peak, ours = row["bytes"], row["bytes"]["minigrad"]
    first = next(other for other in rows if other["case"] == row["case"])
    more = row["batch"] - first["batch"]
    growth = f"{(ours - first['bytes']['minigrad']) / more / 1e3:.0f}" if more else "-"
    torch = [peak[side] for side in sides if results.framework(side) == "torch"]
    cells = [row["case"], str(row["batch"]), str(row["threads"])]
    cells += [*(f"{peak[side] / 1e6:.0f}" for side in sides), growth]
    return [*cells, f"{ours / min(torch):.2f}"] if torch else cells


if __name__ == "__main__":
    main()
