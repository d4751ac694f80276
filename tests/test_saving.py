"""Whatever minigrad writes on request appears whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import minigrad as mg


def a_trace() -> Any:
    return mg.trace(mg.Tensor([2.0], requires_grad=True).sum())


@pytest.mark.parametrize("make", [a_trace, mg.profile])
def test_a_full_disk_leaves_the_file_that_was_there(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("earlier")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"^cannot write .*file: No space left on device; "):
        make().save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "earlier"
