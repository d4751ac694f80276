"""Training: checkpoints that can be trusted, and the folder of a run."""

from minigrad.training.checkpoint import load_checkpoint, save_checkpoint
from minigrad.training.run import RunFolder, read_run
from minigrad.training.state import capture, restore

__all__ = ["RunFolder", "capture", "load_checkpoint", "read_run", "restore", "save_checkpoint"]
