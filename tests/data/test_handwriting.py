"""Digits in pictures, drawn here by Pillow, made into images as a network was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import data
from minigrad.data.digits import digits

Image = pytest.importorskip("PIL.Image")
ImageDraw = pytest.importorskip("PIL.ImageDraw")

SEVEN = [(0.25, 0.0), (0.85, 0.05), (0.4, 1.0)]  # x and y, in the square of the digit
FIVE = [(0.8, 0.0), (0.2, 0.0), (0.2, 0.4), (0.8, 0.5), (0.8, 0.9), (0.1, 1.0)]


def drawn(
    size: tuple[int, int] = (280, 280),
    *,
    box: tuple[int, int, int] = (60, 50, 160),
    width: int = 18,
    strokes: list[tuple[float, float]] = SEVEN,
    ink: Any = 0,
    paper: Any = 255,
    mode: str = "L",
) -> Any:
    """A digit in a picture of `size`; box: left, top and height of the digit."""
    picture = Image.new(mode, size, paper)
    left, top, height = box
    points = [(left + x * height, top + y * height) for x, y in strokes]
    ImageDraw.Draw(picture).line(points, fill=ink, width=width, joint="curve")
    return picture


def expected() -> np.ndarray:
    """The seven of `drawn`, made as MNIST was, by other means: counts of pixels in squares."""
    ink = 1 - np.asarray(drawn(), np.float64) / 255
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(ink.shape)
    fine = ink.repeat(20, axis=0).repeat(20, axis=1)  # 20 side: both 20 and side divide it
    fine = np.pad(fine, [(0, 20 * side - n) for n in fine.shape])
    small = fine.reshape(20, side, 20, side).mean(axis=(1, 3))
    image = np.zeros((48, 48))
    y, x = ((small * axis).sum() / small.sum() for axis in np.indices((20, 20)))
    image[round(14 - y) :, round(14 - x) :][:20, :20] = small
    return image[:28, :28]


def difference(digit: data.DrawnDigit) -> float:
    """The mean difference of a pixel from `expected`.

    A centre of mass between two pixels may be rounded to either. Apart from that, edges are a
    quarter of a pixel from where they should be; ink is 0.08 of the pixels, so that another digit
    would differ by about 0.1.
    """
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    shifted = [np.roll(digit.image[..., 0], shift, axis=(0, 1)) for shift in shifts]
    return min(float(np.abs(image - expected()).mean()) for image in shifted)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., data.DrawnDigit]:
    def write_and_read(picture: Any, like: Any = "mnist") -> data.DrawnDigit:
        picture.save(tmp_path / "x.png")
        return data.read_digit(tmp_path / "x.png", like)

    return write_and_read


def noisy(picture: Any, deviation: float = 8) -> Any:
    """On shaded paper with grain, as a photograph is."""
    pixels = np.asarray(picture, np.float64)
    y, x = np.mgrid[0 : 1 : pixels.shape[0] * 1j, 0 : 1 : pixels.shape[1] * 1j]
    shade = 0.9 - 0.3 * x - 0.2 * y * y
    grain = np.random.default_rng(0).normal(0, deviation, pixels.shape)
    return Image.fromarray((pixels * shade + grain).clip(0, 255).astype(np.uint8))


def transparent(ink: int) -> Any:
    return drawn(mode="RGBA", ink=(ink, ink, ink, 255), paper=(128, 128, 128, 0))


def sixteen_bits() -> Any:
    return Image.fromarray(np.asarray(drawn()).astype(np.uint16) * 200 + 5000)


# A picture, and whether it is dark on light.
PICTURES: dict[str, tuple[Callable[[], Any], bool]] = {
    "black on white": (drawn, True),
    "white on black": (lambda: drawn(ink=255, paper=0), False),
    "RGB": (lambda: drawn(mode="RGB", ink=(30, 30, 90), paper=(250, 240, 200)), True),
    "red on green": (lambda: drawn(mode="RGB", ink=(190, 0, 0), paper=(0, 97, 0)), True),
    "black on transparent": (lambda: transparent(0), True),
    "white on transparent": (lambda: transparent(255), False),
    "one bit": (lambda: drawn().convert("1"), True),
    "palette": (lambda: drawn(mode="RGB", ink="blue", paper="white").quantize(8), True),
    "16 bits": (sixteen_bits, True),
    "20x20": (lambda: drawn(box=(30, 20, 240), width=27).resize((20, 20)), True),
    "3000x2000": (lambda: drawn((3000, 2000), box=(2200, 100, 960), width=108), True),
    "small, in a corner": (lambda: drawn((1200, 900), box=(20, 700, 128), width=14), True),
    "photograph": (lambda: noisy(drawn((900, 700), box=(500, 60, 400), width=45)), True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_digit_in_any_picture_is_the_same_image(
    name: str, read: Callable[..., data.DrawnDigit]
) -> None:
    make, dark = PICTURES[name]
    digit = read(make())
    assert digit.image.shape == (28, 28, 1)
    assert digit.image.dtype == np.float32
    assert 0 <= digit.image.min() < digit.image.max() <= 1
    assert digit.dark == dark
    assert difference(digit) < 0.03


def test_a_camera_held_upright_is_obeyed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    turned = drawn().transpose(Image.Transpose.ROTATE_90)
    for name in ("x.png", "x.jpg"):
        turned.save(tmp_path / name, exif=exif)
        digit = data.read_digit(tmp_path / name)
        assert difference(digit) < 0.03


@pytest.mark.parametrize("strokes", [SEVEN, FIVE])
def test_it_fills_20_pixels_about_the_centre_of_mass(
    strokes: Any, read: Callable[..., data.DrawnDigit]
) -> None:
    image = read(drawn(strokes=strokes)).image[..., 0]
    extent = [np.ptp(np.flatnonzero(image.any(axis=axis))) + 1 for axis in (0, 1)]
    assert max(extent) == 20
    for axis in np.indices(image.shape):
        assert (image * axis).sum() / image.sum() == pytest.approx(14, abs=0.51)  # whole pixels


@pytest.mark.parametrize("width", [1, 3, 60])
def test_fine_pens_and_brushes_get_strokes_as_mnist_has(
    width: int, read: Callable[..., data.DrawnDigit]
) -> None:
    image = read(drawn((400, 400), box=(80, 80, 240), width=width)).image[..., 0]
    # 5 % of MNIST's digits have less ink than 0.05 on average, 5 % more than 0.18.
    assert 0.05 < image.mean() < 0.18
    assert image.max() > 0.9


def dusty() -> Any:
    picture = drawn((600, 500))
    for place in [(500, 20), (30, 450), (550, 400)]:
        ImageDraw.Draw(picture).ellipse([*place, place[0] + 14, place[1] + 14], fill=0)
    return picture


def framed() -> Any:
    picture = drawn()
    ImageDraw.Draw(picture).rectangle([0, 0, 279, 279], outline=0, width=4)
    return picture


@pytest.mark.parametrize("picture", [dusty, framed])
def test_dust_and_frames_are_no_digits(
    picture: Callable[[], Any], read: Callable[..., data.DrawnDigit]
) -> None:
    assert difference(read(picture())) < 0.03


@pytest.mark.parametrize("like", ["mnist", "digits"])
def test_whatever_is_in_a_picture_it_is_an_image_or_blank(
    like: str, read: Callable[..., data.DrawnDigit]
) -> None:
    rng, refusals = np.random.default_rng(0), []
    for _ in range(25):
        H, W = rng.integers(1, 40, 2)
        pixels = rng.integers(0, 256, (H, W)) * (rng.random((H, W)) < rng.random() ** 3)
        try:
            image = read(Image.fromarray(pixels.astype(np.uint8)), like).image
        except ValueError as error:
            refusals.append(str(error))
        else:
            assert image.shape == (28, 28, 1)
            assert 0 <= image.min() < image.max() <= 1 + 1e-6
    assert all("shows no digit" in refusal for refusal in refusals)


BLANK = {
    "white": lambda: Image.new("L", (100, 50), 255),
    "black": lambda: Image.new("RGB", (100, 50), "black"),
    "transparent": lambda: Image.new("RGBA", (100, 50), (9, 9, 9, 0)),
    "one pixel": lambda: Image.new("L", (1, 1), 7),
    "a line of pixels": lambda: Image.new("L", (1, 90), 7),
    "shaded and grainy": lambda: noisy(Image.new("L", (300, 200), 255)),
    "mostly noise": lambda: noisy(Image.new("L", (160, 160), 200), 60),
}


@pytest.mark.parametrize("name", BLANK)
def test_blank_pictures_are_said_to_be(name: str, read: Callable[..., data.DrawnDigit]) -> None:
    with pytest.raises(
        ValueError, match=r"x\.png shows no digit: nothing stands out .*; draw one digit"
    ):
        read(BLANK[name]())


def test_what_is_no_picture_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with pytest.raises(FileNotFoundError):
        data.read_digit(path)
    # Pillow reads PostScript by starting another program, which here nothing may.
    for content in (b"", b"a text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.png is no picture that can be read; expected"):
            data.read_digit(path)
    drawn().save(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"x\.png is a damaged picture .*; save it again"):
        data.read_digit(path)


def test_a_picture_of_too_many_pixels_is_refused(
    read: Callable[..., data.DrawnDigit], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (50_000, 20_000):  # Pillow warns of more, and refuses twice as many
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"x\.png has too many pixels"):
            read(drawn())


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r'like expects "mnist" or "digits", got \'cifar\''):
        data.read_digit("x.png", like="cifar")  # type: ignore[arg-type]


def test_a_slanted_stroke_is_upright_among_the_embedded_digits(
    read: Callable[..., data.DrawnDigit],
) -> None:
    image = read(drawn(strokes=[(0.8, 0.0), (0.2, 1.0)]), like="digits").image[..., 0]
    columns = np.arange(28)
    above, below = ((part @ columns).sum() / part.sum() for part in (image[2:9], image[19:26]))
    assert above == pytest.approx(below, abs=4)  # 9 apart as it was drawn


def test_scans_of_the_embedded_digits_are_read_back(read: Callable[..., data.DrawnDigit]) -> None:
    train, train_labels = digits("train")
    test, labels = (part[::9] for part in digits("test"))
    images = []
    for image in test[..., 0]:
        page = np.pad(image * 255, 14).astype(np.uint8)
        scan = Image.fromarray(255 - page).resize((448, 448), Image.Resampling.BICUBIC)
        images.append(read(scan, like="digits").image)
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, test, strict=True)]
    assert np.median(likeness) > 0.85  # measured: 0.92
    # The nearest image of the other part has the right label, for 99 % of the test part itself.
    distances = [np.square(train - image).sum(axis=(1, 2, 3)) for image in images]
    nearest = train_labels[np.argmin(distances, axis=1)]
    assert np.mean(nearest == labels) > 0.85  # measured: 0.93
