"""How long does a step of training take?

    python -m benchmarks.train_step [--network "conv3-32 relu pool2 gap linear10"] [--batch 128]

Forward, cross-entropy, backward and SGD with momentum, the sides in turn. `torch / minigrad` is the
time of PyTorch's best configuration divided by minigrad's. `of limit` is the share of the machine's
limit: the FLOPs of the step with direct convolutions, divided by its time and by the FLOP/s of
sgemm on 2048 x 2048 matrices. More than 100 % is more than any direct convolution could reach.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import options, results
from benchmarks.harness.contest import contest, measure
from benchmarks.harness.networks import NETWORKS, parse, training_flops


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each network, batch size and number of threads."""
    chosen = options.read(options.parser(__doc__, iterations=9, networks=list(NETWORKS)), arguments)
    rows: list[results.Row] = []
    for threads in chosen.threads:
        with contest(chosen.sides, threads) as sides:
            peak = results.sgemm_peak(sides, chosen.iterations)
            for network in chosen.network:
                for batch in chosen.batch:
                    work = {"network": network, "image": chosen.image, "batch": batch}
                    seconds = measure(sides, chosen.iterations, "train_step", **work)
                    flops = batch * training_flops(parse(network, chosen.image))
                    rows.append(
                        {
                            "case": network,
                            "threads": threads,
                            "batch": batch,
                            "seconds": seconds,
                            "flops": flops,
                            "sgemm": peak,
                        }
                    )
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    header = ["network", "batch", "threads", "minigrad ms", "images/s", "of limit"]
    names = results.frameworks(rows)
    return [*header, *results.peer_header(rows)], [_cells(row, names) for row in rows]


def _cells(row: results.Row, names: Sequence[str]) -> list[str]:
    seconds = row["seconds"]["minigrad"]
    return [
        row["case"],
        str(row["batch"]),
        str(row["threads"]),
        results.milliseconds(seconds),
        f"{row['batch'] / seconds:.0f}",
        f"{row['flops'] / seconds / row['sgemm']:.0%}",
        *results.peer_cells(row, names),
    ]


if __name__ == "__main__":
    main()
