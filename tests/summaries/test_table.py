"""Tables: aligned where text is, well-formed and escaped where HTML is."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.summaries.table import (
    Column,
    Row,
    Table,
    as_bytes,
    as_count,
    as_ratio,
    as_shape,
    as_share,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (9994, "9.99k"),
        (9995, "10.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (102_961_152, "103M"),
        (19.3e9, "19.3G"),
        (5e15, "5.00e+15"),
    ],
)
def test_counts_have_three_digits(number: float, text: str) -> None:
    assert as_count(number) == text


def test_other_numbers() -> None:
    assert [as_bytes(n) for n in (0, 12, 12_345)] == ["0", "12B", "12.3kB"]
    assert [as_share(p) for p in (0, 0.1234, 0.9994, 1)] == ["0.0%", "12.3%", "99.9%", "100%"]
    assert [as_ratio(r) for r in (8.4706, 2168.1)] == ["8.47x", "2,168x"]
    assert as_shape((8, 28, 28, 32), batch=8) == "N×28×28×32"
    assert [as_shape((4, 3)), as_shape((4, 3), batch=8), as_shape(())] == [
        "4×3",
        "4×3",
        "one number",
    ]


def test_text_by_hand() -> None:
    columns = [Column("n"), Column("fwd", group="work"), Column("bwd", group="work")]
    rows = [Row("a", [1, 20_000, "text"]), Row("b", [None, 3, 4], depth=1)]
    table = Table("A title", columns, rows, Row("total", [1, 2, 3]), ["A note"])
    assert table.text().splitlines() == [
        "A title",
        "",
        "              work",
        "       n    fwd   bwd",
        "─────────────────────",
        "a      1  20.0k  text",
        "  b           3     4",
        "─────────────────────",
        "total  1      2     3",
        "",
        "A note",
    ]


@pytest.mark.parametrize("make", [mg.models.nin, mg.models.bottleneck])
def test_summaries_of_the_examples_fit_a_terminal(make: Any) -> None:
    summary = mg.summary(make(), (128, 28, 28, 1))
    lines = str(summary).splitlines()
    assert max(map(len, lines)) <= 80
    header = next(line for line in lines if "params" in line)
    total = next(line for line in lines if line.startswith("total"))
    parameters = f"{summary.total.parameters:,}"
    assert header.index("params") + 6 == total.index(parameters) + len(parameters)
    assert header.endswith("share")
    assert len(header) == len(total)


def test_containers_of_one_layer_take_one_line() -> None:
    text = str(mg.summary(nn.MLPConv(3, 4, 5, 3), (8, 8, 3)))
    assert "0.0 Conv2d" in text
    assert "Sequential" not in text
    one = mg.summary(nn.Conv2d(3, 4, 1), (8, 8, 3))
    assert [line.split()[0] for line in str(one).splitlines()[5:8:2]] == ["Conv2d", "total"]


def test_own_ops_have_a_line_below_the_layers() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(4, 4)
            self.shift = nn.Parameter(np.zeros(4, np.float32))

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return F.exp(F.tanh(F.relu(self.fc(x)))) + self.shift

    summary = mg.summary(Head(), (3, 4))
    lines = str(summary).splitlines()
    assert lines[5].startswith("fc Linear")
    assert lines[6].split()[:6] == ["·", "relu,", "tanh,", "...", "4", "0"]
    assert "relu, tanh, exp, add" in summary._repr_html_()


class Cells(HTMLParser):
    """The texts of a table's cells, row by row; refuses what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.titles: list[str | None] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.titles.append(dict(attrs).get("title"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_html_has_the_cells_of_the_text() -> None:
    summary = mg.summary(mg.models.nin(), (8, 28, 28, 1))
    parser = Cells()
    parser.feed(summary._repr_html_())
    assert parser.open == []
    assert len({len(row) for row in parser.rows[1:]}) == 1
    lines = [line.split() for line in str(summary).splitlines() if "×" in line or "total" in line]
    cells = [[cell.split()[0] for cell in row[1:]] for row in parser.rows[2:]]
    assert cells == [line[-8:] for line in lines[1:]]  # without the title
    assert "70,986" in parser.titles
    assert f"{summary.total.forward.flops:,}" in parser.titles


def test_names_from_outside_are_escaped() -> None:
    evil = type("<script>alert(1)</script>", (nn.Sequential,), {})
    inside = evil(nn.ReLU(), nn.ReLU())
    for model in inside, nn.Sequential(inside):
        page = mg.summary(model, (3, 4))._repr_html_()
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    options = type("Odd", (nn.ReLU,), {"extra_repr": lambda self: "<b>&"})
    page = mg.summary(nn.Sequential(options(), nn.ReLU()), (3, 4))._repr_html_()
    assert "&lt;b&gt;&amp;" in page
