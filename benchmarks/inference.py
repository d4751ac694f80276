"""How long does a network take to answer?

    python -m benchmarks.inference [--network "conv3-32 relu pool2 gap linear10"] [--batch 128,1]

The forward pass in evaluation, minigrad's under `no_grad`, PyTorch's in `inference_mode`, the sides
in turn. `torch / minigrad` is the time of PyTorch's best configuration divided by minigrad's.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import options, results
from benchmarks.harness.contest import contest, measure
from benchmarks.harness.networks import NETWORKS


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each network, batch size and number of threads."""
    parser = options.parser(__doc__, iterations=15, networks=list(NETWORKS))
    parser.set_defaults(batch=[128, 1])
    chosen = options.read(parser, arguments)
    rows: list[results.Row] = []
    for threads in chosen.threads:
        with contest(chosen.sides, threads) as sides:
            for network in chosen.network:
                for batch in chosen.batch:
                    work = {"network": network, "image": chosen.image, "batch": batch}
                    seconds = measure(sides, chosen.iterations, "forward", **work)
                    row = {"case": network, "threads": threads, "batch": batch, "seconds": seconds}
                    rows.append(row)
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    header = ["network", "batch", "threads", "minigrad ms", "images/s"]
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
        *results.peer_cells(row, names),
    ]


if __name__ == "__main__":
    main()
