"""The whole state of a training, as the arrays and the JSON of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import random

ARRAY, SCALAR = "@array", "@scalar"  # what stands in JSON for one, with its name as the value


def capture(**parts: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `restore` needs to go on bit for bit: arrays by dotted name, and the rest for JSON.

        arrays, state = capture(model=model, optimizer=optimizer, schedule=schedule, loader=loader)

    Args:
        parts: whatever has a `state_dict`, by name; None is passed over. The library's random
            generator is added as "rng".
    """
    arrays: dict[str, np.ndarray] = {}
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    rest = {name: _take_out(state, name, arrays) for name, state in states.items()}
    return arrays, {**rest, "rng": random.get_state()}


def restore(arrays: Mapping[str, np.ndarray], state: Mapping[str, Any], **parts: Any) -> None:
    """Bring all parts, and the library's random generator, to where `capture` found them.

    Raises:
        ValueError: a part is missing, or does not fit.
    """
    expected = sorted(name for name, part in parts.items() if part is not None)
    if expected != sorted(state.keys() - {"rng"}):
        raise ValueError(
            f"restore: the checkpoint holds the state of {sorted(state.keys() - {'rng'})}, "
            f"got {expected}; train with the options that the run was begun with"
        )
    for name in expected:
        parts[name].load_state_dict(_put_back(state[name], arrays))
    random.set_state(state["rng"])


def _take_out(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value with references in place of arrays, which are put into `arrays`."""
    if isinstance(value, np.ndarray | np.generic):
        arrays[name] = np.asarray(value)
        return {ARRAY if isinstance(value, np.ndarray) else SCALAR: name}
    if isinstance(value, Mapping):
        return {str(key): _take_out(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_take_out(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    return value


def _put_back(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The opposite of `_take_out`, but that tuples are lists and all keys are text."""
    if isinstance(value, Mapping):
        if [*value] == [ARRAY]:
            return arrays[value[ARRAY]]
        if [*value] == [SCALAR]:
            return arrays[value[SCALAR]][()]
        return {key: _put_back(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_back(item, arrays) for item in value]
    return value
