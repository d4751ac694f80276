"""Weights from PyTorch and to PyTorch: the same numbers, in its order of axes and under its names.

    mg.interop.torch.load_state_dict(net, twin.state_dict())  # from PyTorch
    twin.load_state_dict(mg.interop.torch.state_dict(net))  # to PyTorch
    mg.interop.torch.load(net, "weights.pt")  # or .safetensors
    mg.interop.torch.save(net, "weights.pt")

PyTorch keeps the weight of a convolution as (out, in, kh, kw) where ours is (kh, kw, in, out), and
that of a linear layer as (out, in) where ours is (in, out). Which of them an array is follows from
the layer that it belongs to, never from its shape: a square matrix looks the same either way. What
belongs to other modules, such as parameters of your own, is copied as it is.

Where names differ, `names` says how: a dict from ours to PyTorch's, of modules or of tensors, as in
`{"0": "features.conv1", "9": "classifier"}`. It serves both ways. `match_by_order` makes one for
networks whose layers stand in the same order.

A linear layer behind a Flatten of images sees them in another order here, (h, w, c), than there,
(c, h, w): rearrange the rows of its weight after loading, or use global average pooling.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn
from minigrad.engine import Tensor
from minigrad.files import write_atomically
from minigrad.interop.naming import paired, renamed
from minigrad.nn.state import IncompatibleKeys
from minigrad.sealing import import_safetensors

# For each kind of layer, which axes of ours stand in PyTorch's order.
AXES: dict[type[nn.Module], dict[str, tuple[int, ...]]] = {
    nn.Conv2d: {"weight": (3, 2, 0, 1)},
    nn.Linear: {"weight": (1, 0)},
}
# PyTorch's batch norm counts batches, and reads the count only where momentum is None. Ours does
# not: the count is passed over when loading, and saved as 0.
COUNT = "num_batches_tracked"


class Slot(NamedTuple):
    """A place for a tensor in a module, as PyTorch has it."""

    name: str
    layer: str  # what kind it belongs to
    axes: tuple[int, ...]  # which of ours stand in PyTorch's order
    array: np.ndarray  # a copy, in PyTorch's order


def load_state_dict(
    module: nn.Module,
    state: Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> IncompatibleKeys:
    """Copy a PyTorch state_dict into a module. All or nothing.

    Args:
        module: what to load into.
        state: PyTorch tensors or NumPy arrays by name, in PyTorch's order of axes.
        names: from our names to PyTorch's, where they differ; a dict of modules or of tensors.
        strict: whether every name must match. Otherwise names that do not are returned, ours that
            are missing and PyTorch's that are unexpected; wrong shapes are refused all the same.

    Raises:
        ValueError: something does not fit; the message names the first such thing.
        TypeError: something in `state` is neither tensor nor array.
    """
    given = _as_arrays(state)
    converted, missing = {}, []
    for theirs, slot in _slots(module, names).items():
        found = given.pop(theirs, None)
        if _is_count(slot.name):
            continue
        if found is not None and found.shape == slot.array.shape:
            converted[slot.name] = found.transpose(np.argsort(slot.axes))
            continue
        missing.append(slot.name)
        if strict or found is not None:
            got = (
                "a state without it; pass names= if it is called otherwise (match_by_order)"
                if found is None
                else f"shape {found.shape}; build the same network"
            )
            raise ValueError(
                f"load_state_dict: expected '{theirs}' of shape {slot.array.shape} for "
                f"'{slot.name}' ({slot.layer}), got {got}"
            )
    if given and strict:
        raise ValueError(
            f"load_state_dict: expected nothing more, got '{next(iter(given))}', which belongs to "
            f"nothing in this {type(module).__name__}; build the same network, or pass strict=False"
        )
    module.load_state_dict(converted, strict=False)
    return IncompatibleKeys(missing, list(given))


def state_dict(module: nn.Module, *, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Copies of all parameters and buffers as a PyTorch model takes them: `torch.Tensor` by name.

    Args:
        module: what to copy from.
        names: from our names to PyTorch's, where they differ; a dict of modules or of tensors.

    Raises:
        ImportError: PyTorch is not installed; `state_arrays` does without.
        ValueError: `names` does not fit.
    """
    torch = _import_torch("state_dict", "use state_arrays for NumPy arrays")
    return {name: torch.tensor(x) for name, x in state_arrays(module, names=names).items()}


def state_arrays(
    module: nn.Module, *, names: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """What `state_dict` returns, as NumPy arrays: for where PyTorch is not installed."""
    return {theirs: slot.array for theirs, slot in _slots(module, names).items()}


def match_by_order(module: nn.Module, state: Mapping[str, Any]) -> dict[str, str]:
    """The names of a PyTorch state_dict for the layers of a module, the first for the first.

    Returns a dict from our names of layers to PyTorch's, to look at and to hand over as `names`.
    Two layers of one kind and size that were declared in another order cannot be told apart, so
    compare an output of both networks. A safetensors file does not keep the order.

    Raises:
        ValueError: a layer's tensors have other names or shapes; the message names the first one.
    """
    return paired(
        {name: x.shape for name, x in state_arrays(module).items() if not _is_count(name)},
        {name: x.shape for name, x in _as_arrays(state).items() if not _is_count(name)},
    )


def _slots(module: nn.Module, names: Mapping[str, str] | None) -> dict[str, Slot]:
    """All tensors of a module by the names that PyTorch shall have for them."""
    layers = dict(module.named_modules())
    slots = []
    for name, array in module.state_dict().items():
        path, _, last = name.rpartition(".")
        layer = layers.get(path)  # none for a tensor in a list
        axes = next(
            (axes[last] for kind, axes in AXES.items() if isinstance(layer, kind) and last in axes),
            tuple(range(array.ndim)),
        )
        kind = type(module if layer is None else layer).__name__
        slots.append(Slot(name, kind, axes, array.transpose(axes).copy()))
        if isinstance(layer, nn.BatchNorm2d) and last == "running_var":
            count = name.removesuffix(last) + COUNT
            slots.append(Slot(count, kind, (), np.array(0, np.int64)))
    new = renamed([slot.name for slot in slots], names or {})
    return {new[slot.name]: slot for slot in slots}


def _is_count(name: str) -> bool:
    return name.rpartition(".")[2] == COUNT


def _as_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """PyTorch tensors, Tensors and arrays as arrays."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state_dict: expected a dict of tensors by name, got {type(state).__name__}; hand "
            "over its state_dict()"
        )
    arrays = {}
    for name, value in state.items():
        if hasattr(value, "cpu"):  # PyTorch's, which need not be imported here to be known
            tensor = value.detach().cpu()
            array = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
        else:
            array = value.data if isinstance(value, Tensor) else value
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"state_dict: expected a tensor or an array under '{name}', got "
                f"{type(value).__name__}; hand over the dict that holds the tensors themselves"
            )
        arrays[name] = array
    return arrays


# ------------------------------------------------------------------------------------------- files


def save(
    module: nn.Module, path: str | os.PathLike[str], *, names: Mapping[str, str] | None = None
) -> None:
    """Write a state_dict for PyTorch: as `torch.save` does (.pt, .pth), or as .safetensors.

    The file appears whole or not at all.

    Raises:
        ImportError: the package that writes it is not installed.
        OSError: the file cannot be written.
        ValueError: the path has another ending, or `names` does not fit.
    """
    ending = Path(path).suffix
    if ending == ".safetensors":
        numpy = import_safetensors("save").numpy
        write_atomically(path, numpy.save(state_arrays(module, names=names)))
    elif ending in (".pt", ".pth"):
        torch = _import_torch("save", "save to .safetensors instead")
        buffer = io.BytesIO()
        torch.save(state_dict(module, names=names), buffer)
        write_atomically(path, buffer.getvalue())
    else:
        raise ValueError(
            f"save: path expects a name that ends in .pt, .pth or .safetensors, got "
            f"{os.fspath(path)!r}"
        )


def load(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> IncompatibleKeys:
    """Load a file with a PyTorch state_dict into a module: `load_state_dict` of `read`."""
    return load_state_dict(module, read(path), names=names, strict=strict)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file with a PyTorch state_dict: tensors or arrays by name, in PyTorch's order of axes.

    The file is one of `torch.save`, for which PyTorch must be installed, or of safetensors.
    Nothing in it is executed.

    Raises:
        ImportError: the package that reads it is not installed.
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds other things than tensors.
    """
    data = Path(path).read_bytes()
    is_safetensors = data[8:9] == b"{"  # behind eight bytes of length
    return (_parse_safetensors if is_safetensors else _parse_torch)(os.fspath(path), data)


def _parse_safetensors(path: str, data: bytes) -> dict[str, Any]:
    safetensors = import_safetensors("read")
    try:
        arrays: dict[str, Any] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # KeyError: BF16, FP8
        raise ValueError(
            f"read: {path} is damaged, or not a safetensors file of NumPy's dtypes ({error!r})"
        ) from error
    return arrays


def _parse_torch(path: str, data: bytes) -> dict[str, Any]:
    torch = _import_torch("read", "save the weights as safetensors instead")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what is no pickle can raise anything when read as one
        raise ValueError(
            f"read: {path} is damaged, or holds more than tensors by name, which could run code "
            "when loaded; save model.state_dict() in PyTorch"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"read: {path} expects tensors by name, got {type(state).__name__}; save "
            "model.state_dict() in PyTorch"
        )
    return state


def _import_torch(caller: str, instead: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{caller}: expected PyTorch, which is not installed; {instead}"
        ) from error
    return torch
