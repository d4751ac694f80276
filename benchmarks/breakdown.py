"""Where does a training step spend its time?

    python -m benchmarks.breakdown [--network nin] [--batch 128]

Every op of a step as `mg.profile` sees it, the median of the steps, summed by op. Also measures the
machine's limits: sgemm on 2048 x 2048 matrices, and how fast memory is read and written. The report
draws the rooflines from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import options, results
from benchmarks.harness.contest import contest
from benchmarks.harness.networks import NETWORKS

PHASES = ("forward", "backward", "update")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each network and op."""
    parser = options.parser(__doc__, iterations=9, networks=list(NETWORKS))
    parser.set_defaults(peers=[], threads=[1])
    chosen = options.read(parser, arguments)
    rows: list[results.Row] = []
    limits: dict[int, dict[str, float]] = {}
    for threads in chosen.threads:
        with contest(["minigrad"], threads) as sides:
            limits[threads] = {
                "sgemm": results.sgemm_peak(sides, chosen.iterations),
                "bandwidth": results.bandwidth(sides, chosen.iterations),
            }
            for network in chosen.network:
                for batch in chosen.batch:
                    work = {"network": network, "image": chosen.image, "batch": batch}
                    layers = sides[0].ask("call", "layers", {**work, "turns": chosen.iterations})
                    same = {"case": network, "threads": threads, "batch": batch}
                    rows += [{**same, **layer} for layer in layers]
    print(results.table(*columns(rows)))
    for threads, limit in limits.items():
        print(
            f"threads: {threads}, sgemm {limit['sgemm'] / 1e9:.0f} GFLOP/s, "
            f"memory {limit['bandwidth'] / 1e9:.0f} GB/s"
        )
    results.save(chosen, rows, limits=limits)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    groups: dict[tuple[str, int, int], dict[str, list[results.Row]]] = {}
    for row in rows:
        group = groups.setdefault((row["case"], row["batch"], row["threads"]), {})
        group.setdefault(row["op"], []).append(row)
    lines = []
    for (case, batch, threads), ops in groups.items():
        whole = sum(map(_seconds, ops.values()))
        lines += [
            [f"{case}, {name}", str(batch), str(threads), *_cells(ops[name], whole)]
            for name in sorted(ops, key=lambda name: -_seconds(ops[name]))
        ]
    phases = [f"{phase} ms" for phase in PHASES]
    return ["network, op", "batch", "threads", *phases, "GFLOP/s", "GB/s", "share"], lines


def _seconds(rows: Sequence[results.Row]) -> float:
    return sum(row["seconds"]["minigrad"] for row in rows)


def _cells(rows: Sequence[results.Row], whole: float) -> list[str]:
    phases = [_seconds([row for row in rows if row["phase"] == phase]) for phase in PHASES]
    seconds = _seconds(rows)
    return [
        *(results.milliseconds(phase) if phase else "" for phase in phases),
        f"{sum(row['flops'] for row in rows) / seconds / 1e9:.1f}",
        f"{sum(row['bytes'] for row in rows) / seconds / 1e9:.1f}",
        f"{seconds / whole:.1%}",
    ]


if __name__ == "__main__":
    main()
