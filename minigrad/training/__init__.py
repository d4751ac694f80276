"""Training: one loop for examples, command line and users, and checkpoints that can be trusted.

    history = training.fit(model, loader, optimizer=optimizer, epochs=5, out="runs/a")

`loop.py` takes the steps, `fitting.py` puts around it what a person wants who waits for the end,
`recipe.py` is how the two example networks are trained.
"""

from minigrad.training.checkpoint import load_checkpoint, save_checkpoint
from minigrad.training.evaluation import Evaluation, evaluate, predict
from minigrad.training.fitting import fit
from minigrad.training.history import History
from minigrad.training.interruption import Interrupted
from minigrad.training.pictures import draw_confusion, draw_curves, draw_misread
from minigrad.training.run import RunFolder, read_run
from minigrad.training.state import capture, restore

__all__ = [
    "Evaluation",
    "History",
    "Interrupted",
    "RunFolder",
    "capture",
    "draw_confusion",
    "draw_curves",
    "draw_misread",
    "evaluate",
    "fit",
    "load_checkpoint",
    "predict",
    "read_run",
    "restore",
    "save_checkpoint",
]
