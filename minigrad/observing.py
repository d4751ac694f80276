"""Looking at the engine from outside, at no cost while nobody looks."""

from __future__ import annotations

import threading
from typing import Any


class Replacements:
    """Puts other methods in the place of some while there are observers.

    Other threads that meet them must be led to the originals.

    Args:
        replaced: for each method the class, its name, the original, what takes its place.
    """

    def __init__(self, *replaced: tuple[type, str, Any, Any]) -> None:
        self.replaced = replaced
        self.observers = 0
        self.lock = threading.Lock()

    def add(self, observers: int) -> None:
        """So many observers have come, or gone."""
        with self.lock:
            self.observers += observers
            for owner, name, original, other in self.replaced:
                setattr(owner, name, other if self.observers else original)
