"""Dropout."""

from __future__ import annotations

import numpy as np

import minigrad_ext as ext
from minigrad import random
from minigrad.engine import op


def dropout(x, *, p=0.5, training=True, rng=None):
    """In training, set each number to 0 with probability `p` and divide the rest by 1 - p.

    The mean stays what it was (Srivastava et al. 2014, "inverted" form), and evaluation returns x
    itself.

    Args:
        x: any shape, float32 or float64.
        p: from 0 to 1.
        training: whether to do anything.
        rng: a NumPy Generator; by default the one that `manual_seed` seeds.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: expected a probability p from 0 to 1, got {p}")
    if not training or p == 0:
        return x
    rng = random.default_rng() if rng is None else rng
    return _dropout(x, p=p, seed=int(rng.integers(2**64, dtype=np.uint64)))


@op
def _dropout(x, *, p, seed):
    # y = x mask / (1 - p), the mask being a function of the seed
    return ext.dropout(x, p=p, seed=seed)


_dropout.vjp(x=lambda g, p, seed: _dropout(g, p=p, seed=seed))
