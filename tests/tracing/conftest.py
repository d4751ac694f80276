"""A real browser for the trace page: Debian's chromium, or whatever MINIGRAD_CHROMIUM names."""

from __future__ import annotations

import html
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minigrad.tracing.page import render

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("MINIGRAD_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium, or set MINIGRAD_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a trace from disk. A complaint, or a request to a network, fails the test."""
    contexts, troubles = [], []

    def open_page(
        data: dict[str, Any],
        *,
        step: int | None = None,
        size: str = "1280x900",
        notebook: bool = False,
        **more: Any,
    ) -> Any:
        path = tmp_path / "trace.html"
        text = render(data)
        if notebook:
            text = f'<iframe srcdoc="{html.escape(text)}" width="1200" height="800"></iframe>'
        path.write_text(text, encoding="utf-8")
        width, height = map(int, size.split("x"))
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: troubles.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"a dialog: {dialog.message}"))
        page.on("request", lambda r: troubles.append(r.url) if not local(r.url) else None)
        page.goto(path.as_uri() + (f"#step={step}" if step else ""))
        shown = page.frames[-1] if notebook else page
        shown.wait_for_selector("body[data-ready]")
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def local(url: str) -> bool:
    return url.startswith(("file:", "blob:", "data:"))
