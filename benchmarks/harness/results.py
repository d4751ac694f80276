"""What was measured: rows, ratios, one table, one JSON file.

A row is a dict with a `case`, the number of `threads`, and `seconds`, each side's median. A
speed-up is the peer's time, that of its fastest configuration, divided by minigrad's.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.harness.contest import Side, contest, measure

Row = dict[str, Any]
Columns = tuple[Sequence[str], Sequence[Sequence[str]]]  # a header and lines


def framework(side: str) -> str:
    """`torch-compile NHWC` is a configuration of `torch`."""
    return side.partition(" ")[0].removesuffix("-compile")


def best(seconds: dict[str, float]) -> dict[str, str]:
    """Each peer framework's fastest side."""
    fastest: dict[str, str] = {}
    for side in sorted(seconds, key=seconds.__getitem__):
        if framework(side) != "minigrad":
            fastest.setdefault(framework(side), side)
    return fastest


def speedups(row: Row) -> dict[str, float]:
    """By peer framework: its best time divided by ours."""
    seconds = row["seconds"]
    if "minigrad" not in seconds:
        return {}
    return {name: seconds[side] / seconds["minigrad"] for name, side in best(seconds).items()}


def geometric_mean(values: Iterable[float]) -> float:
    """NaN of none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def frameworks(rows: Sequence[Row]) -> list[str]:
    """The peer frameworks that took part, in the order of SIDES."""
    names = dict.fromkeys(framework(side) for family in peers.SIDES.values() for side in family)
    taken = {framework(side) for row in rows for side in row["seconds"]}
    return [name for name in names if name in taken and name != "minigrad"]


def peer_header(rows: Sequence[Row]) -> list[str]:
    """Two columns for each peer framework."""
    return [title for name in frameworks(rows) for title in (f"{name} ms", f"{name} / minigrad")]


def peer_cells(row: Row, names: Sequence[str]) -> list[str]:
    """Each framework's best time with its configuration, and the speed-up over it."""
    cells: list[str] = []
    chosen, ratios = best(row["seconds"]), speedups(row)
    for name in names:
        if name not in ratios:
            cells += ["-", "-"]
            continue
        configuration = chosen[name].removeprefix(name).strip(" -")
        cells += [f"{milliseconds(row['seconds'][chosen[name]])} {configuration}".strip()]
        cells += [f"{ratios[name]:.2f}x"]
    return cells


def milliseconds(seconds: float | None) -> str:
    """With three digits; - for none."""
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; text to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    )


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same as a table of a Markdown page."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])


def group_means(rows: Sequence[Row]) -> list[Row]:
    """One row of geometric means for each group and number of threads."""
    groups = dict.fromkeys((row["group"], row["threads"]) for row in rows)
    means = []
    for name, threads in groups:
        mine = [row for row in rows if (row["group"], row["threads"]) == (name, threads)]
        ratios = [speedups(row) for row in mine]
        means.append(
            {
                "case": name,
                "threads": threads,
                "speedups": {
                    f: geometric_mean(r[f] for r in ratios if f in r) for f in frameworks(mine)
                },
            }
        )
    return means


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration of minigrad as its side has it, the versions of the peers, the date."""
    with contest(["minigrad"], 1) as (side,):
        config = side.ask("config")
    return {
        "minigrad": config,
        "versions": peers.versions(options.peers),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def save(options: argparse.Namespace, rows: Sequence[Row], **more: Any) -> None:
    """Write everything to the file that --json names, if it does."""
    if options.json is None:
        return
    options.json.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": Path(sys.argv[0]).stem,
        "iterations": options.iterations,
        "isa": options.isa,
        "arguments": sys.argv[1:],
        **machine(options),
        **more,
        "rows": list(rows),
    }
    options.json.write_text(json.dumps(record, indent=1) + "\n")


def sgemm_peak(sides: Sequence[Side], turns: int) -> float:
    """FLOP/s of minigrad's matrix product on 2048 x 2048 matrices: the machine's limit."""
    size = 2048
    work = {"network": f"linear{size}", "image": (size,), "batch": size}
    return 2 * size**3 / _fastest(sides[0], turns, **work)


def bandwidth(sides: Sequence[Side], turns: int) -> float:
    """Bytes/s of minigrad's ReLU, read and written, on 256 MB: more than caches hold."""
    work = {"network": "relu", "image": (1024, 1024, 16), "batch": 4}
    return 2 * 4 * 2**26 / _fastest(sides[0], turns, **work)


def _fastest(side: Side, turns: int, **work: Any) -> float:
    """Seconds of the fastest turn: a limit is not what the machine does when it is disturbed."""
    return min(measure([side], 1, "forward", **work)[side.name] for _ in range(turns))
