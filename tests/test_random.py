"""The library's random generator."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad import random


@pytest.mark.parametrize("drawn", range(4))
def test_it_goes_on_where_it_stood(drawn):
    mg.manual_seed(3).integers(9, size=drawn, dtype=np.uint32)  # these leave half a draw behind
    state = json.loads(json.dumps(random.get_state()))
    expected = random.default_rng().integers(2**32, size=5, dtype=np.uint32)
    mg.manual_seed(4)
    random.set_state(state)
    found = random.default_rng().integers(2**32, size=5, dtype=np.uint32)
    np.testing.assert_array_equal(found, expected)


STATE = np.random.PCG64(0).state


@pytest.mark.parametrize(
    "state",
    [
        None,
        3,
        {},
        {**STATE, "bit_generator": "MT19937"},
        np.random.MT19937(0).state,
        {**STATE, "state": {}},
        {**STATE, "state": {"state": "a", "inc": 1}},
        {**STATE, "state": {"state": -1, "inc": 1}},
        {**STATE, "state": {"state": 2**200, "inc": 1}},
        {**STATE, "has_uint32": 2.5},
        {**STATE, "uinteger": 2**70},
        {name: value for name, value in STATE.items() if name != "uinteger"},
    ],
)
def test_what_is_no_state_is_refused_and_nothing_changes(state):
    before = random.get_state()
    with pytest.raises(ValueError, match="set_state: expected what get_state returned, got "):
        random.set_state(state)
    assert random.get_state() == before
