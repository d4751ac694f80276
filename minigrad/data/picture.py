"""Pictures of any size, mode and colour, and the ink that stands out from their background.

A background is what the edge of a picture shows. It may be shaded, as paper under a lamp is: a
quadratic surface is fitted to it. Ink is whatever stands out, darker or lighter, or of another
colour.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from minigrad.extras import import_extra

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]  # top, left, bottom, right, as in picture[top:bottom, left:right]

# Formats that Pillow decodes by itself. EPS is not among them: it would start Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, of red, green and blue
_LARGEST = 2048  # pixels of the longest side that are kept: a digit is 20 in the end
_FAINTEST = 0.04  # what stands out less from white or black is not ink
_EDGE = 0.08  # the share of a side that is taken for background


def open_picture(path: str | os.PathLike[str]) -> Array:
    """Read a picture as colours, upright, and what is transparent as background.

    Returns:
        (H, W, 3) in [0, 1]; the longest side has at most 2,048 pixels.

    Raises:
        ImportError: Pillow is not installed.
        OSError: There is no such file, or it cannot be read.
        ValueError: It is no picture, or a damaged one, or one of more than 89 million pixels.
    """
    import warnings

    pillow = import_extra("read_digit", "PIL.Image", "pillow")
    name = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path, formats=FORMATS) as image:
                return _colours(_upright(image))
    except pillow.UnidentifiedImageError as error:
        raise ValueError(
            f"{name} is no picture that can be read; expected one of {', '.join(FORMATS)}"
        ) from error
    except (pillow.DecompressionBombWarning, pillow.DecompressionBombError) as error:
        raise ValueError(f"{name} has too many pixels; make it smaller than 89 million") from error
    except (SyntaxError, EOFError, ValueError) as error:  # so says Pillow of broken files
        raise ValueError(f"{name} is a damaged picture ({error}); save it again") from error
    except OSError as error:
        if error.errno is not None:
            raise  # of the file system, and its message names the file
        raise ValueError(f"{name} is a damaged picture ({error}); save it again") from error


def _upright(image: Any) -> Any:
    """The first frame, turned as the camera noted, and no larger than is needed."""
    from PIL import ImageOps

    image.draft("RGB", (_LARGEST, _LARGEST))  # JPEG can be decoded at half of its size
    image = ImageOps.exif_transpose(image)
    wide = image.mode.startswith(("I", "F"))  # 16 bits or more; convert() would cut them off at 255
    if wide:
        image = image.convert("F")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    else:
        image = image.convert("RGB")
    image.thumbnail((_LARGEST, _LARGEST))
    return image


def _colours(image: Any) -> Array:
    pixels: Array = np.asarray(image, np.float32)
    if pixels.ndim == 2:
        # PNG's have 16 bits; those of TIFF may have any range.
        lowest, highest = min(0.0, float(pixels.min())), float(pixels.max())
        full = 65535.0 if 1 < highest <= 65535 else max(highest - lowest, 1.0)
        return np.stack([(pixels - np.float32(lowest)) / np.float32(full)] * 3, axis=2)
    colours: Array = pixels[..., :3] / np.float32(255)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:] / np.float32(255)
        # Transparent is paper for dark strokes and a blackboard for light ones.
        luminance = np.sum((colours @ _LUMINANCE) * alpha[..., 0]) / max(alpha.sum(), 1e-9)
        colours = colours * alpha + (1 - alpha) * np.float32(luminance < 0.5)
    return colours


@dataclass(frozen=True, eq=False)
class Ink:
    """What stands out from the background of a picture.

    Attributes:
        amount: (H, W), 0 on the background and about 1 in the middle of strokes.
        mask: (H, W), where there is ink for certain.
        dark: whether it is darker than the background.
    """

    amount: Array
    mask: NDArray[np.bool_]
    dark: bool

    @classmethod
    def of(cls, picture: Array) -> Self | None:
        """Find the ink of a picture (H, W, 3); None where nothing stands out."""
        surface, bare = _background(picture)
        difference = picture - surface
        strength = np.linalg.norm(difference, axis=2, keepdims=True)
        # The colour of ink: that of the pixels which differ most, whose noise cancels out.
        direction = np.sum(difference * strength**3, axis=(0, 1))
        direction /= max(float(np.linalg.norm(direction)), 1e-12)
        along = difference @ direction
        noise = 1.48 * float(np.median(np.abs(along[bare])))  # a normal deviate's, by its median
        strongest = np.sort(along, axis=None)[-max(3, along.size // 500) :]
        peak = float(strongest.mean())
        if peak < max(_FAINTEST, 5 * noise):  # the strongest of noise alone are 3
            return None
        mask = along > max(0.35 * peak, 4 * noise)
        # A steep ramp about half of the full amount gives enlarged strokes their edges back.
        amount = ((along / np.median(along[mask]) - 0.5) * 2 + 0.5).clip(0, 1)
        return cls(amount, mask, bool(direction @ _LUMINANCE < 0))


def _background(picture: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The quadratic surface through the edge of a picture, and where that edge has no ink."""
    H, W, _ = picture.shape
    y, x = np.linspace(-1, 1, H)[:, np.newaxis], np.linspace(-1, 1, W)
    y, x = np.broadcast_arrays(y, x)
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    rows, columns = (max(1, round(_EDGE * size)) for size in (H, W))
    edge = np.ones((H, W), bool)
    edge[rows:-rows, columns:-columns] = False
    surface: Array = np.broadcast_to(_commonest(picture[edge]), picture.shape)
    for _ in range(4):  # ink at the edge is left out, once it is seen to differ
        off = np.linalg.norm(picture - surface, axis=2)
        # As 2.3 deviations of noise, and unmoved where ink has two thirds of a narrow edge.
        bare = edge & (off <= 6 * np.quantile(off[edge], 0.3) + 0.02)
        if np.count_nonzero(bare) < 4 * basis.shape[2]:
            return surface, edge
        # The normal equations, which have 6 rows instead of thousands.
        known = basis[bare].T
        weights, *_ = np.linalg.lstsq(known @ known.T, known @ picture[bare], rcond=None)
        surface = (basis @ weights).astype(np.float32)
    return surface, bare


def _commonest(colours: Array) -> Array:
    """The colour that most of these (N, 3) are near to."""
    shade = (colours @ _LUMINANCE * 15.99).astype(int)
    commonest = np.bincount(shade).argmax()
    colour: Array = np.median(colours[shade == commonest], axis=0)
    return colour
