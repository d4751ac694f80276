"""What a model costs, layer by layer: `mg.summary(model, input_shape)`, `mg.compare(a, b, ...)`.

`watch.py` runs a step of training and sorts what happens by module; `measure.py` measures its
memory and leaves the model as it was; `model.py` and `comparison.py` are what users call, and
`table.py` writes their tables as text and HTML.
"""

from minigrad.summaries.comparison import Comparison, compare
from minigrad.summaries.model import Summary, summary
from minigrad.summaries.watch import Cost, Layer

__all__ = ["Comparison", "Cost", "Layer", "Summary", "compare", "summary"]
