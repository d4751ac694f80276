"""Memory for results; see allocator.pyx."""

from typing import Any

from numpy.typing import DTypeLike, NDArray

def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...
def empty_cache() -> None: ...
