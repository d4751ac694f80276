"""A digit anywhere in a picture, made to look like those that a network was trained on.

MNIST's way: "The original black and white images from NIST were size normalized to fit in a 20x20
pixel box while preserving their aspect ratio. [...] The images were centered in a 28x28 image by
computing the center of mass of the pixels" (Y. LeCun, C. Cortes, C. Burges, "The MNIST database").

The UCI digits' way: NIST's programs stretch a digit to 20x32 pixels and shear it upright, and the
amounts of ink in 4x4 pixels are its 8x8 numbers (M. Garris et al., "NIST Form-Based Handprint
Recognition System", NISTIR 5469, 1994; the data's own description).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .digits import enlarge
from .picture import Array, Box, Ink, open_picture

Mask = NDArray[np.bool_]

_VIEW = 160  # pixels of the longest side of what is looked at: 8 for each of the 20 in the end
_STROKES = (1.7 / 20 * _VIEW, 3.6 / 20 * _VIEW)  # widths; 5 % of MNIST's are below and above each
_BLUR = np.array([1, 4, 6, 4, 1], np.float32) / 16  # binomial, of deviation 1
_CENTRE = 14  # of mass of MNIST's digits, counting pixels from 0
_DIGITS_INK = 19.6 / 64  # the mean of the UCI digits, the same for each of the ten


@dataclass(frozen=True, eq=False)
class DrawnDigit:
    """A digit read from a picture.

    Attributes:
        image: (28, 28, 1), float32 in [0, 1], 0 is background: as the images of a data set.
        dark: Whether the picture was taken as dark ink on a light background, not the reverse.
    """

    image: Array
    dark: bool


def read_digit(
    path: str | os.PathLike[str], like: Literal["mnist", "digits"] = "mnist"
) -> DrawnDigit:
    """Read the digit in a picture of any size and colours, as images of a data set are made.

    Args:
        path: A PNG, JPEG or another picture that Pillow reads.
        like: Which data set's images it shall resemble, "mnist" or the embedded "digits".

    Raises:
        ImportError: Pillow is not installed.
        OSError: The file cannot be read.
        ValueError: It is no picture, or nothing is drawn in it, or ``like`` is neither.
    """
    if like not in ("mnist", "digits"):
        raise ValueError(f'read_digit: like expects "mnist" or "digits", got {like!r}')
    found = find_digit(open_picture(path))
    if found is None:
        raise ValueError(
            f"{os.fspath(path)} shows no digit: nothing stands out from its background; "
            "draw one digit, dark on light or light on dark"
        )
    strokes, dark = found
    image = _like_mnist(strokes) if like == "mnist" else _like_digits(strokes)
    return DrawnDigit(image[..., np.newaxis], dark)


def find_digit(picture: Array) -> tuple[Array, bool] | None:
    """The ink of the largest thing drawn in a picture (H, W, 3), and whether it is dark.

    Looks at the whole, then closer at what was found, until that fills the view: so specks of dust
    and the shading of paper matter less each time.

    Returns:
        Its amount (h, w), cut out without a margin, the longest side about 160 pixels.
    """
    box: Box = (0, 0, *picture.shape[:2])
    while True:
        view, scale = _view(picture, box)
        ink = Ink.of(view)
        if ink is None:
            return None
        digit = _connected(ink)
        closer = _around(digit, scale, box)
        if _area(closer) > 0.7 * _area(box):
            return _cut(np.where(_grown(digit, 2), ink.amount, 0)), ink.dark
        box = closer


def _view(picture: Array, box: Box) -> tuple[Array, float]:
    """What the box shows, its longest side 160 pixels, and by which factor it was scaled."""
    top, left, bottom, right = box
    part = picture[top:bottom, left:right]
    scale = _VIEW / max(part.shape[:2])
    rows, columns = (max(1, round(scale * size)) for size in part.shape[:2])
    channels = [resize(part[..., c], rows, columns) for c in range(3)]
    return _smooth(np.stack(channels, axis=2)), scale


def _smooth(picture: Array) -> Array:
    """Blurred by one pixel: a third of the noise stays, an eighth of a pixel of MNIST is lost."""
    H, W, _ = picture.shape
    padded = np.pad(picture, [(2, 2), (2, 2), (0, 0)], "edge")
    rows = np.sum([_BLUR[k] * padded[k : k + H] for k in range(5)], axis=0)
    smooth: Array = np.sum([_BLUR[k] * rows[:, k : k + W] for k in range(5)], axis=0)
    return smooth


def resize(image: Array, rows: int, columns: int) -> Array:
    """An image (H, W) in another size, smoothed by as much as it shrinks."""
    from PIL import Image

    resized = Image.fromarray(np.ascontiguousarray(image)).resize(
        (columns, rows), Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def _connected(ink: Ink) -> Mask:
    """The pixels of the largest connected part, and of those that have a tenth of its ink."""
    parts = list(_parts(ink.mask))
    H, W = ink.mask.shape
    inner = [(y, x) for y, x in parts if np.ptp(y) < H - 1 or np.ptp(x) < W - 1]
    parts = inner or parts  # something drawn inside of a frame
    amounts = [float(ink.amount[part].sum()) for part in parts]
    digit = np.zeros((H, W), bool)
    for part, amount in zip(parts, amounts, strict=True):
        if amount >= 0.1 * max(amounts):
            digit[part] = True
    return digit


def _parts(mask: Mask) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The rows and columns of each set of pixels that touch, at a corner at least."""
    left = set(zip(*(axis.tolist() for axis in mask.nonzero()), strict=True))
    while left:
        part = [left.pop()]
        for y, x in part:  # grows meanwhile
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            part += near
        rows, columns = np.array(part).T
        yield rows, columns


def _around(digit: Mask, scale: float, box: Box) -> Box:
    """Where in the picture to look closer: at the digit with a margin, in the box of this view."""
    top, left, bottom, right = (side / scale for side in _bounds(digit))
    margin = 0.2 * max(bottom - top, right - left) + 2 / scale
    return (
        max(box[0], int(box[0] + top - margin)),
        max(box[1], int(box[1] + left - margin)),
        min(box[2], int(box[0] + bottom + margin) + 1),
        min(box[3], int(box[1] + right + margin) + 1),
    )


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _bounds(mask: Mask) -> Box:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _cut(strokes: Array) -> Array:
    top, left, bottom, right = _bounds(strokes > 0)
    return strokes[top:bottom, left:right]


def _grown(mask: Mask, pixels: int) -> Mask:
    rim = pixels + 1  # which `_thicker` adds
    return _thicker(mask.astype(np.float32), pixels)[rim:-rim, rim:-rim] > 0


def _thicker(strokes: Array, pixels: int) -> Array:
    """Strokes with so many more pixels on each side; fewer, if negative."""
    from PIL import Image, ImageFilter

    if pixels == 0:
        return strokes
    size = 2 * abs(pixels) + 1
    kind = ImageFilter.MaxFilter if pixels > 0 else ImageFilter.MinFilter
    padded = np.pad(strokes, abs(pixels) + 1)
    return np.asarray(Image.fromarray(padded).filter(kind(size)))


def _stroke_width(strokes: Array) -> float:
    """In pixels: a stroke's area is its length times its width, its outline twice its length."""
    padded = np.pad(strokes, 1)
    down, right = np.diff(padded, axis=0)[:, :-1], np.diff(padded, axis=1)[:-1]
    return 2 * float(strokes.sum()) / float(np.hypot(down, right).sum())


def _like_mnist(strokes: Array) -> Array:
    """Fit into 20x20 pixels, put the centre of mass into the middle of 28x28.

    The lines of a fine pen, which would be grey, are made as thick as MNIST's thinnest before, and
    a brush's as thin as its thickest.
    """
    strokes = _fit(strokes, _VIEW)
    width = _stroke_width(strokes)
    change = (np.clip(width, *_STROKES) - width) / 2
    strokes = _fit(_cut(_thicker(strokes, round(change))), 20)
    image = np.zeros((28, 28), np.float32)
    corner = [
        int(np.clip(round(_CENTRE - centre), 0, 28 - size))
        for centre, size in zip(_centre_of_mass(strokes), strokes.shape, strict=True)
    ]
    image[corner[0] :, corner[1] :][: strokes.shape[0], : strokes.shape[1]] = strokes
    return image


def _fit(strokes: Array, size: int) -> Array:
    """Scaled so that the longest side has this size."""
    rows, columns = (max(1, round(size * n / max(strokes.shape))) for n in strokes.shape)
    return resize(strokes, rows, columns)


def _centre_of_mass(strokes: Array) -> tuple[float, float]:
    rows, columns = (strokes.sum(axis=axis) for axis in (1, 0))
    total = rows.sum()
    return float(rows @ np.arange(len(rows)) / total), float(
        columns @ np.arange(len(columns)) / total
    )


def _like_digits(strokes: Array) -> Array:
    """Stretch to 20x32 pixels, shear upright, count the ink in 8x8 squares, and enlarge those."""
    strokes = _fit(strokes, _VIEW // 2)  # half is enough for 8x8 squares
    widths = [_thicker(strokes, pixels) for pixels in range(-3, 7)]
    tries = [_squares(strokes) for strokes in widths if strokes.any()]
    squares = min(tries, key=lambda image: abs(float(image.mean()) - _DIGITS_INK))
    image: Array = enlarge(squares[np.newaxis], 28)[0]
    return image


def _squares(strokes: Array) -> Array:
    strokes = _cut(strokes)
    height, width = strokes.shape
    stretched = resize(strokes, 128, round(min(80, 128 * width / height * 1.6)))
    return _upright(stretched).reshape(8, 16, 8, 16).mean(axis=(1, 3))


def _upright(strokes: Array) -> Array:
    """Sheared so that its first and its last row begin below each other, in the middle of 128."""
    H, W = strokes.shape
    inked = strokes > strokes.max() / 2
    rows = np.flatnonzero(inked.any(axis=1))  # the outermost may be too faint
    first, last = (int(np.argmax(inked[row])) for row in (rows[0], rows[-1]))
    sheared = np.zeros((H, 3 * H), np.float32)
    for y, row in enumerate(strokes):
        start = H + round((last - first) * (0.5 - y / (H - 1)))
        sheared[y, start : start + W] = row
    columns = np.flatnonzero(sheared.any(axis=0))
    middle = (columns[0] + columns[-1] + 1) // 2
    return sheared[:, middle - H // 2 : middle + H // 2]
