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
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    sides = list(rows[0]["bytes"])
    header = ["network", "batch", "threads", *(f"{side} MB" for side in sides), "kB / image"]
    ratio = ["minigrad / torch"] if any(map(_is_torch, sides)) else []
    return [*header, *ratio], [_cells(row, rows) for row in rows]


def peak_bytes(side: str, threads: int, work: dict[str, Any]) -> float:
    """The peak of one process."""
    with contest([side], threads) as (worker,):
        worker.ask("prepare", "train_step", work, 0)
        return float(worker.ask("peak_memory", STEPS))


def _cells(row: results.Row, rows: Sequence[results.Row]) -> list[str]:
    peak, ours = row["bytes"], row["bytes"]["minigrad"]
    alike = [(other["case"], other["threads"]) for other in rows]
    first = rows[alike.index((row["case"], row["threads"]))]
    more = row["batch"] - first["batch"]
    growth = f"{(ours - first['bytes']['minigrad']) / more / 1e3:.0f}" if more else ""
    torch = [number for side, number in peak.items() if _is_torch(side)]
    cells = [row["case"], str(row["batch"]), str(row["threads"])]
    cells += [*(f"{number / 1e6:.0f}" for number in peak.values()), growth]
    return [*cells, f"{ours / min(torch):.2f}x"] if torch else cells


def _is_torch(side: str) -> bool:
    return results.framework(side) == "torch"


if __name__ == "__main__":
    main()
