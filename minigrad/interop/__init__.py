"""Friends: what minigrad shares with other libraries. Each part is loaded when it is used.

`dlpack` shares memory (`mg.from_dlpack`), `torch` exchanges weights with PyTorch, and with `einops`
`rearrange(x, "b h w c -> b (h w) c")` and its companions work on Tensors as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from minigrad.interop import dlpack, einops, torch

__all__ = ["dlpack", "einops", "torch"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'minigrad.interop' has no attribute {name!r}")
    return import_module(f"minigrad.interop.{name}")


class AfterEinops:
    """Loads our backend for einops right after einops itself, which is not imported for it.

    einops asks the backends that are defined when it meets a Tensor. Python tells nobody that a
    module was imported, but it asks `sys.meta_path` where to find it.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Where the others find it, with a loader that then loads ours."""
        if name != "einops._backends":
            return None
        others = (finder for finder in sys.meta_path if finder is not cls)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is None or spec.loader is None:
            return spec
        loader = spec.loader
        execute = loader.exec_module

        def execute_and_load_ours(module: Any) -> None:
            execute(module)
            import_module("minigrad.interop.einops")

        loader.exec_module = execute_and_load_ours  # type: ignore[method-assign]
        return spec


if "einops._backends" in sys.modules:
    import_module("minigrad.interop.einops")
else:
    sys.meta_path.insert(0, AfterEinops)
