"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator

from minigrad.engine import Tensor
from minigrad.nn.module import Module


class Sequential(Module):
    """Apply modules one after the other. `net[1]` is the second of them, `net[1:]` the rest.

    Names in a state_dict are positions, as in PyTorch: `0.weight`.
    """

    def __init__(self, *layers: Module) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(
                    f"Sequential: expected modules, got {type(layer).__name__} at {position}; "
                    "write Sequential(*layers) for a list of them"
                )
        self.layers = list(layers)

    def named_members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """The members, the layers under their positions."""
        for name, member in super().named_members():
            yield name.removeprefix("layers."), member

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Module:
        chosen = self.layers[index]
        return Sequential(*chosen) if isinstance(chosen, list) else chosen

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer makes of what the others made of x."""
        for layer in self.layers:
            x = layer(x)
        return x
