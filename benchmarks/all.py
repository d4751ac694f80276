"""Measure everything, and write the report.

    python -m benchmarks.all [--out FOLDER] [--docs FOLDER] [--iterations N] [--peers torch,jax]

The JSON files go to `--out` and the page with its pictures to `--docs` (by default the folder
`report` in the former). To publish: `python -m benchmarks.all --docs docs`. Takes about a quarter
of an hour; other programs at work meanwhile make the figures worthless. The pictures need
matplotlib.
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
RUNS = {  # file: benchmark, its peers, its options
    "train_step": ("train_step", COMPILED, []),
    "train_step_avx2": ("train_step", "torch", ["--isa", "avx2"]),
    "inference": ("inference", COMPILED, []),
    "overhead": ("overhead", "torch", []),
    "startup": ("startup", "torch", []),
    "memory": ("memory", "torch", []),
    "ops": ("ops", "torch", []),
    "steps": ("steps", "", []),
    "breakdown": ("breakdown", "", []),
    "time_to_accuracy": ("time_to_accuracy", "torch", []),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=report.MEASURED)
    parser.add_argument("--docs", type=Path, help="where the page goes (OUT/report)")
    parser.add_argument("--iterations", help="of each benchmark, instead of its own")
    parser.add_argument("--peers", help="of all benchmarks that have any, instead of their own")
    chosen = parser.parse_args(arguments)
    iterations = ["--iterations", chosen.iterations] if chosen.iterations else []
    for name, (benchmark, peers, options) in RUNS.items():
        command = [sys.executable, "-m", f"benchmarks.{benchmark}", *options, *iterations]
        command += ["--peers", chosen.peers or peers] if peers else []
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        subprocess.run([*command, "--json", str(chosen.out / f"{name}.json")], check=True)
        print(f"({time.perf_counter() - start:.0f} s)")
    report.main([str(chosen.out), "--docs", str(chosen.docs or chosen.out / "report")])


if __name__ == "__main__":
    main()
