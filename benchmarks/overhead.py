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
    names = results.frameworks(rows)
    lines = [
        [
            row["case"],
            f"{row['seconds']['minigrad'] * 1e6:.2f}",
            *(f"{row['seconds'][results.best(row['seconds'])[name]] * 1e6:.2f}" for name in names),
            *(f"{results.speedups(row)[name]:.2f}x" for name in names),
        ]
        for row in rows
    ]
    titles = [*(f"{name} us" for name in names), *(f"{name} / minigrad" for name in names)]
    print(results.table(["op", "minigrad us", *titles], lines))
    results.save(chosen, rows)


if __name__ == "__main__":
    main()
