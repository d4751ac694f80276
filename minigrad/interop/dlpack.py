"""Arrays handed to and taken from other libraries without a copy, by the DLPack protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine import Tensor

if TYPE_CHECKING:
    from minigrad.functional.methods import TensorMethods

CPU = (1, 0)  # kDLCPU, and the only one of its kind


def export(
    tensor: TensorMethods,
    *,
    stream: Any,
    max_version: tuple[int, int] | None,
    dl_device: tuple[int, int] | None,
    copy: bool | None,
) -> Any:
    """The capsule for `Tensor.__dlpack__`, which says what the arguments are.

    NumPy makes it. The capsule holds the array, and the array its memory: it goes back to the
    allocator when the last library lets go.
    """
    if tensor.requires_grad:
        raise BufferError(
            "dlpack: this tensor requires a gradient, and another library would not record what it "
            "does; call detach() first"
        )
    if dl_device not in (None, CPU):
        raise BufferError(
            f"dlpack: expected dl_device {CPU}, the CPU, where minigrad's memory is, got "
            f"{dl_device}; import it first and move it then"
        )
    array = tensor.data
    if copy is not True and any(n < 0 for n in array.strides):
        if copy is False:
            raise BufferError(
                f"dlpack: negative strides {array.strides} cannot be shared, PyTorch ends the "
                "process at them; leave out copy=False"
            )
        copy = True
    if copy is None and not array.flags.writeable:
        copy = True  # PyTorch would write to it all the same
    return array.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)


def from_dlpack(x: Any, *, copy: bool | None = None) -> Tensor:
    """A Tensor in the memory of another library's array or tensor, through DLPack.

    It keeps shape, strides and dtype, and does not require a gradient. What the one library writes
    the other sees; call `bump_version()` on the Tensor after such a change, so that backward can
    refuse where it needed the old values. It is read-only where the other library says so (JAX).

    Args:
        x: has `__dlpack__`: of NumPy, PyTorch, JAX and others; on the CPU, float, integer or bool.
        copy: True always copies, False never does and raises instead; by default only the other
            library may have a reason to.

    Raises:
        BufferError: x cannot be shared: it requires a gradient, or lies on another device.
        TypeError: x has no `__dlpack__`, or a dtype that NumPy does not have.
    """
    if not hasattr(x, "__dlpack__"):
        raise TypeError(
            "from_dlpack: expected an array or tensor that has __dlpack__, got "
            f"{type(x).__name__}; use Tensor(...) for numbers and lists"
        )
    device = x.__dlpack_device__()
    if device[0] != CPU[0]:
        raise BufferError(
            f"from_dlpack: expected an array on the CPU, got one on DLPack's device "
            f"{tuple(map(int, device))}; move it first, in PyTorch with x.cpu()"
        )
    try:
        array = np.from_dlpack(x, copy=copy)
    except BufferError as error:
        raise BufferError(f"from_dlpack: {error}") from error
    except RuntimeError as error:  # what NumPy raises for bfloat16 and the like
        raise TypeError(
            f"from_dlpack: expected a dtype that NumPy has, got {getattr(x, 'dtype', 'another')}; "
            "convert it first, in PyTorch with x.float()"
        ) from error
    return Tensor(array)
