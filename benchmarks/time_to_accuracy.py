"""How long from the start of the process to 99 % on MNIST?

    python -m benchmarks.time_to_accuracy [--network nin-bn] [--target 0.99] [--iterations 9]

Each side is a process of its own, one after the other, with the same weights to start from, the
same batches in the same order, the same rates; all are tested after the same numbers of images (one
of the `--iterations`, each 20,000 images or the whole of a smaller data set). The clock starts
before the process does, so imports, reading the data, tests and everything else count. Without
MNIST the embedded digits are used. With `--iterations 1` it is a trial run of 2,000 images.

What examples/train_nin.py trains is `nin-bn`; the plain `nin` needs more images and a lower rate:
`--network nin --lr 0.02 --iterations 24`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.harness import options, results

BATCH, TEST_BATCH, TESTED_AFTER, TRIAL = 64, 500, 20_000, 2_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row for each side."""
    parser = options.parser(__doc__, iterations=9, networks=["nin-bn"])
    parser.add_argument("--target", type=float, default=0.99, help="accuracy on the test images")
    parser.add_argument("--lr", type=float, default=0.1, help="the highest rate (0.1)")
    parser.add_argument("--side", help=argparse.SUPPRESS)  # what the processes are started with
    parser.set_defaults(threads=[2])
    chosen = options.read(parser, arguments)
    if chosen.side:
        for point in learn(chosen):
            print(json.dumps(point), flush=True)
        return
    rows: list[results.Row] = []
    given = sys.argv[1:] if arguments is None else list(arguments)
    for threads in chosen.threads:
        for network in chosen.network:
            histories = {side: run(side, network, threads, given) for side in chosen.sides}
            seconds = {
                side: history[-1]["seconds"]
                for side, history in histories.items()
                if history[-1]["accuracy"] >= chosen.target
            }
            row = {"case": network, "threads": threads, "target": chosen.target}
            rows.append({**row, "seconds": seconds, "histories": histories})
    print(results.table(*columns(rows)))
    results.save(chosen, rows)


def columns(rows: Sequence[results.Row]) -> results.Columns:
    """The table's header and lines."""
    lines = []
    for row in rows:
        for side, history in row["histories"].items():
            last, reached = history[-1], side in row["seconds"]
            ratio = last["seconds"] / row["seconds"].get("minigrad", np.nan) if reached else np.nan
            lines.append(
                [
                    f"{row['case']}, {side}",
                    last["data"],
                    str(row["threads"]),
                    str(last["images"]),
                    f"{last['accuracy']:.2%}",
                    f"{last['seconds']:.1f}" if reached else f"not in {last['seconds']:.1f}",
                    f"{ratio:.2f}x" if ratio == ratio else "-",
                ]
            )
    target = f"s to {rows[0]['target']:.1%}"
    return ["network, side", "data", "threads", "images", "accuracy", target, "/ minigrad"], lines


def run(side: str, network: str, threads: int, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """The points of one process, their seconds counted from before its start."""
    own = ["--side", side, "--network", network, "--threads", str(threads), "--peers", ""]
    command = [sys.executable, "-m", "benchmarks.time_to_accuracy", *arguments, *own]
    start = time.time()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    points = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [{**point, "seconds": point["clock"] - start} for point in points]


def learn(chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train one side until it is accurate enough or has been tested often enough."""
    from minigrad import data

    network = chosen.network[-1]
    dataset = data.load("auto")
    count = min(TESTED_AFTER if chosen.iterations > 1 else TRIAL, len(dataset.train_images))
    loader = data.DataLoader(
        dataset.train_images, dataset.train_labels, BATCH, shuffle=True, seed=0, drop_last=True
    )
    learner = peers.load(chosen.side, chosen.threads[0]).learner(network, chosen.image)
    whole, seen, tests = count * chosen.iterations, 0, 0
    while tests < chosen.iterations:
        for images, labels in loader:
            learner.step(images, labels, rate(seen / whole, chosen.lr))
            seen += len(images)
            if seen < count * (tests + 1) - BATCH:
                continue
            tests += 1
            accuracy = test(learner, dataset.test_images, dataset.test_labels)
            yield {
                "images": seen,
                "accuracy": accuracy,
                "clock": time.time(),
                "data": dataset.name,
            }
            if accuracy >= chosen.target or tests == chosen.iterations:
                return


def rate(progress: float, highest: float) -> float:
    """Up to the highest rate in the first fifth, then down to none."""
    return highest * max(0.0, min(progress / 0.2 + 0.02, (1 - progress) / 0.8))


def test(learner: peers.Learner, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of the images that are read right."""
    batches = range(0, len(images), TEST_BATCH)
    read = [learner.predict(images[start : start + TEST_BATCH]) for start in batches]
    return float(np.mean(np.concatenate(read) == labels))


if __name__ == "__main__":
    main()
