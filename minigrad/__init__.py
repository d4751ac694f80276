"""minigrad: a tiny reverse-mode autograd engine on compiled, BLAS-backed convolution kernels.

    import minigrad as mg
    import minigrad.functional as F

Start reading at `minigrad/engine.py`; docs/how-to-read.md shows the way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minigrad import interpreted  # noqa: F401 - before all that it decides about

# isort: split
from minigrad import functional, interop
from minigrad.checkpoint import checkpoint
from minigrad.engine import Op, Tensor, op
from minigrad.gradient import grad
from minigrad.modes import detect_anomaly, enable_grad, is_grad_enabled, no_grad
from minigrad.random import default_rng, manual_seed
from minigrad_ext import empty_cache, get_num_threads, kernels, set_num_threads

if TYPE_CHECKING:
    from minigrad import data, models, nn, optim, testing, training
    from minigrad.configuration import config, show_config
    from minigrad.interop.dlpack import from_dlpack
    from minigrad.profiling import profile
    from minigrad.summaries import compare, summary
    from minigrad.tracing import graph, trace

__version__ = "0.1.0"

__all__ = [
    "Op",
    "Tensor",
    "__version__",
    "checkpoint",
    "compare",
    "config",
    "data",
    "default_rng",
    "detect_anomaly",
    "empty_cache",
    "enable_grad",
    "from_dlpack",
    "functional",
    "get_num_threads",
    "grad",
    "graph",
    "interop",
    "is_grad_enabled",
    "kernels",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "op",
    "optim",
    "profile",
    "set_num_threads",
    "show_config",
    "summary",
    "testing",
    "trace",
    "training",
]

_LOADED_WHEN_USED = {
    "compare": "minigrad.summaries",
    "config": "minigrad.configuration",
    "data": "",
    "from_dlpack": "minigrad.interop.dlpack",
    "graph": "minigrad.tracing",
    "models": "",
    "nn": "",
    "optim": "",
    "profile": "minigrad.profiling",
    "show_config": "minigrad.configuration",
    "summary": "minigrad.summaries",
    "testing": "",
    "trace": "minigrad.tracing",
    "training": "",
}  # in which module it stands, if it is none itself


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
    module = _LOADED_WHEN_USED[name]
    return getattr(import_module(module), name) if module else import_module(f"minigrad.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_WHEN_USED})
