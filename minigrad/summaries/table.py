"""A table as text for terminals, and as HTML for notebooks, dark or light."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from minigrad.flops import Shape

WIDTH = 80  # columns of a terminal, where they suffice


def as_count(number: float) -> str:
    """Three digits and the thousands as a letter: 70986 is 71.0k."""
    for power, letter in enumerate(("", "k", "M", "G", "T")):
        scaled = number / 1000**power
        if scaled < 999.5:
            digits = 0 if not power or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f}{letter}"
    return f"{number:.2e}"


def as_bytes(number: float) -> str:
    """As `as_count`, in bytes: 70986 is 71.0kB."""
    return f"{as_count(number)}B" if number else "0"


def as_exact(number: int) -> str:
    """All digits: 70986 is 70,986."""
    return f"{number:,}"


def as_share(part: float) -> str:
    """A part of 1 in percent, in five places."""
    return f"{part:.1%}" if part < 0.9995 else "100%"


def as_ratio(ratio: float) -> str:
    """So many times: 8.47x."""
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:,.0f}x"


def as_shape(shape: Shape, batch: int | None = None) -> str:
    """28×28×32; with an N in front where the first length is that of the batch."""
    if batch is not None and shape[:1] == (batch,):
        return "×".join(["N", *map(str, shape[1:])])
    return "×".join(map(str, shape)) or "one number"


@dataclass(frozen=True)
class Column:
    """What a column is called (below the name of its group) and how its numbers are written."""

    name: str
    write: Callable[[Any], str] = as_count
    group: str = ""


@dataclass(frozen=True)
class Row:
    """A label and a cell for each column: a number, a text as it is, or None.

    `depth` indents the row, `about` is for where there is room, `share` a bar behind the row.
    """

    label: str
    cells: Sequence[Any]
    depth: int = 0
    about: str = ""
    share: float = 0.0


@dataclass(frozen=True)
class Table:
    """A title, rows below a header, a last row below a line, and notes."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    last: Row | None = None
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Aligned lines without trailing blanks."""
        rows = [*self.rows, self.last] if self.last else [*self.rows]
        labels = ["  " * row.depth + row.label for row in rows]
        body = [[label, *self._written(row)] for label, row in zip(labels, rows, strict=True)]
        names = ["", *(column.name for column in self.columns)]
        widths = [max(map(len, cells)) for cells in zip(names, *body, strict=True)]
        gap = " " * (2 if sum(widths) + 2 * len(self.columns) <= WIDTH else 1)
        lines = [_line(cells, widths, gap) for cells in (names, *body)]
        rule = "─" * max(map(len, lines))
        lines.insert(1, rule)
        if self.last:
            lines.insert(-1, rule)
        groups = self._group_line(widths, gap)
        notes = ["", *self.notes] if self.notes else []
        return "\n".join([self.title, "", *filter(None, [groups]), *lines, *notes])

    def _group_line(self, widths: Sequence[int], gap: str) -> str:
        """Each group's name, over the middle of its columns."""
        pairs = zip(["", *(column.group for column in self.columns)], widths, strict=True)
        parts = []
        for group, members in groupby(pairs, key=lambda pair: pair[0]):
            spans = [width for _, width in members]
            parts.append(group.center(sum(spans) + len(gap) * (len(spans) - 1)))
        return gap.join(parts).rstrip()

    def _written(self, row: Row) -> list[str]:
        return [
            "" if cell is None else cell if isinstance(cell, str) else column.write(cell)
            for column, cell in zip(self.columns, row.cells, strict=True)
        ]

    def html(self) -> str:
        """A table with a style of its own, in the colours of whatever page it stands in."""
        body = "".join(self._html_row(row) for row in self.rows)
        foot = f"<tfoot>{self._html_row(self.last)}</tfoot>" if self.last else ""
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return (
            f'<div class="minigrad-table"><style>{STYLE}</style><table>'
            f"<caption>{html.escape(self.title)}</caption>"
            f"<thead>{''.join(self._html_header())}</thead>"
            f"<tbody>{body}</tbody>{foot}</table>{notes}</div>"
        )

    def _html_header(self) -> Iterator[str]:
        if any(column.group for column in self.columns):
            groups = groupby(self.columns, key=lambda column: column.group)
            spans = [(name, len(list(members))) for name, members in groups]
            cells = [f"<th colspan={span}>{html.escape(name)}</th>" for name, span in spans]
            yield f"<tr><th></th>{''.join(cells)}</tr>"
        names = "".join(f"<th>{html.escape(column.name)}</th>" for column in self.columns)
        yield f"<tr><th></th>{names}</tr>"

    def _html_row(self, row: Row) -> str:
        about = f" <small>{html.escape(row.about)}</small>" if row.about else ""
        bar = f' style="--share:{row.share:.2%}"' if row.share else ""
        cells = "".join(
            f"<td{_exactly(cell)}>{html.escape(text)}</td>"
            for cell, text in zip(row.cells, self._written(row), strict=True)
        )
        label = f'<th scope=row style="padding-left:{0.5 + 1.2 * row.depth:.1f}em">'
        return f"<tr{bar}>{label}{html.escape(row.label)}{about}</th>{cells}</tr>"


def _line(cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
    """The first cell to the left, all others to the right."""
    first, *others = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return gap.join([cells[0].ljust(len(first)), *others]).rstrip()


def _exactly(cell: Any) -> str:
    """All digits of a count, for the mouse."""
    return f' title="{cell:,}"' if isinstance(cell, int) else ""


# Notebooks have themes of their own, so every colour here is a shade of theirs.
STYLE = """
.minigrad-table { overflow-x: auto }
.minigrad-table table { border-collapse: collapse; margin: 0; font-size: 13px; background: none;
  color: inherit }
.minigrad-table caption { text-align: left; caption-side: top; padding: 4px 8px; font-weight: bold;
  color: inherit }
.minigrad-table tr { background: none }
.minigrad-table th, .minigrad-table td { padding: 2px 8px; text-align: right; white-space: nowrap;
  border: none; font-variant-numeric: tabular-nums }
.minigrad-table th { font-weight: normal }
.minigrad-table th[colspan] { text-align: center }
.minigrad-table thead { opacity: .7; border-bottom: 1px solid rgba(128, 128, 128, .5) }
.minigrad-table tfoot { border-top: 1px solid rgba(128, 128, 128, .5) }
.minigrad-table th[scope] { text-align: left }
.minigrad-table small { opacity: .6 }
.minigrad-table tr[style] td:last-child { min-width: 6em; background: linear-gradient(to right,
  rgba(70, 130, 220, .4) var(--share), transparent var(--share)) }
.minigrad-table p { opacity: .7; font-size: 12px; margin: 4px 8px }
""".strip()
