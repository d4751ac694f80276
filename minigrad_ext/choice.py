"""Which loops compute a convolution: the choices that the dial offers.

* `im2col`: gather the windows, multiply by BLAS. Any convolution, float32 and float64.
* `direct`: read the windows where they lie, multiply in registers. float32.
* `winograd`: a quarter of the products, between transforms. 3x3, stride 1, float32; not exact.

A choice is a function of the dtype, the shapes of output and weights, and the window. None depends
on the number of images: else cutting a batch would change the bits of its results.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from . import direct, im2col, winograd
from .geometry import Shape

Choice: TypeAlias = Callable[[np.dtype[Any], Shape, Shape, dict[str, Any]], ModuleType]


def by_blas(*_: Any) -> ModuleType:
    """Products by BLAS, always."""
    return im2col


def by_tiles(dtype: np.dtype[Any], _: Shape, w: Shape, window: dict[str, Any]) -> ModuleType:
    """Register tiles wherever they can be: in float32, where there are channels to sum over."""
    depthwise = window["groups"] > 1 and w[2] == 1 and w[3] == window["groups"]
    return direct if direct.AVAILABLE and dtype == np.float32 and not depthwise else im2col


def by_winograd(dtype: np.dtype[Any], y: Shape, w: Shape, window: dict[str, Any]) -> ModuleType:
    """Winograd wherever it can be, else register tiles."""
    plain = by_tiles(dtype, y, w, window)
    fits = w[:2] == (3, 3) and window["stride"] == window["step"] == (1, 1)
    return winograd if fits and window["groups"] == 1 and plain is direct else plain


def by_speed(dtype: np.dtype[Any], y: Shape, w: Shape, window: dict[str, Any]) -> ModuleType:
    """The fastest; fitted to what `benchmarks/choose.py` measures."""
    loops = by_winograd(dtype, y, w, window)
    if loops is winograd and not winograd_pays(y, w):
        loops = direct
    # A register tile computes a whole vector of outputs, however many of them are wanted: with 8 of
    # 16 BLAS takes 0.7 of its time, with 1 a quarter (32 input channels, 1x1 and 3x3, Zen 4).
    if loops is direct and 2 * (w[3] // window["groups"]) <= direct.LANES:
        loops = im2col
    return loops


def winograd_pays(y: Shape, w: Shape) -> bool:
    """Whether Winograd is faster than the register tiles.

    An output takes 9 products of C_in x C_out plainly. A tile takes 36, and transforms, which cost
    as much as 36 more for each of 13 (C_in + C_out).
    """
    (_, H, W, _), (_, _, C_in, C_out) = y, w
    tiles = -(-H // 4) * -(-W // 4)
    return 9 * H * W * C_in * C_out > 36 * tiles * (C_in * C_out + 13 * (C_in + C_out))
