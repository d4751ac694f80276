"""`mg.compare`: two models side by side."""

from __future__ import annotations

from typing import Any

from minigrad.nn.module import Module
from minigrad.summaries.model import Shapes, Summary, numbers, summary
from minigrad.summaries.table import (
    Column,
    Row,
    Table,
    as_bytes,
    as_count,
    as_exact,
    as_ratio,
    as_shape,
)


def compare(a: Module, b: Module, input_shape: Shapes) -> Comparison:
    """Two models side by side: how many times the cost of `b` the cost of `a` is.

    A bottleneck (narrow by a 1x1, look by a 3x3, widen by a 1x1) against the plain 3x3 that it
    replaces has 8.47 times fewer multiply-adds:

        >>> plain = nn.Conv2d(256, 256, 3, padding=1, bias=False)
        >>> bottleneck = nn.Bottleneck(256, 64, 256)
        >>> print(mg.compare(plain, bottleneck, (8, 8, 256)))

    The FLOPs of the bottleneck's batch norms and ReLUs make the ratio of these a little smaller;
    of its three convolutions alone it is 8.47 as well. Backward, the plain one profits from being a
    first layer, whose input wants no gradient. Arguments are those of `summary`, which describes
    the numbers and runs both models.

    Returns:
        A `Comparison`: text when printed, a table in notebooks, numbers in its attributes.
    """
    return Comparison(summary(a, input_shape), summary(b, input_shape))


class Comparison:
    """What `compare` found.

    Attributes:
        a: the `Summary` of the first model.
        b: that of the second.
    """

    def __init__(self, a: Summary, b: Summary) -> None:
        self.a, self.b = a, b

    @property
    def ratios(self) -> dict[str, float]:
        """By the name of each number, that of `a` divided by that of `b`, where this is not 0."""
        a, b = _numbers(self.a), _numbers(self.b)
        return {name: a[name] / b[name] for name in a if b[name]}

    def to_dict(self) -> dict[str, Any]:
        """The numbers of both models and their ratios, as JSON can hold them."""
        return {"a": self.a.to_dict(), "b": self.b.to_dict(), "ratios": self.ratios}

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        a, b, ratios = _numbers(self.a), _numbers(self.b), self.ratios
        rows = [
            Row(label, [write(a[name]), write(b[name]), ratios.get(name, "-")])
            for name, (label, write) in LABELS.items()
        ]
        names = self.a.root.type, self.b.root.type
        if names[0] == names[1]:
            names = f"first {names[0]}", f"second {names[1]}"
        shapes = " and ".join(as_shape(shape) for shape in self.a.input_shapes)
        columns = [Column(names[0]), Column(names[1]), Column("ratio", as_ratio)]
        return Table(f"A step of training on {shapes}", columns, rows)


LABELS = {
    "parameters": ("parameters", as_exact),
    "forward_multiply_adds": ("multiply-adds forward", as_count),
    "backward_multiply_adds": ("multiply-adds backward", as_count),
    "forward_flops": ("FLOPs forward", as_count),
    "backward_flops": ("FLOPs backward", as_count),
    "flops": ("FLOPs together", as_count),
    "kept_bytes": ("kept for backward", as_bytes),
    "peak_bytes": ("peak memory", as_bytes),
}


def _numbers(each: Summary) -> dict[str, int]:
    return {**numbers(each.total), "flops": each.total.flops, "peak_bytes": each.peak_bytes}
