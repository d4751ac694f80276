"""Optimizers, learning rate schedules and gradient clipping, with PyTorch's names and formulas.

Each optimizer is one formula, the method `update` in its file; `optimizer.py` is everything else.
"""

from minigrad.optim.adam import Adam, AdamW
from minigrad.optim.clip import clip_grad_norm
from minigrad.optim.one_cycle import OneCycleLR
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedules import CosineAnnealingLR, LRSchedule, StepLR
from minigrad.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LRSchedule",
    "OneCycleLR",
    "Optimizer",
    "StepLR",
    "clip_grad_norm",
]
