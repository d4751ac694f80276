"""`fit` takes the steps that one would write by hand, and stops when it is told to."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import EPOCHS, IMAGES, STEPS, Run, images_and_labels, timeless

import minigrad as mg
import minigrad.functional as F
from minigrad import data, nn, optim, training


def weights(model: nn.Module) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.state_dict().items()}


# -------------------------------------------------------------------------- the steps


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_it_is_the_loop_that_one_would_write(max_norm: float | None) -> None:
    run = Run()
    history = run.fit(max_norm=max_norm)

    twin, losses, rates = Run(), [], []
    for _ in range(EPOCHS):
        twin.model.train()
        total = 0.0
        for images, labels in twin.loader:
            loss = F.cross_entropy(twin.model(mg.Tensor(images)), labels)
            twin.optimizer.zero_grad()
            loss.backward()
            if max_norm is not None:
                optim.clip_grad_norm(twin.model.parameters(), max_norm)
            twin.optimizer.step()
            twin.schedule.step()
            total += loss.item() * len(images)
        losses.append(total / IMAGES)
        rates.append(twin.optimizer.param_groups[0]["lr"])

    assert weights(run.model) == weights(twin.model)
    assert history.column("train_loss") == losses
    assert history.column("lr") == rates
    assert history.column("epoch") == [1, 2, 3]
    images, labels = images_and_labels(9)
    right = twin.model.eval()(mg.Tensor(images)).data.argmax(1) == labels
    assert history.column("test_accuracy")[-1] == right.mean()
    assert history.best_accuracy == max(history.column("test_accuracy"))


def test_records_say_how_fast_it_was() -> None:
    for record in Run().fit(validation=None).records:
        assert record["images_per_second"] == pytest.approx(IMAGES / record["seconds"])
        assert "test_loss" not in record


def test_any_loss_will_do_and_only_classes_have_an_accuracy() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [2.0], [3.0]], np.float32)
    model = nn.Linear(3, 1)
    history = training.fit(
        model,
        data.DataLoader(x, y, 5),
        optimizer=optim.SGD(model.parameters(), lr=0.1),
        epochs=40,
        loss=F.mse_loss,
        validation=(x, y),
    )
    assert np.allclose(model.weight.data.ravel(), [1, 2, 3], atol=1e-2)
    assert history.column("test_accuracy") == [None] * 40
    assert history.best_accuracy is None


# -------------------------------------------------------------------------- when it stops


def test_patience_ends_training_when_the_test_loss_stays() -> None:
    model = nn.Linear(2, 2)
    images, labels = np.ones((4, 2), np.float32), np.array([0, 0, 1, 1])
    losses = iter([3.0, 1.0, 2.0, 1.0, 0.5])

    def loss(outputs: mg.Tensor, labels: np.ndarray) -> mg.Tensor:
        if mg.is_grad_enabled():
            return F.cross_entropy(outputs, labels)
        return mg.Tensor(next(losses))

    history = training.fit(
        model,
        data.DataLoader(images, labels, 4),
        optimizer=optim.SGD(model.parameters(), lr=0.1),
        epochs=9,
        loss=loss,
        validation=(images, labels),
        patience=2,
    )
    assert history.column("test_loss") == [3, 1, 2, 1]  # the second 1 is not lower
    assert history.stopped == "patience"
    assert history.epochs_since_best() == 2


def test_callbacks_get_the_record_may_add_to_it_and_may_stop(tmp_path: Path) -> None:
    seen = []

    def note(record: dict[str, Any]) -> bool:
        record["squared"] = record["epoch"] ** 2
        return record["epoch"] == 2

    history = Run().fit(
        callbacks=[note, lambda record: seen.append(record["squared"])], out=tmp_path
    )
    assert seen == history.column("squared") == [1, 4]
    assert history.stopped == "callback"
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["squared"] for line in lines] == [1, 4]
    again = Run().fit(out=tmp_path, resume=True)
    assert again.column("epoch") == [1, 2]  # a run that was stopped is complete
    assert training.read_run(tmp_path)[1]["finished"]


def test_records_may_differ_and_hold_what_numpy_computes(tmp_path: Path) -> None:
    def note(record: dict[str, Any]) -> None:
        if record["epoch"] == 2:
            record.update(norm=np.float32(1.5), many=np.arange(2), tensor=mg.Tensor(2.0))
        else:
            record.update(ratio=math.nan)

    history = Run().fit(callbacks=[note], out=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.records
    assert history.column("norm") == [None, 1.5, None]
    assert (history.records[1]["many"], history.records[1]["tensor"]) == ([0, 1], 2.0)
    assert history.records[0]["ratio"] is None
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [row["norm"] for row in csv.DictReader(file)] == ["", "1.5", ""]


# -------------------------------------------------------------------------- what it keeps


def test_metrics_are_kept_as_json_and_as_a_table(tmp_path: Path) -> None:
    history = Run().fit(out=tmp_path, meta={"dataset": "noise"})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.records
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == history.column("train_loss")
    assert [row["dataset"] for row in rows] == ["noise"] * EPOCHS


def test_weights_and_origin_are_kept(tmp_path: Path) -> None:
    run = Run()
    run.fit(out=tmp_path, meta={"model": "tiny", "config": {"depth": 2}})
    other = Run()
    nn.load(other.model, tmp_path / "model.safetensors")
    assert weights(other.model) == weights(run.model)
    _, meta = training.read_run(tmp_path)
    assert (meta["model"], meta["config"], meta["epoch"]) == ("tiny", {"depth": 2}, EPOCHS)
    assert meta["steps"] == EPOCHS * STEPS
    assert meta["minigrad"] == mg.__version__
    assert meta["finished"]


def test_a_test_loss_of_nan_is_kept_as_none(tmp_path: Path) -> None:
    images, labels = images_and_labels()
    broken = np.full_like(images, np.inf)
    history = Run().fit(validation=(broken, labels), out=tmp_path)
    assert history.column("test_loss") == [None] * EPOCHS
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_events_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    history = Run().fit(out=tmp_path, tensorboard=True)
    (file,) = (tmp_path / "tensorboard").iterdir()
    rest, found = file.read_bytes(), {}
    while rest:  # TFRecords: length, its checksum, an event, its checksum
        end = 12 + int.from_bytes(rest[:8], "little")
        for value in (event := Event.FromString(rest[12:end])).summary.value:
            found[value.tag, event.step] = value.simple_value
        rest = rest[end + 4 :]
    for epoch, loss in enumerate(history.column("train_loss"), 1):
        assert found["train_loss", epoch] == pytest.approx(loss)  # kept as float32
    assert {tag for tag, _ in found} == history.records[0].keys() - {"epoch"}


# -------------------------------------------------------------------------- what goes wrong


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Run().fit(out=tmp_path / "whole")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = Run(steps_before={STEPS + 3: lambda: monkeypatch.setattr(os, "fsync", full)})
    with pytest.raises(OSError, match=r"checkpoint.safetensors: No space left on device"):
        run.fit(out=tmp_path / "full")
    assert not list((tmp_path / "full").glob("*.tmp"))
    monkeypatch.undo()
    _, meta = training.read_run(tmp_path / "full")
    assert meta["epoch"] == 1
    again = Run().fit(out=tmp_path / "full", resume=True)
    assert timeless(again.records) == timeless(whole.records)


def test_a_folder_that_goes_away_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(FileNotFoundError, match="No such file or directory; make the folder"):
        Run().fit(out=out, callbacks=[lambda _: shutil.rmtree(out)])


def test_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="the package tensorboardX, which is not installed"):
        Run().fit(out=tmp_path, tensorboard=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs expects a number >= 1, got 0"),
        ({"patience": 0}, "patience expects a number >= 1, got 0"),
        ({"patience": 2, "validation": None}, "patience expects validation data"),
        ({"resume": True}, "resume=True expects the folder of the run as out"),
        ({"tensorboard": True}, "tensorboard=True expects the folder of the run as out"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run().fit(**options)


def test_a_loader_without_batches_is_refused() -> None:
    run = Run()
    run.loader = data.DataLoader(run.images, run.labels, 50, drop_last=True)
    with pytest.raises(ValueError, match="train_loader expects at least one batch"):
        run.fit(schedule=None)


# -------------------------------------------------------------------------- NaN and Inf


def broken_at(step: int, spoil: Any) -> Run:
    """A run in which one step's loss is spoilt."""
    run = Run()
    plain, state = run.loss, {}

    def loss(outputs: mg.Tensor, labels: np.ndarray) -> mg.Tensor:
        if len(state) < step - 1 or not mg.is_grad_enabled():
            state[len(state)] = None
            return plain(outputs, labels)
        if "before" not in state:
            state["before"] = outputs
        return spoil(plain(outputs, labels))

    run.loss = loss  # type: ignore[method-assign]
    return run


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: F.log(x - 1000), r"the loss is nan in epoch 1, step 3: log made the first"),
        (lambda x: x + F.exp(x * 0 + 1000), r"the loss is inf .*: exp made the first"),
        (lambda x: F.sqrt(x - x), r"a gradient is NaN or Inf .*: the derivative of sqrt made"),
    ],
)
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
def test_nan_ends_training_before_it_spreads(spoil: Any, message: str) -> None:
    run = broken_at(3, spoil)
    with pytest.raises(FloatingPointError, match=message):
        run.fit()
    after = weights(run.model), mg.default_rng().bit_generator.state
    assert all(p.grad is None for p in run.model.parameters())

    twin = Run()  # two steps by hand
    batches = iter(twin.loader)
    for images, labels in (next(batches), next(batches)):
        twin.optimizer.zero_grad()
        F.cross_entropy(twin.model(mg.Tensor(images)), labels).backward()
        twin.optimizer.step()
        twin.schedule.step()
    assert after == (weights(twin.model), mg.default_rng().bit_generator.state)
    held = [m.rng.bit_generator.state for m in (run.model[3], twin.model[3])]
    assert held[0] == held[1]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_bad_luck_is_had_again_to_be_explained() -> None:
    draws: list[float] = []

    def spoil(loss: mg.Tensor) -> mg.Tensor:
        draws.append(mg.default_rng().random())
        return F.log(loss - 1000) if draws[-1] == draws[0] else loss

    with pytest.raises(FloatingPointError, match="log made the first"):
        broken_at(3, spoil).fit()
    assert len(draws) == 2


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_an_update_that_overflowed_is_blamed() -> None:
    run = Run()
    optimizer = optim.SGD(run.model.parameters(), lr=math.inf)
    message = r"step 2: conv2d was given .* \(0\.weight holds one since an earlier step\)"
    with pytest.raises(FloatingPointError, match=message):
        run.fit(optimizer=optimizer, schedule=None)


def test_an_image_with_a_nan_is_blamed() -> None:
    run = Run()
    run.loader.images[:] = math.nan
    with pytest.raises(FloatingPointError, match=r"the images of the batch hold one\); look at"):
        run.fit()
