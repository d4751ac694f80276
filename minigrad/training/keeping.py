"""What `fit` keeps in the folder of a run, and how it goes on from there."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from typing import Any

from minigrad import nn
from minigrad.data import DataLoader
from minigrad.training.loop import Loop
from minigrad.training.run import Checkpoint, RunFolder

FILES = ("metrics.jsonl", "metrics.csv", "model.safetensors")


class Keeper:
    """Writes checkpoints, weights and metrics of a loop into a locked folder.

    Args:
        run: the folder.
        loop: what is kept.
        epochs: how many there shall be.
        origin: what the run is made from, as JSON; the same is expected when it is resumed.
        save_every: seconds between checkpoints within an epoch.
    """

    def __init__(
        self,
        run: RunFolder,
        loop: Loop,
        epochs: int,
        origin: Mapping[str, Any],
        save_every: float,
    ) -> None:
        self.run, self.loop, self.epochs, self.save_every = run, loop, epochs, save_every
        self.origin = json.loads(json.dumps(origin, default=str))
        self.saved = time.monotonic()

    def begin(self, *, resume: bool) -> str:
        """Begin a run in the folder, or go on with the one that is there; says where it stands.

        Raises:
            ValueError: the run in the folder cannot be resumed so, or should not be thrown away.
        """
        if resume and (checkpoint := self.run.load()) is not None:
            return self._resume(checkpoint)
        replaces = not resume and self._finished()
        self.run.clear()
        for name in FILES:
            (self.run.path / name).unlink(missing_ok=True)
        self.save()  # so that a kill at any time leaves a run to resume, and a full disk is known
        if replaces:
            return f"The complete run in {self.run.path} is replaced by this one."
        return f"{self.run.path} holds no run yet; this one begins." if resume else ""

    def _resume(self, checkpoint: Checkpoint) -> str:
        arrays, meta = checkpoint
        from minigrad import __version__

        if not {"settings", "state", "finished"} <= meta.keys():
            raise ValueError(f"fit: expected {self.run.path} to hold a run of fit, got another one")
        if changed := _differences(meta, self.origin):
            raise ValueError(
                f"fit: the run in {self.run.path} was begun with {', '.join(changed)}; resume it "
                "with what it was begun with, or begin another one in another folder"
            )
        try:
            self.loop.restore(arrays, meta["state"])
        except ValueError as error:
            if (version := meta.get("minigrad")) == __version__:
                raise
            raise ValueError(
                f"{error} (the run in {self.run.path} is of minigrad {version}, "
                f"this is {__version__})"
            ) from error
        # A kill may have left them with less, or more, than the checkpoint knows.
        self.loop.history.write(self.run.path)
        if self.loop.epoch and not self.loop.step:
            self._save_weights()
        place = self.loop.place(self.epochs)
        if meta["finished"]:
            return f"The run in {self.run.path} is complete ({place}); there is nothing to resume."
        return f"Resuming the run in {self.run.path}: {place}."

    def _finished(self) -> bool:
        """Whether the folder holds a finished run; refuses an unfinished one, which is a loss."""
        try:
            checkpoint = self.run.load()
        except ValueError:  # damaged: nobody can resume it
            return False
        if checkpoint is None or not (epoch := checkpoint[1].get("epoch")):
            return False
        if not checkpoint[1]["finished"]:
            raise ValueError(
                f"fit: {self.run.path} holds an unfinished run (after epoch {epoch}); resume it "
                "(resume=True, or --resume), choose another folder, or delete this one"
            )
        return True

    def save(self) -> None:
        """Write a checkpoint."""
        from minigrad import __version__

        loop = self.loop
        arrays, state = loop.capture()
        self.run.save(
            arrays,
            {
                "minigrad": __version__,
                **self.origin,
                "epoch": loop.epoch,
                "step": loop.step,
                "steps": self.epochs * len(loop.loader),
                "finished": loop.epoch >= self.epochs or loop.history.stopped is not None,
                "state": state,
            },
        )
        self.saved = time.monotonic()

    def save_if_due(self) -> None:
        """Write a checkpoint if the last one is too long ago."""
        if time.monotonic() - self.saved >= self.save_every:
            self.save()

    def end_epoch(self) -> None:
        """Write everything. The checkpoint is first: from it the others can be made again."""
        self.save()
        self._save_weights()
        self.loop.history.write(self.run.path)

    def _save_weights(self) -> None:
        nn.save(self.loop.model, self.run.path / "model.safetensors")


def describe(loop: Loop, *, epochs: int, patience: int | None) -> dict[str, Any]:
    """What decides how a run goes, beside the model's own code: another run has another one."""
    optimizer, schedule = loop.optimizer, loop.schedule
    formula = {} if schedule is None else schedule.state_dict()
    return {
        "epochs": epochs,
        **{k: v for k, v in loop.loader.state_dict().items() if k not in ("epoch", "batch")},
        "data": _fingerprint(loop.loader),
        "loss": getattr(loop.loss, "__name__", type(loop.loss).__name__),
        "optimizer": type(optimizer).__name__,
        **optimizer.defaults,
        "schedule": None if schedule is None else type(schedule).__name__,
        **{name: value for name, value in formula.items() if name != "last_epoch"},
        "max_norm": loop.max_norm,
        "patience": patience,
    }


def items(loader: DataLoader) -> int:
    """How many images a pass over the loader has."""
    return min(len(loader.images), len(loader) * loader.batch_size)


def _fingerprint(loader: DataLoader) -> str:
    """The shape of the images and a checksum of a thousand of them, with all labels."""
    chosen = loader.images[:: max(1, len(loader.images) // 1000)]
    checksum = zlib.crc32(loader.labels.tobytes(), zlib.crc32(chosen.tobytes()))
    return f"{loader.images.shape} {loader.images.dtype} {checksum:08x}"


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How two origins differ: by what the caller said, and only else by what follows from it."""
    said = [name for name in now if name != "settings"]
    for names in (said, ["settings"]):
        before, after = _flat(then, names), _flat(now, names)
        changed = [
            f"{name}={before.get(name)!r} (now {after.get(name)!r})"
            for name in {**before, **after}
            if before.get(name) != after.get(name)
        ]
        if changed:
            return changed
    return []


def _flat(origin: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Single entries, and those of dicts, by name."""
    flat: dict[str, Any] = {}
    for name in names:
        value = origin.get(name)
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat
