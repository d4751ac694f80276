"""Run a model as training would, measure, and leave it as it was."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import random
from minigrad.engine import Tensor
from minigrad.flops import Shape
from minigrad.modes import Switched, anomaly, recording
from minigrad.nn.module import Module
from minigrad.summaries.watch import Watch, back, tensors_in


def watch_and_measure(model: Module, shapes: Sequence[Shape]) -> tuple[Watch, int]:
    """Two steps of training on ones: one watched by module, and the peak memory of another."""
    watch = Watch(model)
    with _unnoticed(model), Switched((recording, True), (anomaly, False)):
        model.train()
        watch.train(_ones(model, shapes))
        return watch, _peak_bytes(model, shapes)


def _ones(model: Module, shapes: Sequence[Shape]) -> list[Tensor]:
    """Images of ones, in the dtype of the model's parameters."""
    dtypes = [parameter.dtype for parameter in model.parameters()]
    return [Tensor(np.ones(shape, dtypes[0] if dtypes else np.float32)) for shape in shapes]


def _peak_bytes(model: Module, shapes: Sequence[Shape]) -> int:
    """The most that the inputs, forward and backward took at once, beside what was there before.

    As tracemalloc has it, to which NumPy and the allocator of minigrad_ext tell of their arrays.
    """
    traced_before = tracemalloc.is_tracing()
    if traced_before:
        tracemalloc.reset_peak()
    else:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        back(tensors_in(model(*_ones(model, shapes))))
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not traced_before:
            tracemalloc.stop()


@contextmanager
def _unnoticed(model: Module) -> Iterator[None]:
    """Put back afterwards what running a model changes.

    That is the attributes of its modules (whether they train, what they count), what its buffers
    hold (running statistics), and where random generators stand. Hooks of its parameters are not
    called meanwhile.
    """
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    buffers = [(buffer, buffer.data, buffer.data.copy()) for buffer in model.buffers()]
    hooks = [(parameter, parameter.hooks) for parameter in model.parameters()]
    generators = [random.default_rng(), *_generators(attributes)]
    states = [generator.bit_generator.state for generator in generators]
    for parameter, _ in hooks:
        parameter.hooks = None
    try:
        yield
    finally:
        for module, before in zip(modules, attributes, strict=True):
            vars(module).clear()
            vars(module).update(before)
        for buffer, array, numbers in buffers:
            buffer.data = array
            if array.flags.writeable:
                array[...] = numbers
        for parameter, callbacks in hooks:
            parameter.hooks = callbacks
        for generator, state in zip(generators, states, strict=True):
            generator.bit_generator.state = state


def _generators(attributes: Sequence[dict[str, Any]]) -> list[np.random.Generator]:
    values = [value for each in attributes for value in each.values()]
    return [value for value in values if isinstance(value, np.random.Generator)]
