"""The page as a text: what is in it, and what cannot get out of it."""

from __future__ import annotations

import base64
import gzip
import json
import pkgutil
import re
from hashlib import sha256
from importlib import import_module
from importlib.resources import files

import made_traces
import pytest

from minigrad import functional
from minigrad.engine import Op
from minigrad.tracing import page

FOLDER = files(page)
PAGE = page.render(made_traces.small())


def embedded(text: str) -> object:
    packed = re.search(r'id="data">([^<]*)</script>', text)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_the_trace_is_in_the_page_as_it_was_given() -> None:
    assert embedded(PAGE) == json.loads(json.dumps(made_traces.small()))


def test_there_are_no_characters_that_html_forbids() -> None:
    assert re.findall("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffe\uffff]", PAGE) == []


def test_nan_and_inf_travel_as_text() -> None:
    data = made_traces.square()
    data["tensors"][0]["value"] |= {"min": float("nan"), "max": float("inf"), "mean": -float("inf")}
    value = embedded(page.render(data))["tensors"][0]["value"]  # type: ignore[index]
    assert [value[name] for name in ("min", "max", "mean")] == ["NaN", "Infinity", "-Infinity"]


def test_a_trace_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"render: expected a trace of version 1, got 2; trace"):
        page.render(made_traces.square() | {"version": 2})


def test_no_text_of_the_user_can_become_html() -> None:
    data = made_traces.rude()
    text = page.render(data)
    assert data["title"] not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert "<img" not in text


def test_nothing_is_loaded_and_only_these_scripts_may_run() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', PAGE)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    bodies = re.findall(r"<script(?: id=\"layout\")?>(.*?)</script>", PAGE, re.DOTALL)
    bodies += re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)
    assert len(bodies) == 3
    for body in bodies:
        digest = base64.b64encode(sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert not re.search(r"(src|href)=\"(?!#)", PAGE)
    assert "sourceMappingURL" not in PAGE


def test_every_file_of_the_folder_is_in_the_page_and_short_enough_to_read() -> None:
    used = {*page.STYLES, *page.LAYOUT, *page.SCRIPTS, "page.html", "dagre.LICENSE", "__init__.py"}
    assert used == {file.name for file in FOLDER.iterdir() if file.name != "__pycache__"}
    for name in used - {"dagre.min.js"}:
        assert len(FOLDER.joinpath(name).read_text(encoding="utf-8").splitlines()) <= 400, name


def test_the_layout_library_is_named_with_its_version_and_licence() -> None:
    assert '"3.1.3"' in FOLDER.joinpath("dagre.min.js").read_text(encoding="utf-8")
    assert "dagre 3.1.3" in PAGE
    assert "Permission is hereby granted, free of charge" in PAGE


def test_code_and_library_are_small() -> None:
    assert len(PAGE) < 300_000


def test_every_op_of_a_forward_pass_has_its_words_and_no_words_are_left_over() -> None:
    ops = set()
    for module in pkgutil.iter_modules(functional.__path__):
        rooms = vars(import_module(f"minigrad.functional.{module.name}"))
        ops |= {thing.name.lstrip("_") for thing in rooms.values() if isinstance(thing, Op)}
    # These have no gradient, or only rules call them.
    helpers = {"argmax", "hat", "identity", "put_back", "scatter", "take"}
    ops = {name for name in ops if not name.endswith(("_grad", "_sums"))} - helpers
    words = FOLDER.joinpath("words.js").read_text(encoding="utf-8")
    named = set(re.findall(r"^  (\w+): \[\"", words, re.MULTILINE))
    assert named == (ops - {"conv2d_relu"}) | {"pointwise", "checkpoint"}
