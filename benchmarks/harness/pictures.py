"""The pictures of the report, drawn from what was measured and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import results

mpl.use("agg")  # pictures go to files; no screen is needed
OURS, THEIRS = "tab:blue", "tab:gray"
SHOWN = 1e-3  # the share of all time that makes a point; smaller ones are overhead


def draw(measured: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """Draw what the measurements allow; returns the names of the files."""
    painters = {
        "train_step": _speedups,
        "train_step_avx2": _speedups,
        "inference": _speedups,
        "ops": _speedups,
        "time_to_accuracy": _accuracies,
        "breakdown": _rooflines,
    }
    drawn = []
    for name, painter in painters.items():
        figure = painter(measured[name]) if name in measured else None
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=100)
            drawn.append(f"{name}.png")
    return drawn


def _speedups(record: dict[str, Any]) -> Figure | None:
    """A bar for each row or group, for the framework of the first peer."""
    names = results.frameworks(record["rows"])
    if not names:
        return None
    bars = list(_bars(record["rows"], names[0]))
    figure = Figure(figsize=(8, 1 + 0.3 * len(bars)), layout="constrained")
    axes = figure.subplots()
    labels, values = [label for label, _ in bars], [value for _, value in bars]
    artists = axes.barh(labels, values, color=[OURS if v >= 1 else THEIRS for v in values])
    axes.bar_label(artists, fmt="%.2fx", padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"time of {names[0]} / time of minigrad")
    return figure


def _bars(rows: list[results.Row], peer: str) -> Iterator[tuple[str, float]]:
    grouped = all("group" in row for row in rows)
    for row in results.group_means(rows) if grouped else rows:
        ratios = row["speedups"] if grouped else results.speedups(row)
        batch = f", batch {row['batch']}" if "batch" in row else ""
        if peer in ratios:
            yield f"{row['case']}{batch}, threads: {row['threads']}", ratios[peer]


def _accuracies(record: dict[str, Any]) -> Figure:
    """Accuracy over time since the start of the process."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for row in record["rows"]:
        for side, history in row["histories"].items():
            times, errors = zip(*((p["seconds"], 1 - p["accuracy"]) for p in history), strict=True)
            label = f"{row['case']}, {side}, threads: {row['threads']}"
            axes.plot(times, np.multiply(errors, 100), marker="o", label=label)
        axes.axhline(100 - 100 * row["target"], color="black", linewidth=0.8)
    axes.set(xlabel="seconds since the process was started", ylabel="test error, %", yscale="log")
    axes.legend()
    return figure


def _rooflines(record: dict[str, Any]) -> Figure:
    """Every op of a training step: its FLOP/s over its FLOPs per byte, under the machine's roof."""
    least = SHOWN * sum(row["seconds"]["minigrad"] for row in record["rows"])
    rows = [row for row in record["rows"] if row["flops"] and row["seconds"]["minigrad"] > least]
    networks = list(dict.fromkeys(row["case"] for row in rows))
    phases = ("forward", "backward")
    ops = list(dict.fromkeys(row["op"] for row in rows))
    figure = Figure(figsize=(11, 4 * len(networks)), layout="constrained")
    grid = figure.subplots(len(networks), 2, squeeze=False, sharex=True, sharey=True)
    for (network, phase), axes in zip(itertools.product(networks, phases), grid.flat, strict=True):
        mine = [row for row in rows if (row["case"], row["phase"]) == (network, phase)]
        threads = str(mine[0]["threads"]) if mine else "1"
        _roof(axes, record["limits"][threads])
        for op in dict.fromkeys(row["op"] for row in mine):
            points = [row for row in mine if row["op"] == op]
            axes.scatter(
                [row["flops"] / row["bytes"] for row in points],
                [row["flops"] / row["seconds"]["minigrad"] / 1e9 for row in points],
                s=[20 + 4e3 * row["seconds"]["minigrad"] for row in points],
                alpha=0.7,
                color=f"C{ops.index(op)}",
                label=op,
            )
        axes.set(title=f"{network}, {phase}, threads: {threads}", xscale="log", yscale="log")
        axes.legend(fontsize="x-small", loc="lower right")
    figure.supxlabel("FLOPs per byte that goes in or out (areas: time)")
    figure.supylabel("GFLOP/s, by the definition of the op")
    return figure


def _roof(axes: Axes, limit: dict[str, float]) -> None:
    intensity = np.geomspace(0.05, 500, 50)
    roof = np.minimum(limit["sgemm"], intensity * limit["bandwidth"]) / 1e9
    axes.plot(intensity, roof, color="black", linewidth=1)
