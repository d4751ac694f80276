"""What happened in each epoch: in memory, as metrics.jsonl, metrics.csv and for TensorBoard."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrad.extras import import_extra
from minigrad.files import write_atomically

Record = dict[str, Any]


@dataclass
class History:
    """One record for each epoch.

    Attributes:
        records: dicts with "epoch" (from 1), "train_loss" (mean of an image), "lr" (at the end of
            the epoch), "seconds" (of training) and "images_per_second"; with validation data also
            "test_loss" and "test_accuracy".
        stopped: why training ended before its last epoch: "patience", "callback", or None.
    """

    records: list[Record] = field(default_factory=list)
    stopped: str | None = None

    def column(self, name: str) -> list[Any]:
        """One number of each epoch, None where it is not there."""
        return [record.get(name) for record in self.records]

    @property
    def best_accuracy(self) -> float | None:
        """The highest test accuracy of an epoch."""
        return max((x for x in self.column("test_accuracy") if x is not None), default=None)

    def epochs_since_best(self) -> int:
        """How many epochs ago the test loss was lowest."""
        losses = [math.inf if x is None else x for x in self.column("test_loss")]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def write(self, folder: Path) -> None:
        """Write metrics.jsonl and metrics.csv, each as a whole."""
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        write_atomically(folder / "metrics.jsonl", lines.encode())
        table = io.StringIO(newline="")
        names = [*{name: None for record in self.records for name in record}] or ["epoch"]
        writer = csv.DictWriter(table, names)  # what a record lacks is left empty
        writer.writeheader()
        writer.writerows(self.records)
        write_atomically(folder / "metrics.csv", table.getvalue().encode())


def plain(value: Any) -> Any:
    """An array or tensor as numbers, and a number that JSON lacks (NaN, Inf) as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """The same numbers as events that TensorBoard shows: `tensorboard --logdir runs`.

    Args:
        folder: where the file of events goes.
        epochs_done: how many epochs the history has; what an earlier run wrote beyond is hidden.

    Raises:
        ImportError: the tensorboardX package is not installed.
    """

    def __init__(self, folder: Path, epochs_done: int) -> None:
        writers = import_extra("fit: tensorboard=True", "tensorboardX")
        self.writer = writers.SummaryWriter(str(folder), purge_step=epochs_done + 1)

    def write(self, record: Record) -> None:
        """Add the numbers of an epoch."""
        for name, value in record.items():
            if name != "epoch" and isinstance(value, int | float):
                self.writer.add_scalar(name, value, record["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """Write what is still to be written."""
        self.writer.close()
