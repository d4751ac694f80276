import runpy
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from minigrad.data import digits
from minigrad.data.digits import enlarge

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def arrays():
    with np.load(resources.files("minigrad.data") / "digits.npz") as file:
        return dict(file)


@pytest.mark.parametrize(("split", "N"), [("train", 1437), ("test", 360)])
def test_shapes_types_and_range(split, N):
    images, labels = digits(split)
    assert images.shape == (N, 28, 28, 1)
    assert images.dtype == np.float32
    assert images.min() == 0
    # The highest pixels are 16 of 16, and 28/8 times as large: their middle is the pixel itself.
    assert images.max() == pytest.approx(1, abs=1e-6)
    assert images.max() <= 1
    assert labels.shape == (N,)
    assert labels.dtype == np.int64


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_those_of_the_file_with_16_as_1(split, arrays):
    images, labels = digits(split)
    expected = enlarge(arrays[f"{split}_images"].astype(np.float32) / 16, 28)
    np.testing.assert_array_equal(images[..., 0], expected)
    np.testing.assert_array_equal(labels, arrays[f"{split}_labels"])


def test_each_digit_is_divided_in_the_same_proportion():
    train, test = (np.bincount(digits(split)[1]) for split in ("train", "test"))
    # The counts of the data set's description.
    assert (train + test).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(test - (train + test) / 5).max() < 1


def test_labels_belong_to_their_images():
    """The nearest mean image already knows nine of ten: labels in another order know one."""
    images, labels = digits("train")
    means = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)])
    images, labels = digits("test")
    distances = ((images[:, np.newaxis] - means) ** 2).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == labels).mean() > 0.85


def test_every_call_gives_new_arrays():
    images, labels = digits("test")
    images[:], labels[:] = 7, 7
    again, again_labels = digits("test")
    assert again.max() <= 1
    assert not (again_labels == 7).all()


def test_split_is_train_or_test():
    with pytest.raises(ValueError, match='digits: split expects "train" or "test", got \'all\''):
        digits("all")


def test_the_file_is_small_and_says_whose_it_is(arrays):
    assert (resources.files("minigrad.data") / "digits.npz").stat().st_size < 50_000
    for part in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0", "Changed"):
        assert part in str(arrays["credit"])
    for array in (arrays["train_images"], arrays["test_images"]):
        assert array.dtype == np.uint8
        assert array.max() == 16


def test_no_image_is_for_training_and_for_testing(arrays):
    train, test = ({image.tobytes() for image in arrays[f"{s}_images"]} for s in ("train", "test"))
    assert len(train) + len(test) == 1797  # all differ
    assert not train & test


def test_the_tool_makes_this_file_from_scikit_learn(arrays):
    sklearn = pytest.importorskip("sklearn.datasets", reason="the tool's source")
    made = runpy.run_path(str(ROOT / "tools" / "make_digits.py"))["split_digits"]()
    assert made.keys() == arrays.keys()
    for name, array in made.items():
        np.testing.assert_array_equal(arrays[name], array)

    source = sklearn.load_digits()
    known = {image.astype(np.uint8).tobytes(): n for n, image in enumerate(source.images)}
    for split in ("train", "test"):
        order = [known[image.tobytes()] for image in arrays[f"{split}_images"]]
        np.testing.assert_array_equal(source.target[order], arrays[f"{split}_labels"])


@pytest.mark.parametrize(("size", "new"), [(8, 28), (8, 8), (8, 5), (1, 4), (3, 7)], ids=str)
def test_enlarging_is_linear_interpolation_along_both_axes(size, new):
    images = np.random.default_rng(0).random((4, size, size), dtype=np.float32)
    centres = (np.arange(new) + 0.5) * size / new - 0.5

    def resample(line):
        return np.interp(centres, np.arange(size), line)  # continues the ends, as it should

    expected = np.apply_along_axis(resample, 2, np.apply_along_axis(resample, 1, images))
    # Two sums of two products of numbers below 1 in float32.
    np.testing.assert_allclose(enlarge(images, new), expected, rtol=0, atol=4 * 2**-23)


def test_enlarging_is_pytorchs():
    torch = pytest.importorskip("torch", reason="compares with torch.nn.functional.interpolate")
    images = np.random.default_rng(0).random((4, 8, 8), dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], size=(28, 28), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(enlarge(images, 28), expected[:, 0], rtol=0, atol=4 * 2**-23)
