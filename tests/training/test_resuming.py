"""Whatever ends a run, the resumed one ends with the same bits as one that was never stopped."""

from __future__ import annotations

import copy
import json
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import BATCH, EPOCHS, STEPS, Run, images_and_labels, kept, press, timeless

import minigrad as mg
from minigrad import nn, optim, training
from minigrad.training import interruption

ADAM = {"kind": optim.AdamW, "options": {"lr": 0.01, "betas": (0.8, 0.99)}}


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # fit puts it back
    signal.signal(signal.SIGINT, before)


def expect_the_same(resumed: Path, whole: Path) -> None:
    assert kept(resumed) == kept(whole)
    for name in ("metrics.jsonl", "metrics.csv"):
        lines = [(out / name).read_text().splitlines() for out in (resumed, whole)]
        assert len(lines[0]) == len(lines[1]) > 0
    records = [
        [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (resumed, whole)
    ]
    assert timeless(records[0]) == timeless(records[1])
    weights = [(out / "model.safetensors").read_bytes() for out in (resumed, whole)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("options", [{}, ADAM], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("step", [1, 2, STEPS, STEPS + 1, EPOCHS * STEPS - 1, EPOCHS * STEPS])
def test_interrupted_in_any_step(step: int, options: dict[str, Any], tmp_path: Path) -> None:
    Run(**options).fit(out=tmp_path / "whole")
    run = Run(**options, steps_before={step: press(signal.SIGINT)})
    with pytest.raises(training.Interrupted) as interrupted:
        run.fit(out=tmp_path / "cut")
    assert run.calls == step  # the step was finished, and no other begun
    epoch, done = divmod(step - 1, STEPS)
    assert f"epoch {epoch + 1} of {EPOCHS}, step {done + 1} of {STEPS}; saved in" in str(
        interrupted.value
    )
    assert interrupted.value.exit_code == 130
    Run(**options).fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_interrupted_again_and_again_by_sigterm(tmp_path: Path) -> None:
    Run().fit(out=tmp_path / "whole")
    for start in range(EPOCHS * STEPS):
        run = Run(steps_before={1: press(signal.SIGTERM)})
        with pytest.raises(training.Interrupted) as interrupted:
            run.fit(out=tmp_path / "cut", resume=True)
        assert interrupted.value.exit_code == 143
        assert training.read_run(tmp_path / "cut")[1]["epoch"] == start // STEPS
    Run().fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_interrupted_in_the_test_and_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    Run().fit(out=tmp_path / "whole")

    class Press(nn.Module):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            if not self.training:
                signal.raise_signal(signal.SIGINT)
            return x

    run = Run()
    run.model = nn.Sequential(*run.model, Press())
    with pytest.raises(training.Interrupted, match=r"epoch 1 of 3, step 6 of 6; saved"):
        run.fit(out=tmp_path / "cut")
    assert run.model.training  # the modes are put back
    stop = press(signal.SIGINT)
    with pytest.raises(training.Interrupted, match=r"epoch 1 of 3, at its end; saved"):
        Run().fit(out=tmp_path / "cut", resume=True, callbacks=[lambda _: stop()])
    Run().fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def killed() -> None:
    raise SystemError("as by kill -9: nothing more is saved")


@pytest.mark.parametrize("save_every", [0.0, 1e9])
@pytest.mark.parametrize("step", [2, STEPS + 4, EPOCHS * STEPS])
def test_killed_in_any_step(step: int, save_every: float, tmp_path: Path) -> None:
    Run().fit(out=tmp_path / "whole")
    with pytest.raises(SystemError):
        Run(steps_before={step: killed}).fit(out=tmp_path / "cut", save_every=save_every)
    _, meta = training.read_run(tmp_path / "cut")
    epoch, done = divmod(step - 1, STEPS)
    assert (meta["epoch"], meta["step"]) == (epoch, 0 if save_every else done)
    # A kill may come at any moment between two files, too.
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "train_l')
    (tmp_path / "cut" / "metrics.csv").unlink(missing_ok=True)
    Run().fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SystemError):
        Run(steps_before={STEPS + 2: killed}).fit(out=tmp_path)
    names = ("metrics.jsonl", "metrics.csv")
    before = [(tmp_path / name).read_text() for name in names]
    for name, text in zip(names, before, strict=True):
        (tmp_path / name).write_text(text + text.splitlines()[-1])
    with pytest.raises(SystemError):
        Run(steps_before={1: killed}).fit(out=tmp_path, resume=True)
    assert [(tmp_path / name).read_text() for name in names] == before


def test_killed_after_the_last_checkpoint_the_weights_are_written_later(tmp_path: Path) -> None:
    Run().fit(out=tmp_path / "whole")
    Run().fit(out=tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"of an earlier epoch")
    Run().fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_the_same_objects_can_go_on(tmp_path: Path) -> None:
    """As in a notebook, where the model is at hand after the interruption."""
    Run().fit(out=tmp_path / "whole")
    run = Run(steps_before={STEPS + 2: press(signal.SIGINT)})
    with pytest.raises(training.Interrupted):
        run.fit(out=tmp_path / "cut")
    run.fit(out=tmp_path / "cut", resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_parameters_that_a_callback_thaws_stay_so(tmp_path: Path) -> None:
    def frozen(**options: Any) -> tuple[Run, list[Callable[[dict[str, Any]], None]]]:
        run = Run(**options)
        weight = run.model[0].weight
        weight.requires_grad = False
        return run, [lambda record: setattr(weight, "requires_grad", record["epoch"] == 1)]

    run, thaw = frozen()
    run.fit(out=tmp_path / "whole", callbacks=thaw)
    run, thaw = frozen(steps_before={STEPS + 2: press(signal.SIGINT)})
    with pytest.raises(training.Interrupted):
        run.fit(out=tmp_path / "cut", callbacks=thaw)
    run, thaw = frozen()
    run.fit(out=tmp_path / "cut", callbacks=thaw, resume=True)
    expect_the_same(tmp_path / "cut", tmp_path / "whole")


def test_early_stopping_remembers(tmp_path: Path) -> None:
    still = {"kind": optim.SGD, "options": {"lr": 1e-12, "momentum": 0.0}}
    whole = Run(**still).fit(patience=2, out=tmp_path / "whole")
    assert whole.stopped == "patience"
    stop = press(signal.SIGINT)
    with pytest.raises(training.Interrupted):
        Run(**still).fit(patience=2, out=tmp_path / "cut", callbacks=[lambda _: stop()])
    resumed = Run(**still).fit(patience=2, out=tmp_path / "cut", resume=True)
    assert (resumed.stopped, len(resumed.records)) == (whole.stopped, len(whole.records))


def test_without_a_folder_it_says_what_to_do() -> None:
    run = Run(steps_before={2: press(signal.SIGINT)})
    with pytest.raises(training.Interrupted, match=r"not saved.\nPass out=\.\.\."):
        run.fit()


def twice() -> None:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


def test_a_second_signal_acts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "ECHO", 0.0)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        Run(steps_before={2: twice}).fit(out=tmp_path)
    assert not isinstance(interrupted.value, training.Interrupted)


def test_an_echo_of_a_signal_is_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that start others pass on a signal that these get from the terminal, too."""
    monkeypatch.setattr(interruption, "ECHO", 1e9)
    with pytest.raises(training.Interrupted, match="step 2 of 6; saved"):
        Run(steps_before={2: twice}).fit(out=tmp_path)


def test_a_fit_that_is_interrupted_in_a_callback_leaves_the_outer_one_to_resume(
    tmp_path: Path,
) -> None:
    """It must not keep an epoch whose callbacks did not come to their end."""
    outer, inner = Run(), Run(steps_before={1: press(signal.SIGINT)})

    def callback(record: dict[str, Any]) -> None:
        if record["epoch"] == 2:
            inner.fit()
        record["compared"] = True

    with pytest.raises(training.Interrupted, match="epoch 1 of 3, step 1 of 6; not saved"):
        outer.fit(out=tmp_path, callbacks=[callback])
    assert training.read_run(tmp_path)[1]["epoch"] == 1


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As Ctrl-C is for what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = Run(steps_before={2: press(signal.SIGINT)}).fit()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    except training.Interrupted:  # which would end pytest, too
        pytest.fail("a signal was heard that was to be ignored")
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert len(history.records) == EPOCHS


def test_a_thread_of_its_own_can_train() -> None:
    """Only the main thread may handle signals; elsewhere that must not be an error."""
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(Run().fit).result().records) == EPOCHS


# -------------------------------------------------------------------------- what is refused


def other_labels(run: Run) -> None:
    run.loader.labels = images_and_labels(8)[1]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"epochs": EPOCHS + 1}, {}, r"begun with epochs=3 \(now 4\)"),
        ({"batch": BATCH + 1}, {}, r"batch_size=4 \(now 5\)"),
        ({"options": {"lr": 0.2, "momentum": 0.9}}, {}, r"lr=0\.1 \(now 0\.2\)"),
        (ADAM, {}, r"optimizer='SGD' \(now 'AdamW'\)"),
        ({}, {"schedule": None}, r"schedule='OneCycleLR' \(now None\)"),
        ({}, {"max_norm": 1.0}, r"max_norm=None \(now 1\.0\)"),
        ({}, {"patience": 3}, r"patience=None \(now 3\)"),
        ({}, {"meta": {"config": {"depth": 3}}}, r"begun with depth=2 \(now 3\); resume"),
        ({}, {"meta": {"dataset": "x", "config": {"depth": 2}}}, r"dataset=None \(now 'x'\)"),
    ],
)
def test_another_configuration_is_refused(
    changes: Any, options: Any, message: str, tmp_path: Path
) -> None:
    stop = press(signal.SIGINT)
    meta = {"config": {"depth": 2}}
    with pytest.raises(training.Interrupted):
        Run().fit(out=tmp_path, meta=meta, callbacks=[lambda _: stop()])
    before = kept(tmp_path)
    with pytest.raises(ValueError, match=message):
        Run(**changes).fit(out=tmp_path, resume=True, **{"meta": meta, **options})
    assert kept(tmp_path) == before


def another_model(run: Run) -> None:
    run.model = nn.Sequential(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_labels, r"begun with data="),
        (another_model, "expects random generators in"),
    ],
)
def test_other_data_and_another_model_are_refused(
    change: Callable[[Run], None], message: str, tmp_path: Path
) -> None:
    Run().fit(out=tmp_path)
    run = Run()
    change(run)
    with pytest.raises(ValueError, match=message):
        run.fit(out=tmp_path, resume=True)


def newer_history(meta: dict[str, Any]) -> None:
    meta["state"]["loop"]["state"]["history"]["averages"] = []


def newer_part(meta: dict[str, Any]) -> None:
    meta["state"]["generators"] = 3


def newer_state(meta: dict[str, Any]) -> None:
    meta["state"] = []


def without_state(meta: dict[str, Any]) -> None:
    meta.pop("state")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (newer_history, r"restore: .*averages.* is of minigrad 99\.0, this is "),
        (newer_part, r"restore: .* is of minigrad 99\.0, this is "),
        (newer_state, r"restore: .* is of minigrad 99\.0, this is "),
        (without_state, "to hold a run of fit, got another one"),
    ],
)
def test_a_run_of_another_version_is_resumed_or_refused_in_a_sentence(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    stop = press(signal.SIGINT)
    with pytest.raises(training.Interrupted):
        Run().fit(out=tmp_path, callbacks=[lambda _: stop()])
    arrays, meta = training.read_run(tmp_path)
    changed = copy.deepcopy(meta) | {"minigrad": "99.0"}
    change(changed)
    training.save_checkpoint(tmp_path / "checkpoint.safetensors", arrays, changed)
    with pytest.raises(ValueError, match=message):
        Run().fit(out=tmp_path, resume=True)
    training.save_checkpoint(
        tmp_path / "checkpoint.safetensors", arrays, meta | {"minigrad": "99.0"}
    )
    Run().fit(out=tmp_path, resume=True)


def test_an_unfinished_run_is_not_thrown_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = press(signal.SIGINT)
    with pytest.raises(training.Interrupted):
        Run().fit(out=tmp_path, callbacks=[lambda _: stop()])
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} holds an unfinished run")):
        Run().fit(out=tmp_path)
    Run().fit(out=tmp_path, resume=True)
    said = f"The complete run in {tmp_path} is replaced by this one."
    assert said not in capsys.readouterr().out
    Run().fit(out=tmp_path, quiet=False)  # a complete one makes room, as one in its first epoch
    assert said in capsys.readouterr().out


# -------------------------------------------------------------------------- what is said


def test_a_complete_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Run()
    history = whole.fit(out=tmp_path)
    capsys.readouterr()
    again = Run()
    assert again.fit(out=tmp_path, resume=True).records == history.records
    assert again.calls == 0
    assert re.search(r"is complete \(epoch 3 of 3, at its end\)", capsys.readouterr().out)
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert np.array_equal(a.data, b.data)


def test_it_says_where_it_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(training.Interrupted):
        Run(steps_before={STEPS + 2: press(signal.SIGINT)}).fit(out=tmp_path, resume=True)
    assert "holds no run yet; this one begins" in capsys.readouterr().out
    Run().fit(out=tmp_path, resume=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Resuming the run in {tmp_path}: epoch 2 of 3, step 2 of 6."
    assert lines[1].startswith("epoch 2/3: loss ")
