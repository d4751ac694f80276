"""The loop itself: steps, each with its watch for NaN, and all that must be kept between two."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from minigrad import random
from minigrad.data import DataLoader
from minigrad.engine import Tensor
from minigrad.modes import detect_anomaly
from minigrad.nn import Module
from minigrad.optim import LRSchedule, Optimizer, clip_grad_norm
from minigrad.training.evaluation import Loss
from minigrad.training.generators import Generators
from minigrad.training.history import History, Record
from minigrad.training.state import capture, restore


class Loop:
    """A model on its way through the epochs.

    Args:
        model: what is trained.
        loader: the batches.
        optimizer: moves the parameters after every batch.
        schedule: stepped after every batch, or None.
        loss: `loss(outputs, labels)`, the mean loss of a batch.
        max_norm: the largest norm of all gradients that is left alone, or None.

    Attributes:
        history: of the epochs that are over.
        step: how many batches of the present epoch are done.
        images: how many images they held.
        loss_sum: the sum of the losses of these images.
        seconds: how long they took.
    """

    def __init__(
        self,
        model: Module,
        loader: DataLoader,
        optimizer: Optimizer,
        schedule: LRSchedule | None,
        loss: Loss,
        max_norm: float | None,
    ) -> None:
        self.model, self.loader, self.optimizer, self.schedule = model, loader, optimizer, schedule
        self.loss, self.max_norm = loss, max_norm
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.buffers = list(model.buffers())
        self.generators = Generators(model)
        self.history = History()
        self.step = self.images = 0
        self.loss_sum = self.seconds = 0.0

    @property
    def epoch(self) -> int:
        """How many epochs are over."""
        return len(self.history.records)

    @property
    def mean_loss(self) -> float:
        """Of an image of this epoch."""
        return self.loss_sum / max(self.images, 1)

    def steps(self) -> Iterator[int]:
        """Take the steps that are left of this epoch; yields the images of each, once it is done.

        Raises:
            FloatingPointError: the loss or a gradient is NaN or Inf. The parameters, the buffers
                and the random generators are as they were before the step.
        """
        self.model.train()
        start = time.perf_counter()
        # An epoch may be done but for its evaluation; a pass over the loader would be the next one.
        for images, labels in self.loader if self.step < len(self.loader) else ():
            loss = self._take_step(images, labels)
            self.step += 1
            self.images += len(images)
            self.loss_sum += loss * len(images)
            now = time.perf_counter()
            self.seconds, start = self.seconds + now - start, now
            yield len(images)
            start = time.perf_counter()

    def place(self, epochs: int) -> str:
        """How far it is, of so many epochs."""
        if self.step == 0 and self.epoch > 0:
            return f"epoch {self.epoch} of {epochs}, at its end"
        return f"epoch {self.epoch + 1} of {epochs}, step {self.step:,} of {len(self.loader):,}"

    def end_epoch(self, tested: Record) -> None:
        """Add a record to the history, with what a test found, and begin the next epoch."""
        self.history.records.append(
            {
                "epoch": self.epoch + 1,
                "train_loss": self.mean_loss,
                **tested,
                "lr": float(self.optimizer.param_groups[0]["lr"]),
                "seconds": self.seconds,
                "images_per_second": self.images / self.seconds,
            }
        )
        self.step = self.images = 0
        self.loss_sum = self.seconds = 0.0

    def _take_step(self, images: np.ndarray, labels: np.ndarray) -> float:
        before = self._snapshot()
        loss = self._find_gradients(images, labels)
        if not (math.isfinite(loss) and _are_finite(p.grad for p in self.parameters)):
            self._refuse(loss, images, labels, before)
        if self.max_norm is not None:
            clip_grad_norm(self.parameters, self.max_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss

    def _find_gradients(self, images: np.ndarray, labels: np.ndarray) -> float:
        loss = self.loss(self.model(Tensor(images)), labels)
        self.optimizer.zero_grad()
        loss.backward()
        return float(loss.item())

    # -------------------------------------------------------------------------- NaN and Inf

    def _refuse(self, loss: float, images: np.ndarray, labels: np.ndarray, before: Any) -> None:
        """Repeat the step to see where the first NaN or Inf comes from, and say so."""
        self._go_back(before)
        cause = "a second try of the same step did not show where it comes from"
        try:
            with detect_anomaly():
                self._find_gradients(images, labels)
        except RuntimeError as error:
            if not str(error).startswith("detect_anomaly: "):
                raise
            cause = str(error).removeprefix("detect_anomaly: ")
            if "was given" in cause:
                cause += self._found_in(images)
        self._go_back(before)
        self.optimizer.zero_grad()
        what = "a gradient is NaN or Inf" if math.isfinite(loss) else f"the loss is {loss}"
        lr = self.optimizer.param_groups[0]["lr"]
        advice = f"try a lower learning rate (it is {lr:g}) or a max_norm"
        if not _are_finite([Tensor(images)]):
            advice = "look at the data, and at the loader's transform"
        raise FloatingPointError(
            f"fit: {what} in epoch {self.epoch + 1}, step {self.step + 1}: {cause}; {advice}"
        )

    def _found_in(self, images: np.ndarray) -> str:
        """Where a NaN or Inf stood before the step, if it did."""
        if not _are_finite([Tensor(images)]):
            return " (the images of the batch hold one)"
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for name, tensor in tensors.items():
            if not _are_finite([tensor]):
                return f" ({name} holds one since an earlier step)"
        return ""

    def _snapshot(self) -> Any:
        """What computing the gradients changes."""
        buffers = [buffer.data.copy() for buffer in self.buffers]
        return random.get_state(), self.generators.state_dict(), buffers

    def _go_back(self, snapshot: Any) -> None:
        state, generators, buffers = snapshot
        random.set_state(state)
        self.generators.load_state_dict(generators)
        for buffer, array in zip(self.buffers, buffers, strict=True):
            buffer.data[...] = array
            buffer.bump_version()

    # -------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Where the loop stands; its parts have states of their own."""
        return {
            "step": self.step,
            "images": self.images,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "history": asdict(self.history),
            "trainable": [p.requires_grad for p in self.parameters],  # a callback may thaw some
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Stand where `state_dict` was made."""
        self.step, self.images = state_dict["step"], state_dict["images"]
        self.loss_sum, self.seconds = state_dict["loss_sum"], state_dict["seconds"]
        self.history = History(**state_dict["history"])
        for p, trainable in zip(self.parameters, state_dict["trainable"], strict=True):
            p.requires_grad = trainable

    def capture(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The whole state, the parts' included, for a checkpoint."""
        return capture(**self._parts())

    def restore(self, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
        """Go on where `capture` was called, bit for bit.

        Raises:
            ValueError: a part does not fit.
        """
        restore(arrays, state, **self._parts())

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loader": self.loader,
            "generators": self.generators,
            "loop": self,
        }


def _are_finite(tensors: Iterable[Tensor | None]) -> bool:
    return all(x is None or x.dtype.kind != "f" or bool(np.isfinite(x.data).all()) for x in tensors)
