"""What does the engine itself cost?

    python -m benchmarks.overhead

A chain of 100 ops on 16 floats, forward and backward, where the arithmetic is next to nothing: the
time of one op is that of the chain divided by 100. The sides take turns, each on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import options, results
from benchmarks.harness.contest import contest, measure

LENGTH, SIZE = 100, 16


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each op."""
    chosen = options.read(options.parser(__doc__, iterations=25), arguments)
    rows: list[results.Row] = []
    with contest(chosen.sides, 1) as sides:
        for op in ("add", "mul", "relu"):
            chain = measure(sides, chosen.iterations, "chain", op=op, length=LENGTH, size=SIZE)
            seconds = {side: time / LENGTH for side, time in chain.items()}
            rows.append({"case": op, "group": "tiny ops", "threads": 1, "seconds": seconds})
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    names = results.frameworks(rows)
    header = [title for name in names for title in (f"{name} us", f"{name} / minigrad")]
    return ["op", "minigrad us", *header], [_cells(row, names) for row in rows]


def _cells(row: results.Row, names: Sequence[str]) -> list[str]:
    seconds, best, ratios = row["seconds"], results.best(row["seconds"]), results.speedups(row)
    cells = [row["case"], f"{seconds['minigrad'] * 1e6:.2f}"]
    for name in names:
        cells += [f"{seconds[best[name]] * 1e6:.2f}", f"{ratios[name]:.2f}x"]
    return cells


if __name__ == "__main__":
    main()
