"""What can be written on a Tensor: operators, and ndarray's own methods. Neural ops are functions.

They are installed on `Tensor` when `minigrad.functional` is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from minigrad.engine import Tensor, wrap
from minigrad.functional import elementwise, products, reductions, shapes
from minigrad.inplace import update


class TensorMethods:
    """The methods of `Tensor` that are ops, or that ask about its data."""

    if TYPE_CHECKING:
        data: np.ndarray
        requires_grad: bool

    # arithmetic; NumPy arrays and numbers may stand on either side

    def __add__(self, y: Any) -> Tensor:
        return elementwise.add(self, y)

    def __radd__(self, x: Any) -> Tensor:
        return elementwise.add(x, self)

    def __sub__(self, y: Any) -> Tensor:
        return elementwise.sub(self, y)

    def __rsub__(self, x: Any) -> Tensor:
        return elementwise.sub(x, self)

    def __mul__(self, y: Any) -> Tensor:
        return elementwise.mul(self, y)

    def __rmul__(self, x: Any) -> Tensor:
        return elementwise.mul(x, self)

    def __truediv__(self, y: Any) -> Tensor:
        return elementwise.div(self, y)

    def __rtruediv__(self, x: Any) -> Tensor:
        return elementwise.div(x, self)

    def __pow__(self, y: Any) -> Tensor:
        return elementwise.pow(self, y)

    def __rpow__(self, x: Any) -> Tensor:
        return elementwise.pow(x, self)

    def __matmul__(self, y: Any) -> Tensor:
        return products.matmul(self, y)

    def __rmatmul__(self, x: Any) -> Tensor:
        return products.matmul(x, self)

    def __neg__(self) -> Tensor:
        return elementwise.neg(self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Tensor:
        return elementwise.abs(self)

    # in place, in the tensor's own memory

    def __iadd__(self, y: Any) -> Tensor:
        return update(self, elementwise.add, y)

    def __isub__(self, y: Any) -> Tensor:
        return update(self, elementwise.sub, y)

    def __imul__(self, y: Any) -> Tensor:
        return update(self, elementwise.mul, y)

    def __itruediv__(self, y: Any) -> Tensor:
        return update(self, elementwise.div, y)

    def __setitem__(self, index: Any, value: Any) -> None:
        update(self, shapes.setitem, value, index=shapes.plain_index(index))

    # comparison; the result is a bool tensor, and no gradient flows through it

    def __eq__(self, y: object) -> Any:
        return wrap(np.equal(self.data, _plain(y)))

    def __ne__(self, y: object) -> Any:
        return wrap(np.not_equal(self.data, _plain(y)))

    def __lt__(self, y: Any) -> Tensor:
        return wrap(np.less(self.data, _plain(y)))

    def __le__(self, y: Any) -> Tensor:
        return wrap(np.less_equal(self.data, _plain(y)))

    def __gt__(self, y: Any) -> Tensor:
        return wrap(np.greater(self.data, _plain(y)))

    def __ge__(self, y: Any) -> Tensor:
        return wrap(np.greater_equal(self.data, _plain(y)))

    def __and__(self, y: Any) -> Tensor:
        return wrap(np.bitwise_and(self.data, _plain(y)))

    def __or__(self, y: Any) -> Tensor:
        return wrap(np.bitwise_or(self.data, _plain(y)))

    def __xor__(self, y: Any) -> Tensor:
        return wrap(np.bitwise_xor(self.data, _plain(y)))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        return wrap(np.invert(self.data))

    def __contains__(self, y: Any) -> bool:
        return bool(np.any(np.equal(self.data, _plain(y))))

    def any(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return wrap(np.any(self.data, axis=axis, keepdims=keepdims))

    def all(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return wrap(np.all(self.data, axis=axis, keepdims=keepdims))

    __hash__ = object.__hash__  # tensors are keys by identity

    # ndarray's methods

    def __getitem__(self, index: Any) -> Tensor:
        return shapes.getitem(self, index)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return reductions.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return reductions.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return reductions.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        var = self.var(axis, ddof, keepdims)
        flat = var == 0  # where the slope of the square root is Inf, and 0 is meant
        return elementwise.where(flat, 0.0, elementwise.sqrt(elementwise.where(flat, 1.0, var)))

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return reductions.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return reductions.min(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return reductions.argmax(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return shapes.reshape(self, shape=_unpacked(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return shapes.transpose(self, axes=_unpacked(axes) if axes else None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        axes = list(range(self.ndim))
        axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
        return shapes.transpose(self, axes=tuple(axes))

    def squeeze(self, axis: Any = None) -> Tensor:
        return shapes.squeeze(self, axis=axis)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return elementwise.clip(self, min=min, max=max)

    def astype(self, dtype: Any) -> Tensor:
        return elementwise.astype(self, dtype=dtype)

    def copy(self) -> Tensor:
        """The same numbers in memory of their own; gradients flow through."""
        return elementwise.astype(self, dtype=self.dtype)

    def ravel(self) -> Tensor:
        return shapes.reshape(self, shape=(self.size,))

    def flatten(self) -> Tensor:
        return self.ravel().copy()

    @property
    def T(self) -> Tensor:
        """The axes reversed."""
        return shapes.transpose(self, axes=None)

    # what the data is like

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len: a Tensor of shape () has no length; it is a single number")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def item(self) -> Any:
        """The single number, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: expected a single number, got shape {self.shape}; index first")
        return self.data.item()

    def tolist(self) -> Any:
        """The numbers as nested Python lists."""
        return self.data.tolist()

    def numpy(self) -> np.ndarray:
        """The array itself; refused where a gradient is required, because NumPy records nothing."""
        if self.requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, and NumPy would not record it; call "
                "detach() first"
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if copy is False and dtype is not None and array.dtype != dtype:
            raise ValueError(f"np.asarray: converting {array.dtype} to {dtype} needs a copy")
        return array.astype(dtype or array.dtype, copy=bool(copy))

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Lend the memory to another library: what `torch.from_dlpack(x)` calls.

        What the other library writes goes unnoticed, as through `.data`: call `bump_version()`.

        Args:
            stream: None on a CPU.
            max_version: of DLPack, that the other library knows.
            dl_device: (1, 0), the CPU, or None.
            copy: True always copies, False never does and raises instead; by default only what is
                read-only or has negative strides is copied.

        Raises:
            BufferError: a gradient is required, or the memory cannot be lent as asked.
        """
        from minigrad.interop.dlpack import export

        return export(self, stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """(1, 0): the CPU."""
        return self.data.__dlpack_device__()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"bool: expected a single number, got shape {self.shape}; use .any() or .all()"
            )
        return bool(self.data.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"index: expected an integer tensor, got {self.dtype}; use int(x)")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        tensor = cast(Tensor, self)
        most = 100  # numbers, beyond which only the first and the last are shown
        ends = 3 if self.ndim < 3 else 1
        text = np.array2string(
            self.data, separator=", ", threshold=most, edgeitems=ends, prefix="Tensor("
        )
        if self.size == 0 or self.size > most:
            text += f", shape={self.shape}"
        if self.dtype != np.float32:
            text += f", dtype={self.dtype}"
        if tensor.node is not None:
            text += f", op={tensor.node.op.name}"
        elif self.requires_grad:
            text += ", requires_grad=True"
        return f"Tensor({text})"


def _plain(y: Any) -> Any:
    return y.data if isinstance(y, Tensor) else y


def _unpacked(arguments: tuple[Any, ...]) -> Any:
    """`x.reshape(2, 3)` and `x.reshape((2, 3))` mean the same."""
    return arguments[0] if len(arguments) == 1 else arguments


for _name, _member in vars(TensorMethods).items():
    if _name not in ("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__"):
        setattr(Tensor, _name, _member)
