"""Measure everything, and write the report.

    python -m benchmarks.all [--out FOLDER] [--docs FOLDER] [--iterations N] [--peers torch,jax]

The JSON files go to `--out` and the page with its pictures to `--docs` (by default the folder
`report` in the former). To publish: `python -m benchmarks.all --docs docs`. Takes about a quarter
of an hour; other programs at work meanwhile make the figures worthless.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report

COMPILED = "torch,torch-compile"  # where compiling pays: whole networks
RUNS = {  # file: benchmark and its options, the peers last, so that --peers overrules them
    "train_step": ["train_step", "--peers", COMPILED],
    "train_step_avx2": ["train_step", "--isa", "avx2", "--peers", "torch"],
    "inference": ["inference", "--peers", COMPILED],
    "overhead": ["overhead"],
    "startup": ["startup"],
    "memory": ["memory"],
    "ops": ["ops"],
    "breakdown": ["breakdown"],
    "time_to_accuracy": ["time_to_accuracy"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=report.MEASURED)
    parser.add_argument("--docs", type=Path, help="where the page goes (OUT/report)")
    parser.add_argument("--iterations", help="of each benchmark, instead of its own")
    parser.add_argument("--peers", help="of each benchmark, instead of its own")
    chosen = parser.parse_args(arguments)
    given = {"--iterations": chosen.iterations, "--peers": chosen.peers}
    extra = [word for name, value in given.items() if value for word in (name, value)]
    for name, (benchmark, *options) in RUNS.items():
        command = [sys.executable, "-m", f"benchmarks.{benchmark}", *options, *extra]
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        subprocess.run([*command, "--json", str(chosen.out / f"{name}.json")], check=True)
        print(f"({time.perf_counter() - start:.0f} s)")
    report.main([str(chosen.out), "--docs", str(chosen.docs or chosen.out / "report")])


if __name__ == "__main__":
    main()
