"""The trace page: one HTML file that shows a run step by step, from disk, without a network.

Plain HTML, CSS and JavaScript lie beside this file, by room; `render` puts them and the trace into
one text. There is no build step: what is here is what runs. The graph is laid out by dagre
(`dagre.min.js`, https://github.com/dagrejs/dagre, version 3.1.3, MIT licence in `dagre.LICENSE`).
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
STYLES = ("style.css", "graph.css", "panel.css")
# What lays out the graph runs in a worker, so that the page answers meanwhile.
LAYOUT = ("dagre.min.js", "layout.js")
SCRIPTS = (
    "data.js",
    "words.js",
    "groups.js",
    "viewport.js",
    "layers.js",
    "graph.js",
    "pictures.js",
    "tensors.js",
    "convolution.js",
    "gemm.js",
    "taps.js",
    "panel.js",
    "timeline.js",
    "search.js",
    "main.js",
)


def render(data: dict[str, Any]) -> str:
    """A whole HTML text that shows the trace.

    Args:
        data: the trace, of version 1, as `minigrad.tracing` writes it.

    Raises:
        ValueError: the trace is of another version.
    """
    if data.get("version") != 1:
        raise ValueError(
            f"render: expected a trace of version 1, got {data.get('version')!r}; trace again with "
            "this minigrad"
        )
    style = "".join(_read(name) for name in STYLES)
    # The map that dagre names is not shipped, so a browser must not look for it.
    layout = re.sub(r"//# sourceMappingURL=\S+", "", "".join(_read(name) for name in LAYOUT))
    layout = layout.replace("\x01", "\\x01")  # a character of dagre's that HTML does not allow
    script = "".join(_read(name) for name in SCRIPTS)
    parts = {
        "title": html.escape(str(data["title"])),
        "policy": _policy(style, layout, script),
        "style": style,
        "layout": layout,
        "script": script,
        "data": pack(data),
        "licence": html.escape(_read("dagre.LICENSE")),
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda hole: parts[hole[1]], _read("page.html"))


def pack(data: dict[str, Any]) -> str:
    """The trace as base64 of gzipped JSON: small, and nothing in it can end a script."""
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _finite(x: Any) -> Any:
    """JSON has no NaN and no Inf, so they travel as the text that JavaScript's Number() reads."""
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_finite(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return x


def _policy(style: str, *scripts: str) -> str:
    """What the browser may run: these very texts, and nothing from anywhere else."""
    allowed = " ".join(_digest(text) for text in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; "
        "worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
