"""The random generators that training may draw from, beside the library's own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.nn import Module


class Generators:
    """Those that modules hold (as `nn.Dropout(rng=...)` does), NumPy's global one, and Python's.

    The loader's follow from its seed and the numbers of epoch and batch.
    """

    def __init__(self, model: Module) -> None:
        self.held = {
            f"{name}.{attribute}": value
            for name, module in model.named_modules()
            for attribute, value in vars(module).items()
            if isinstance(value, np.random.Generator)
        }

    def state_dict(self) -> dict[str, Any]:
        """Where they stand."""
        return {
            "held": {name: rng.bit_generator.state for name, rng in self.held.items()},
            "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - users may draw from it
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Put them where they stood.

        Raises:
            ValueError: other modules held one.
        """
        if state_dict["held"].keys() != self.held.keys():
            raise ValueError(
                f"fit: the checkpoint expects random generators in {sorted(state_dict['held'])}, "
                f"got a model with {sorted(self.held)}; build the network as it was saved"
            )
        for name, rng in self.held.items():
            rng.bit_generator.state = state_dict["held"][name]
        np.random.set_state(state_dict["numpy"])  # noqa: NPY002
        version, words, gauss = state_dict["python"]
        random.setstate((version, tuple(words), gauss))  # lists, where JSON was in between
