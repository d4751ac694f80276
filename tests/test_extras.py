"""Packages that may not be there."""

from __future__ import annotations

import sys

import pytest

from minigrad.data import read_digit
from minigrad.extras import import_extra


def test_what_is_there_is_imported() -> None:
    assert import_extra("f", "xml.dom") is sys.modules["xml.dom"]


def test_what_is_not_there_is_named_as_pip_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError) as caught:
        read_digit("seven.png")
    assert str(caught.value) == (
        "read_digit: expected the package pillow, which is not installed; run `pip install pillow`"
    )
