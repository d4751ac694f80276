"""Kill training at random moments, resume it, and compare what it ends with: nothing may be lost.

    python tools/kill_runs.py --kills 50

The program is run once without interruption. Then it is run again and again, each time in a new
folder, and killed after random times by SIGKILL, SIGTERM or SIGINT, and resumed, until it is
through. Each of these runs must end with the same bytes of weights, with the same metrics but for
the seconds, and without temporary files. With `--save-every 0.001` every step is saved, so many
kills hit a save. Other options go to the program, in place of a few that make it short.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

NIN = str(Path(__file__).parent.parent / "examples" / "train_nin.py")
OPTIONS = ["--data", "digits", "--limit-train", "200", "--epochs", "4", "--batch-size", "8"]
EXIT_CODES = {  # by the handlers of a run, or by the system where these are not there yet
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGTERM: (143, -signal.SIGTERM),
    signal.SIGINT: (130, -signal.SIGINT, 1),  # 1: while Python itself starts
}


def main() -> None:
    """Count kills until there were enough; the first difference ends it."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how many (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and signals (0)")
    parser.add_argument("--save-every", default="0.1", help="seconds between checkpoints (0.1)")
    parser.add_argument("--program", default=NIN, help="what trains (examples/train_nin.py)")
    args, options = parser.parse_known_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, args.program, "--save-every", args.save_every]
        command += [*(options or OPTIONS), "--out"]
        start = time.monotonic()
        subprocess.run([*command, str(folder / "whole")], check=True, stdout=subprocess.DEVNULL)
        longest = time.monotonic() - start
        kills: Counter[str] = Counter()
        runs = 0
        while kills.total() < args.kills:
            out = folder / f"run{runs}"
            train_with_kills([*command, str(out), "--resume"], rng, longest, args.kills, kills)
            compare(out, folder / "whole")
            runs += 1
        told = ", ".join(f"{count} {name}" for name, count in sorted(kills.items()))
        print(f"{kills.total()} kills ({told}) in {runs} runs: all ended like the whole one")


def train_with_kills(
    command: list[str], rng: random.Random, longest: float, most: int, kills: Counter[str]
) -> None:
    """Start the command until it comes to its end; kill it meanwhile, `most` times in all."""
    while True:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            if kills.total() < most:
                number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
                moment = rng.uniform(0.1, longest)
                try:
                    process.wait(moment)
                except subprocess.TimeoutExpired:
                    process.send_signal(number)
            said, _ = process.communicate()
        if process.returncode == 0:
            return
        if process.returncode not in EXIT_CODES[number]:
            sys.exit(f"after {number.name}: exit code {process.returncode}\n{said}")
        kills[number.name] += 1
        last = (said.strip().splitlines() or ["(it had not begun)"])[-1]
        print(f"{kills.total():3d}  {number.name} after {moment:.2f} s: {last[:110]}", flush=True)


def compare(out: Path, whole: Path) -> None:
    """End the program if a run differs from the one that was not interrupted."""
    for path in (whole / "model.safetensors", *whole.glob("*[!s].png")):  # no seconds in these
        if (out / path.name).read_bytes() != path.read_bytes():
            sys.exit(f"{out / path.name} differs")
    if metrics(out) != metrics(whole):
        sys.exit(f"{out / 'metrics.jsonl'} differs")
    if left := list(out.glob("*.tmp")):
        sys.exit(f"left behind: {left}")


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of a run without those fields that are about time."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if "second" not in k} for r in records]


if __name__ == "__main__":
    main()
