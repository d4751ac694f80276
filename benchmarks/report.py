"""Write docs/performance.md and its pictures from what was measured.

    python -m benchmarks.report [FOLDER] [--docs docs]

FOLDER holds the JSON files of `python -m benchmarks.all` (by default benchmarks/measured). Where a
README.md beside the docs has the marks of the headline table, that table is written between them.
No number in the pages is written by hand.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import pictures, results

MEASURED = Path(__file__).parent / "measured"
MARKS = "<!-- measured by benchmarks.all -->", "<!-- end of what was measured -->"
TITLES = {  # the sections, in this order, of the files that are there
    "train_step": "Training step",
    "train_step_avx2": "Training step without AVX-512",
    "inference": "Inference",
    "time_to_accuracy": "From process start to accuracy",
    "memory": "Peak memory of training",
    "overhead": "One tiny op, forward and backward",
    "startup": "Import",
    "ops": "Single ops",
    "breakdown": "Where a training step spends its time",
}

Measured = dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, the pictures and the headline table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=MEASURED)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--iterations", help="not used: all benchmarks take it")
    chosen = parser.parse_args(arguments)
    measured = read(chosen.folder)
    if not measured:
        print(f"report: nothing was measured into {chosen.folder}; run python -m benchmarks.all")
        return
    chosen.docs.mkdir(parents=True, exist_ok=True)
    drawn = pictures.draw(measured, chosen.docs)
    page = chosen.docs / "performance.md"
    page.write_text("\n\n".join(_page(measured, drawn)) + "\n")
    print(f"wrote {page} and {len(drawn)} pictures")
    readme = chosen.docs.parent / "README.md"
    if readme.exists() and MARKS[0] in readme.read_text():
        before, _, rest = readme.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        middle = f"{MARKS[0]}\n{headline(measured)}\n{MARKS[1]}"
        readme.write_text(before + middle + after)
        print(f"wrote the table in {readme}")


def read(folder: Path) -> Measured:
    """What was measured, by the names of TITLES."""
    files = {name: folder / f"{name}.json" for name in TITLES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def headline(measured: Measured) -> str:
    """The README's table: what, minigrad, the peers, ratios."""
    lines = []
    for name, unit in (("train_step", "training"), ("inference", "inference")):
        rows = [row for row in measured.get(name, {"rows": []})["rows"] if row["batch"] > 1]
        threads = max((row["threads"] for row in rows), default=0)
        for row in rows:
            best = results.best(row["seconds"]).get("torch")
            if row["threads"] == threads and best is not None:
                ours, theirs = (row["batch"] / row["seconds"][s] for s in ("minigrad", best))
                what = f"{unit} `{row['case']}`, images/s"
                lines.append([what, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.1f}x"])
    header = ["", "minigrad", "PyTorch's best of its configurations", "ratio"]
    return "\n\n".join([results.markdown(header, lines), _machine(measured)])


def _page(measured: Measured, drawn: Sequence[str]) -> Iterator[str]:
    yield "# Performance"
    yield (
        "Written by `python -m benchmarks.report` from what `python -m benchmarks.all` measured; "
        "nothing here is written by hand."
    )
    yield _machine(measured)
    yield (
        "All sides take turns, each in a process of its own, and a time is the median of its "
        "turns. A ratio is the time of the peer's best configuration divided by that of minigrad: "
        "2.00x means that minigrad takes half the time. (Memory and import: minigrad's divided "
        "by the other's.)"
    )
    for name, title in TITLES.items():
        if name not in measured:
            continue
        yield f"## {title}"
        module = importlib.import_module(f"benchmarks.{name.removesuffix('_avx2')}")
        command = " ".join(["python -m", module.__name__, *_options(measured[name])])
        yield f"`{command}`"
        yield from (f"![{title}]({file})" for file in drawn if file.startswith(f"{name}."))
        yield results.markdown(*module.columns(measured[name]["rows"]))


def _options(record: dict[str, Any]) -> list[str]:
    """The arguments it was run with, but not the name of the file."""
    return re.sub(r"--json \S+", "", " ".join(record["arguments"])).split()


def _machine(measured: Measured) -> str:
    """One sentence on what it was measured on, and when."""
    record = next(iter(measured.values()))
    config = record["minigrad"]
    versions: dict[str, str] = {}
    for each in measured.values():
        versions |= each["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {record['date']}: {config['cpu']['name']} ({config['cpu']['usable']} CPUs, "
        f"{config['kernels']['isa']}), {config['versions']['system']}, "
        f"{config['versions']['python']}, minigrad {config['versions']['minigrad']}, {listed}, "
        f"{config['blas']['library']} {config['blas']['version']} ({config['blas']['core']})."
    )


if __name__ == "__main__":
    main()
