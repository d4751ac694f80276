"""capture and restore: a training that goes on elsewhere ends with the same bits."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import data, nn, optim
from minigrad.training import capture, load_checkpoint, restore, save_checkpoint

pytest.importorskip("safetensors", reason="files need safetensors")

EPOCHS, BATCHES = 3, 4
STEPS = EPOCHS * BATCHES
RNG = np.random.default_rng(0)
IMAGES = RNG.random((14, 6, 6, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, 14)

OPTIMIZERS = {
    "sgd": optim.SGD,
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=0.1),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, np.float64(0.01)),  # which multiplies as a double does
    "groups": lambda p: optim.AdamW([{"params": [w]} for w in p]),
}
SCHEDULES = {
    "none": lambda _: None,
    "step": lambda o: optim.StepLR(o, 2),
    "cosine": lambda o: optim.CosineAnnealingLR(o, STEPS),
    "one cycle": lambda o: optim.OneCycleLR(
        o, 0.1, STEPS, cycle_momentum=o.param_groups[0].get("momentum", 1) > 0
    ),
}


def make(optimizer="adamw", schedule="one cycle", dtype=np.float32):
    """A small training with everything that is random: order, augmentation, dropout."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 3)
    ).astype(dtype)
    transform = data.random_affine(max_degrees=10, max_pixels=2)
    loader = data.DataLoader(IMAGES.astype(dtype), LABELS, 4, shuffle=True, transform=transform)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    schedule = SCHEDULES[schedule](optimizer)
    return {"model": model, "optimizer": optimizer, "schedule": schedule, "loader": loader}


def batches(loader):
    while loader.epoch < EPOCHS:
        yield from loader


def train(model, optimizer, schedule, loader, steps=None):
    for x, y in itertools.islice(batches(loader), steps):
        optimizer.zero_grad()
        F.cross_entropy(model(mg.Tensor(x)), y).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def bits(parts):
    """Everything of a training, as text that differs where a bit does."""
    arrays, state = capture(**parts)
    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}, state


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_that_goes_on_from_a_file_ends_with_the_same_bits(
    tmp_path, optimizer, schedule, dtype
):
    mg.manual_seed(0)
    uninterrupted = make(optimizer, schedule, dtype)
    train(**uninterrupted)
    expected = bits(uninterrupted)

    for step in (1, BATCHES, BATCHES + 2, STEPS):
        mg.manual_seed(0)
        first = make(optimizer, schedule, dtype)
        train(**first, steps=step)
        arrays, state = capture(**first)
        save_checkpoint(tmp_path / "file", arrays, {"state": state})
        train(**first, steps=1)  # what goes on after that does not matter

        mg.manual_seed(99)
        second = make(optimizer, schedule, dtype)
        arrays, meta = load_checkpoint(tmp_path / "file")
        restore(arrays, meta["state"], **second)
        train(**second)
        assert bits(second) == expected, step


def test_capture_holds_copies():
    parts = make()
    before = bits(parts)
    arrays, state = capture(**parts)
    kept = copy.deepcopy((arrays, state))
    train(**parts)
    assert bits(parts) != before
    np.testing.assert_equal((arrays, state), kept)


def test_weights_have_the_names_that_they_have_in_the_model():
    arrays, _ = capture(**make())
    assert arrays["model.0.weight"].shape == (3, 3, 1, 4)


def trained(**options):
    parts = make(**options)
    train(**parts, steps=3)
    return capture(**parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": None}, r"the state is of \{.*'optimizer': 'AdamW'.*\}, got \{'loader'"),
        ({"extra": nn.ReLU()}, "got .*'extra': 'ReLU'"),
        ({"optimizer": optim.Adam}, "'optimizer': 'AdamW', .*'optimizer': 'Adam', "),
        ({"schedule": lambda o: optim.StepLR(o, 2)}, "'OneCycleLR'}, got .*'StepLR'"),
        ({"model": nn.Sequential(nn.Linear(3, 3))}, "the state does not fit this Sequential"),
        ({"loader": data.DataLoader(IMAGES, LABELS, 5, shuffle=True)}, "'batch_size': 5.*got.* 4"),
        ({"loader": data.DataLoader(IMAGES, LABELS, 4, seed=1)}, "'seed': 1.*got.*'seed': 0"),
        ({"loader": data.DataLoader(IMAGES[:9], LABELS[:9], 4, shuffle=True)}, "'items': 9.*got"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(change, message):
    arrays, state = trained()
    parts = make()
    train(**parts, steps=1)
    for name, other in change.items():
        of = {"optimizer": parts["model"].parameters(), "schedule": parts["optimizer"]}
        parts[name] = other(of[name]) if callable(other) and name in of else other
    before = bits(parts)
    with pytest.raises(ValueError, match=message) as raised:
        restore(arrays, state, **parts)
    assert "\n" not in str(raised.value)
    assert bits(parts) == before


def test_another_dtype_is_refused_for_it_would_not_be_the_same_to_the_bit():
    arrays, state = trained(dtype=np.float64)
    parts = make(dtype=np.float32)
    before = bits(parts)
    with pytest.raises(
        ValueError, match=r"restore: model.0.weight, .* cannot be had again exactly"
    ):
        restore(arrays, state, **parts)
    assert bits(parts) == before


@pytest.mark.parametrize("lost", ["model.4.bias", "optimizer.state.0.exp_avg"])
def test_an_array_that_is_lost_is_refused(lost):
    arrays, state = trained()
    del arrays[lost]
    parts = make()
    before = bits(parts)
    with pytest.raises(ValueError, match=f"restore: the state lacks '{lost}'; give it all"):
        restore(arrays, state, **parts)
    assert bits(parts) == before


def test_a_state_of_something_else_is_refused():
    for state in ({}, {"rng": 1}, {"model": {}}):
        with pytest.raises(ValueError, match=r"^restore: the state "):
            restore({}, state, **make())


def test_a_generator_state_that_is_none_is_refused_and_nothing_changes():
    arrays, state = trained()
    parts = make()
    before = bits(parts)
    with pytest.raises(ValueError, match="set_state: expected what get_state returned, got 'PCG'"):
        restore(arrays, {**state, "rng": "PCG"}, **parts)
    assert bits(parts) == before


def test_a_rate_that_was_set_by_hand_stays():
    parts = make(optimizer="momentum", schedule="step")
    parts["optimizer"].param_groups[0]["lr"] = 0.123
    other = make(optimizer="momentum", schedule="step")
    restore(*capture(**parts), **other)
    assert other["optimizer"].param_groups[0]["lr"] == 0.123


class Counter:
    """A part of a user's own, with all kinds of values."""

    def __init__(self, value):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state_dict):
        self.value = state_dict["value"]


@pytest.mark.parametrize(
    "value",
    [
        3,
        0.1,
        None,
        "text",
        np.float32(0.1),
        np.float64(np.nan),
        np.array([[1, 2]], np.int16),
        [np.zeros(2), {"a": [np.float16(1), 2]}],
        {"array": "a", "scalar": "b"},
        -0.0,
    ],
)
def test_parts_of_your_own(tmp_path, value):
    arrays, state = capture(counter=Counter(value))
    save_checkpoint(tmp_path / "file", arrays, state)
    other = Counter(7)
    restore(*load_checkpoint(tmp_path / "file"), counter=other)
    assert type(other.value) is type(value)
    np.testing.assert_equal(other.value, value)


def test_two_arrays_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"two arrays are named 'counter\.value\.a\.b'"):
        capture(counter=Counter({"a": {"b": np.zeros(1)}, "a.b": np.zeros(1)}))
