"""The command `minigrad`, also `python -m minigrad`: train, test and look inside.

`program.py` is the parser and how failures are told; `models.py` makes networks of MODEL and RUN.
The commands are in `learning.py` (train, eval), `reading.py` (predict), `looking.py` (summary,
trace, profile) and `machine.py` (fetch, info).
"""

from minigrad.cli.program import main

__all__ = ["main"]
