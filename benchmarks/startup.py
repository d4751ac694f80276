"""How long does the import take?

    python -m benchmarks.startup

Each import is that of a fresh process, the packages in turn. Everything here imports NumPy, so the
ratio is to `import numpy`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.harness import options, results


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each package."""
    chosen = options.read(options.parser(__doc__, iterations=15), arguments)
    packages = ["numpy", "minigrad", *dict.fromkeys(map(results.framework, chosen.peers))]
    for package in packages:
        import_seconds(package)  # into the file system's cache
    times = [{name: import_seconds(name) for name in packages} for _ in range(chosen.iterations)]
    seconds = {name: statistics.median(turn[name] for turn in times) for name in packages}
    rows = [{"case": "import", "threads": 1, "seconds": seconds}]
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    lines = [
        [f"import {name}", results.milliseconds(time), f"{time / row['seconds']['numpy']:.2f}x"]
        for row in rows
        for name, time in row["seconds"].items()
    ]
    return ["", "ms", "/ numpy"], lines


def import_seconds(package: str) -> float:
    """Of one import in a process of its own."""
    code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
