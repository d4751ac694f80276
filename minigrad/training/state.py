"""The whole state of a training, as the arrays and the JSON of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import random

ARRAY, SCALAR = "@array", "@scalar"  # what stands in JSON for one, with its name


def capture(**parts: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `restore` needs to go on bit for bit: arrays by dotted name, and the rest for JSON.

        arrays, state = capture(model=model, optimizer=optimizer, schedule=schedule, loader=loader)

    Args:
        parts: whatever has `state_dict` and `load_state_dict`, by name; None is passed over. The
            library's random generator is added by itself, as "rng".
    """
    arrays: dict[str, np.ndarray] = {}
    state: dict[str, Any] = {"rng": random.get_state()}
    for name, part in parts.items():
        if part is not None:
            rest = _take_out(part.state_dict(), name, arrays)
            state[name] = {"type": type(part).__name__, "state": rest}
    return arrays, state


def restore(arrays: Mapping[str, np.ndarray], state: Mapping[str, Any], **parts: Any) -> None:
    """Bring all parts, and the library's random generator, to where `capture` found them.

    All or nothing; and afterwards each part is asked for its state again, which must be the same to
    the bit.

    Args:
        arrays: those of `capture`; others among them are passed over.
        state: that of `capture`.
        parts: made as they were made then.

    Raises:
        ValueError: a part is missing, of another type, or does not fit.
    """
    before = capture(**parts)
    try:
        expected, got = _types(state), _types(before[1])
        if expected != got:
            raise ValueError(
                f"restore: the state is of {expected}, got {got}; "
                "make the parts as they were when the state was saved"
            )
        _load(arrays, state, parts)
        _compare(arrays, state, *capture(**parts))
    except BaseException as error:
        _load(*before, parts)
        if isinstance(error, KeyError):
            raise ValueError(
                f"restore: the state lacks {error}; give it all that `capture` returned"
            ) from error
        if isinstance(error, AttributeError | IndexError | TypeError):
            raise ValueError(
                f"restore: the state is not of the form that `capture` gives it ({error}); another "
                "version of minigrad may have written it"
            ) from error
        raise


def _types(state: Mapping[str, Any]) -> dict[str, str]:
    return {name: part["type"] for name, part in sorted(state.items()) if name != "rng"}


def _load(
    arrays: Mapping[str, np.ndarray], state: Mapping[str, Any], parts: Mapping[str, Any]
) -> None:
    # The optimizer comes last, because a schedule that is loaded sets the optimizer's rates.
    for name in sorted(_types(state), key="optimizer".__eq__):
        parts[name].load_state_dict(_put_back(state[name]["state"], arrays))
    random.set_state(state["rng"])


def _compare(
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    loaded: Mapping[str, np.ndarray],
    loaded_state: Mapping[str, Any],
) -> None:
    """Refuse parts that are not now what they were, as where a dtype was converted."""
    changed = [name for name, array in loaded.items() if not _same(array, arrays.get(name))]
    changed += [name for name, part in loaded_state.items() if part != state[name]]
    if changed:
        raise ValueError(
            f"restore: {', '.join(changed)} cannot be had again exactly, got another dtype or "
            "other values; make the parts as they were when the state was saved"
        )


def _same(array: np.ndarray, other: np.ndarray | None) -> bool:
    if other is None or (array.dtype, array.shape) != (other.dtype, other.shape):
        return False
    return array.tobytes() == other.tobytes()  # NaN is NaN, and -0 is not 0


def _take_out(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value with references in place of arrays, which are put into `arrays`."""
    if isinstance(value, np.ndarray | np.generic):
        if name in arrays:
            raise ValueError(f"capture: two arrays are named '{name}'; rename one")
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
