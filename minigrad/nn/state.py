"""Copying arrays into tensors by name: all or nothing, and nothing in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrad.engine import Tensor


class IncompatibleKeys(NamedTuple):
    """Names that were not found in a state, and names in it that belong to nothing."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_arrays(
    owner: str, targets: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """What `Module.load_state_dict` does, for the tensors of a module of type `owner`."""
    arrays = {k: v.data if isinstance(v, Tensor) else np.asarray(v) for k, v in state.items()}
    missing = [name for name in targets if name not in arrays]
    unexpected = [name for name in arrays if name not in targets]
    fitting = {name: array for name, array in arrays.items() if name in targets}
    problems = [_misfit(name, targets[name].data, array) for name, array in fitting.items()]
    if strict:
        problems += [f"'{name}' is missing" for name in missing]
        problems += [f"'{name}' is unexpected" for name in unexpected]
    if any(problems):
        raise ValueError(
            f"load_state_dict: the state does not fit this {owner}, so nothing was loaded: "
            f"{'; '.join(filter(None, problems))}; "
            "build the network as it was saved"
        )
    for name, array in fitting.items():
        np.copyto(targets[name].data, array, casting="same_kind")
        targets[name].bump_version()
    return IncompatibleKeys(missing, unexpected)


def _misfit(name: str, target: np.ndarray, array: np.ndarray) -> str:
    """Why `array` cannot be copied into `target`; empty if it can."""
    if array.shape != target.shape:
        return f"'{name}' expects shape {target.shape}, got {array.shape}"
    if not np.can_cast(array.dtype, target.dtype, "same_kind"):
        return f"'{name}' expects dtype {target.dtype}, got {array.dtype}"
    return "" if target.flags.writeable else f"'{name}' is a read-only array in this network"
