"""`fit`: train a model, tell how it goes, keep everything, stop and resume at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad.functional as F
from minigrad.data import DataLoader
from minigrad.nn import Module
from minigrad.optim import LRSchedule, Optimizer
from minigrad.training.evaluation import Loss, evaluate
from minigrad.training.history import History, Record, TensorBoard, plain
from minigrad.training.interruption import Interrupted, Interruption
from minigrad.training.keeping import Keeper, describe, items
from minigrad.training.loop import Loop
from minigrad.training.progress import progress, say
from minigrad.training.run import RunFolder

Callback = Callable[[Record], object]


def fit(
    model: Module,
    train_loader: DataLoader,
    *,
    optimizer: Optimizer,
    epochs: int,
    loss: Loss = F.cross_entropy,
    schedule: LRSchedule | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    max_norm: float | None = None,
    patience: int | None = None,
    callbacks: Iterable[Callback] = (),
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    save_every: float = 60.0,
    tensorboard: bool = False,
    quiet: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> History:
    """Train a model for some epochs.

        history = training.fit(
            model, loader, optimizer=optimizer, epochs=5, validation=(images, labels), out="runs/a"
        )

    With `out` everything is kept in that folder: a checkpoint at the end of each epoch, every
    `save_every` seconds, and when Ctrl-C or SIGTERM ends training after the present step; the
    weights after the last whole epoch (model.safetensors); metrics.jsonl and metrics.csv. With
    `resume=True` the same call goes on there, and ends with the same bits as if it had never
    stopped.

    Args:
        model: trained in place.
        train_loader: the batches of images and labels.
        optimizer: of the model's parameters.
        epochs: passes over the loader, all in all.
        loss: the mean loss of a batch: `loss(outputs, labels)`.
        schedule: stepped after every batch, so its lengths are counted in batches.
        validation: images and labels to test with after each epoch.
        max_norm: clip the gradients to this norm, see `optim.clip_grad_norm`.
        patience: stop when the test loss was not lower than before for so many epochs.
        callbacks: functions that get each epoch's record (see `History`) when it is over, and may
            add numbers to it; one that returns True ends training. What they remember is not kept.
        out: the folder of the run; without, nothing is kept.
        resume: go on where the run in `out` stopped; from the beginning if there is none.
        save_every: seconds between checkpoints within an epoch.
        tensorboard: also write `out`/tensorboard, by the package tensorboardX.
        quiet: print nothing.
        meta: what else the run was made from, for the checkpoint; as JSON. To resume, it must be
            the same.

    Returns:
        A record of each epoch, those before a resumption included.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; all is saved.
        FloatingPointError: the loss or a gradient is NaN or Inf; the message names the op that made
            the first. Parameters and random generators are as before that step.
        ValueError: an impossible argument; a run to resume that was begun with other ones, or an
            unfinished run where another one shall begin.
        OSError: something cannot be written, or another process trains in `out`.
        ImportError: a package that is needed for `out` or `tensorboard` is not installed.
    """
    if not len(train_loader):
        raise ValueError("fit: train_loader expects at least one batch, got none")
    _check(epochs, validation, patience, out, resume=resume, tensorboard=tensorboard)
    loop = Loop(model, train_loader, optimizer, schedule, loss, max_norm)
    meta = dict(meta or {})
    dataset = meta.get("dataset")
    session = _Session(loop, epochs, validation, patience, tuple(callbacks), dataset, quiet)
    with ExitStack() as stack:
        if out is not None:
            run = stack.enter_context(RunFolder(out))
            settings = describe(loop, epochs=epochs, patience=patience)
            session.keeper = Keeper(run, loop, epochs, {**meta, "settings": settings}, save_every)
            session.say(session.keeper.begin(resume=resume))
            if tensorboard:
                session.board = TensorBoard(run.path / "tensorboard", loop.epoch)
                stack.callback(session.board.close)
        session.train(stack.enter_context(Interruption()))
    return loop.history


@dataclass
class _Session:
    """One call of `fit`."""

    loop: Loop
    epochs: int
    validation: tuple[np.ndarray, np.ndarray] | None
    patience: int | None
    callbacks: tuple[Callback, ...]
    dataset: str | None
    quiet: bool
    keeper: Keeper | None = None
    board: TensorBoard | None = None

    def train(self, interruption: Interruption) -> None:
        """All epochs that are left."""
        try:
            while self.loop.epoch < self.epochs and not self.loop.history.stopped:
                self._take_steps(interruption)
                self._end_epoch(self._test(interruption))
                interruption.check()
        except Interrupted as interrupted:
            if interruption.number is None:  # it is another `fit`, in a callback, that saved itself
                raise
            self._explain(interrupted)
            raise

    def say(self, line: str) -> None:
        """Tell the user, if there is anything to tell."""
        if line and not self.quiet:
            say(line)

    def _take_steps(self, interruption: Interruption) -> None:
        loop, title = self.loop, f"epoch {self.loop.epoch + 1}/{self.epochs}"
        with progress(title, items(loop.loader), loop.images, quiet=self.quiet) as shown:
            for images in loop.steps():
                shown.advance(images, f"loss {loop.mean_loss:#.4g}")
                interruption.check()
                if self.keeper is not None:
                    self.keeper.save_if_due()

    def _test(self, interruption: Interruption) -> Record:
        """What the epoch's record says beside the loop's own numbers."""
        if self.validation is None:
            return {}
        images, labels = self.validation
        with progress("test", len(images), quiet=self.quiet) as shown:

            def after_batch(done: int) -> None:
                shown.advance(done)
                interruption.check()

            tested = evaluate(
                self.loop.model, images, labels, loss=self.loop.loss, after_batch=after_batch
            )
        return {"test_loss": plain(tested.loss), "test_accuracy": tested.accuracy}

    def _end_epoch(self, tested: Record) -> None:
        history = self.loop.history
        self.loop.end_epoch(tested)
        record = history.records[-1]
        if self.dataset is not None:
            record["dataset"] = self.dataset  # an accuracy means nothing without it
        self.say(self._line(record))
        for callback in self.callbacks:
            if callback(record) is True:
                history.stopped = "callback"
        record.update({name: plain(value) for name, value in record.items()})
        if self.patience is not None and history.epochs_since_best() >= self.patience:
            history.stopped = "patience"
            self.say(f"Stopped: no lower test loss in the last {_count(self.patience, 'epoch')}.")
        if self.keeper is not None:
            self.keeper.end_epoch()
        if self.board is not None:
            self.board.write(record)

    def _line(self, record: Record) -> str:
        parts = [f"loss {record['train_loss']:#.4g}"]
        if (accuracy := record.get("test_accuracy")) is not None:
            on = f" on {self.dataset}" if self.dataset else ""
            parts.append(f"test accuracy {accuracy:.2%}{on}")
        elif (loss := record.get("test_loss")) is not None:
            parts.append(f"test loss {loss:#.4g}")
        parts.append(f"{record['seconds']:.1f} s")
        parts.append(f"{record['images_per_second']:.0f} images/s")
        return f"epoch {record['epoch']}/{self.epochs}: {', '.join(parts)}"

    def _explain(self, interrupted: Interrupted) -> None:
        """Save, and say where training stands and how to go on."""
        interrupted.place = self.loop.place(self.epochs)
        if self.keeper is None:
            interrupted.advice = "Pass out=... to be able to resume."
            return
        self.keeper.save()
        interrupted.out = self.keeper.run.path
        interrupted.advice = "Call fit again with resume=True to continue."


def _check(
    epochs: int,
    validation: Any,
    patience: int | None,
    out: Any,
    *,
    resume: bool,
    tensorboard: bool,
) -> None:
    if epochs < 1:
        raise ValueError(f"fit: epochs expects a number >= 1, got {epochs}")
    if patience is not None and patience < 1:
        raise ValueError(f"fit: patience expects a number >= 1, got {patience}")
    if patience is not None and validation is None:
        raise ValueError("fit: patience expects validation data to stop by, got none")
    for name, wanted in (("resume", resume), ("tensorboard", tensorboard)):
        if wanted and out is None:
            raise ValueError(f"fit: {name}=True expects the folder of the run as out, got none")


def _count(number: int, noun: str) -> str:
    return noun if number == 1 else f"{number} {noun}s"
