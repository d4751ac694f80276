"""Arrays cut into batches, in an order that a seed and the number of the epoch decide."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Transform: TypeAlias = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""``transform(images, rng) -> images``: a batch, and where its randomness comes from."""


class DataLoader:
    """Batches of images and labels, again and again.

    One pass over it is one epoch::

        loader = DataLoader(images, labels, batch_size=64, shuffle=True, seed=0)
        for epoch in range(10):
            for x, y in loader:
                ...

    Shuffling and transforms draw from generators that depend on the seed, the epoch and the number
    of the batch only, never on what ran before. So a run that resumes at epoch 7 sets
    ``loader.epoch = 7`` and sees what the first run saw; one that resumes within an epoch loads the
    ``state_dict`` of the first. Batches are copies, so changing one never changes the data.

    Args:
        images: Array of N items, of any shape and dtype.
        labels: Array of N labels.
        batch_size: How many items a batch holds; the last one holds what is left.
        shuffle: Whether every epoch has an order of its own.
        seed: Not negative; two loaders with the same seed give the same batches.
        drop_last: Leave out a last batch that would not be full.
        transform: Applied to the images of each batch.

    Raises:
        ValueError: The arrays differ in length, or a number is out of its range.
        TypeError: A number is not an integer.
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        transform: Transform | None = None,
    ) -> None:
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        if self.images.ndim == 0 or self.labels.ndim == 0:
            raise ValueError("DataLoader: images and labels expect arrays of items, got a scalar")
        if len(self.images) != len(self.labels):
            raise ValueError(
                "DataLoader: images and labels expect one length, "
                f"got {len(self.images)} images and {len(self.labels)} labels"
            )
        self.batch_size = _check_integer("batch_size", batch_size, minimum=1)
        self.shuffle = shuffle
        self.seed = _check_integer("seed", seed, minimum=0)
        self.drop_last = drop_last
        self.transform = transform
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next pass is; each pass, once begun, adds 1."""
        return self._next[0]

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._next = self._position = (_check_integer("epoch", epoch, minimum=0), 0)

    def __len__(self) -> int:
        """How many batches a pass has."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        epoch, batch = self._position = self._next
        self._next = (epoch + 1, 0)
        return self._batches(epoch, batch)

    def state_dict(self) -> dict[str, Any]:
        """The epoch and number of the batch that comes next, and what decides what batches hold.

        In the body of a loop over the loader, that is the one after the batch that the body works
        on; after the last of an epoch, it is batch 0 of the next epoch.
        """
        epoch, batch = self._position
        return {"epoch": epoch, "batch": batch, **self._settings()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next pass be what was left of the epoch when `state_dict` was made.

        Its batches are the same, augmented alike. The data and the transform are not in the state:
        give the loader the same ones.

        Raises:
            ValueError: it is of a loader with other settings, or of another number of items.
        """
        own = self._settings()
        got = {name: value for name, value in state_dict.items() if name not in ("epoch", "batch")}
        if got != own or state_dict.keys() != self.state_dict().keys():
            raise ValueError(
                f"DataLoader: load_state_dict expects a state with epoch, batch and {own}, got "
                f"{dict(state_dict)}; make the loader as it was when the state was saved"
            )
        epoch = _check_integer("epoch", state_dict["epoch"], minimum=0)
        batch = _check_integer("batch", state_dict["batch"], minimum=0)
        if batch > 0 and batch >= len(self):
            raise ValueError(
                f"DataLoader: load_state_dict expects a batch before {len(self)}, got {batch}"
            )
        self._next = self._position = (epoch, batch)

    def _settings(self) -> dict[str, Any]:
        """What decides, with the epoch, which items are in which batch."""
        settings = {name: getattr(self, name) for name in ("seed", "shuffle", "batch_size")}
        return {**settings, "drop_last": self.drop_last, "items": len(self.images)}

    def _batches(self, epoch: int, start: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        N = len(self.images)
        order = self._rng(epoch).permutation(N) if self.shuffle else np.arange(N)
        for batch in range(start, len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images, labels = self.images[chosen], self.labels[chosen]
            if self.transform is not None:
                images = self.transform(images, self._rng(epoch, batch))
                if len(images) != len(labels):
                    raise ValueError(
                        f"DataLoader: transform expects to return the {len(labels)} images "
                        f"of the batch, returned {len(images)}"
                    )
            self._position = (epoch, batch + 1) if batch + 1 < len(self) else (epoch + 1, 0)
            yield images, labels

    def _rng(self, *key: int) -> np.random.Generator:
        # A spawn key, because a list [seed, epoch] is padded with zeros: [0, 0] is [0, 0, 0].
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def _check_integer(name: str, value: int, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"DataLoader: {name} expects an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"DataLoader: {name} expects {minimum} or more, got {value}")
    return int(value)
