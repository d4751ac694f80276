"""The graph of a result in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minigrad.declaration import LOST
from minigrad.engine import Tensor
from minigrad.nn.module import Module
from minigrad.observing import nodes_behind
from minigrad.tracing.tables import Tables
from minigrad.tracing.values import Call


def graph(output: Tensor, *, model: Module | None = None) -> str:
    """What a tensor was made of, as DOT text, for `dot -Tsvg` or any viewer of it.

    Boxes are ops with the shapes of their results, ellipses the tensors that they start from. What
    belongs to one module is in one cluster. Numbers and arrays that are no tensors are left out.

    Args:
        output: any result, usually the loss.
        model: the module that names begin at, where it is not the one that was called.

    Raises:
        RuntimeError: nothing was recorded for it.
        TypeError: it is no Tensor.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"graph: expected a Tensor, got {type(output).__name__}; pass the loss")
    nodes = nodes_behind([output])
    if not nodes:
        raise RuntimeError(
            "graph: this tensor was not computed by any op that was recorded; pass a result that "
            "requires a gradient"
        )
    tables = Tables({node: Call([LOST] * len(node.parents), {}, LOST) for node in nodes}, model)
    lines = [
        "digraph {",
        "  rankdir=LR",
        '  node [shape=box, style=rounded, fontname="sans-serif"]',
        *_cluster(tables, 0, "  "),
        *(f"  {edge}" for edge in _edges(tables)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _cluster(tables: Tables, module: int, indent: str) -> Iterator[str]:
    """What belongs to a module, and the modules inside it."""
    for place, tensor in enumerate(tables.tensors):
        if tensor["module"] != module or tensor["role"] == "constant":
            continue
        name, shape = tensor["name"], " x ".join(map(str, tensor["shape"])) or "a number"
        if tensor["node"] is None:
            label = _quoted(f"{name or tensor['role']}\n{shape}")
            yield f"{indent}t{place} [label={label}, shape=ellipse]"
        else:
            op = tables.nodes[tensor["node"]]["op"]
            label = _quoted(f"{name} = {op}\n{shape}" if name else f"{op}\n{shape}")
            yield f"{indent}t{place} [label={label}]"
    for place, row in enumerate(tables.modules.rows):
        if row["parent"] == module:
            yield f"{indent}subgraph cluster_{place} {{"
            yield f"{indent}  label={_quoted(row['name'] + ': ' + row['type'])}"
            yield from _cluster(tables, place, indent + "  ")
            yield indent + "}"


def _edges(tables: Tables) -> Iterator[str]:
    for node in tables.nodes:
        for tensor in node["inputs"]:
            if tables.tensors[tensor]["role"] != "constant":
                yield f"t{tensor} -> t{node['output']}"


def _quoted(text: Any) -> str:
    """A string of DOT: only quotes, backslashes and ends of lines mean anything in it."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
