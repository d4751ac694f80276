"""The default random generator: what initialisation and dropout draw from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache  # made when first asked for, because importing np.random takes a while
def default_rng() -> np.random.Generator:
    """The generator that `manual_seed` seeds; unseeded, it differs from run to run."""
    return np.random.default_rng()


def manual_seed(seed: int) -> np.random.Generator:
    """Start the default generator again from `seed`, so that what follows can be repeated."""
    generator = default_rng()
    generator.bit_generator.state = np.random.PCG64(seed).state
    return generator


def get_state() -> Any:
    """Where the default generator stands, for `set_state`: text and integers."""
    return default_rng().bit_generator.state


def set_state(state: Any) -> None:
    """Put the default generator where `get_state` found it.

    Raises:
        ValueError: it is no state of this kind of generator. Nothing was changed.
    """
    generator = default_rng().bit_generator
    before = generator.state
    try:
        generator.state = state
        if generator.state != state:  # it takes 2.5 for 2
            raise ValueError(state)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        generator.state = before
        raise ValueError(
            f"set_state: expected what get_state returned, got {state!r:.200}"
        ) from error
