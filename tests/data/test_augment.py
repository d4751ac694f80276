import math

import numpy as np
import pytest

from minigrad.data import (
    DataLoader,
    affine_warp,
    compose,
    random_affine,
    random_rotation,
    random_shift,
)


def random_images(*shape, dtype=np.float64):
    images = np.random.default_rng(0).random(shape).astype(dtype)
    images.flags.writeable = False  # nothing here may write to what it is given
    return images


def warp_pixel_by_pixel(images, degrees, pixels):
    """What affine_warp promises, one output pixel after the other."""
    N, H, W, _ = images.shape
    warped = np.zeros_like(images)
    for n, i, j in np.ndindex(N, H, W):
        # As one looks at it: x to the right, y upwards.
        x, y = j - (W - 1) / 2 - pixels[n][1], -(i - (H - 1) / 2 - pixels[n][0])
        back = math.radians(-degrees[n])
        x, y = (
            x * math.cos(back) - y * math.sin(back),
            x * math.sin(back) + y * math.cos(back),
        )
        row, column = -y + (H - 1) / 2, x + (W - 1) / 2
        for r in (math.floor(row), math.floor(row) + 1):
            for c in (math.floor(column), math.floor(column) + 1):
                if 0 <= r < H and 0 <= c < W:
                    weight = (1 - abs(row - r)) * (1 - abs(column - c))
                    warped[n, i, j] += weight * images[n, r, c]
    return warped


@pytest.mark.parametrize(
    "shape",
    [(3, 28, 28, 1), (40, 7, 5, 3), (3, 1, 6, 2), (2, 1, 1, 1), (3, 128, 128, 1)],
    ids=["digits", "many blocks", "one row", "one pixel", "larger than a block"],
)
def test_affine_warp_against_one_pixel_at_a_time(shape):
    images = random_images(*shape)
    rng = np.random.default_rng(1)
    degrees, pixels = rng.uniform(-180, 180, shape[0]), rng.uniform(-4, 4, (shape[0], 2))
    expected = warp_pixel_by_pixel(images, degrees, pixels)
    # float64 coordinates up to 128, and pixels that differ by up to 1.
    np.testing.assert_allclose(affine_warp(images, degrees, pixels), expected, rtol=0, atol=1e-12)
    single = affine_warp(images.astype(np.float32), degrees, pixels)
    assert single.dtype == np.float32
    # Coordinates up to 128 in float32 are off by 2**-17, four times that with their sums.
    np.testing.assert_allclose(single, expected, rtol=0, atol=2**-15)


def test_affine_warp_shifts_down_and_right_and_fills_with_zeros():
    images = random_images(1, 6, 5, 2, dtype=np.float32)
    expected = np.zeros_like(images)
    expected[:, 2:, :-1] = images[:, :-2, 1:]
    np.testing.assert_array_equal(affine_warp(images, [0], [[2, -1]]), expected)


def test_affine_warp_by_nothing_changes_no_bit():
    images = random_images(4, 9, 9, 1, dtype=np.float32)
    np.testing.assert_array_equal(affine_warp(images, np.zeros(4), np.zeros((4, 2))), images)


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_affine_warp_turns_counter_clockwise(turns):
    images = random_images(2, 8, 8, 1)
    warped = affine_warp(images, np.full(2, 90 * turns), np.zeros((2, 2)))
    # np.rot90 turns counter-clockwise; sin(pi) is 1e-16 away from 0.
    np.testing.assert_allclose(warped, np.rot90(images, turns, axes=(1, 2)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("pixels", [1e9, -1e9, 28.5, 28, -28])
def test_affine_warp_far_away_is_all_zeros(pixels):
    images = np.ones((2, 28, 28, 1), np.float32)
    assert not affine_warp(images, [0, 0], [[pixels, 0], [0, pixels]]).any()


def test_affine_warp_half_out_is_half():
    images = np.ones((1, 3, 3, 1), np.float32)
    warped = affine_warp(images, [0], [[2.5, 0]])
    np.testing.assert_array_equal(warped[0, :, :, 0], [[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize("shape", [(0, 28, 28, 1), (3, 0, 5, 1), (3, 5, 5, 0)], ids=str)
def test_affine_warp_of_nothing(shape):
    warped = affine_warp(np.zeros(shape, np.float32), np.zeros(shape[0]), np.zeros((shape[0], 2)))
    assert warped.shape == shape


def test_affine_warp_does_not_mind_strides():
    images = random_images(6, 9, 8, 4)
    strided = images[::-2, :, ::-1, 1:3]
    degrees, pixels = [10, 20, 30], np.ones((3, 2))
    np.testing.assert_array_equal(
        affine_warp(strided, degrees, pixels), affine_warp(strided.copy(), degrees, pixels)
    )


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (
            {"images": np.zeros((28, 28))},
            ValueError,
            r"images expects \(N, H, W, C\), got \(28, 28\)",
        ),
        ({"images": np.zeros((2, 3, 3, 1), np.uint8)}, TypeError, "float32 or float64, got uint8"),
        ({"images": np.zeros((2, 3, 3, 1), np.float16)}, TypeError, "got float16"),
        ({"degrees": [0]}, ValueError, r"\(2,\) and \(2, 2\) for 2 images, got \(1,\) and"),
        (
            {"pixels": [0, 0]},
            ValueError,
            r"\(2,\) and \(2, 2\) for 2 images, got \(2,\) and \(2,\)",
        ),
        ({"degrees": [0, math.nan]}, ValueError, "expect finite numbers"),
        ({"pixels": [[0, math.inf], [0, 0]]}, ValueError, "expect finite numbers"),
    ],
    ids=["no batch", "uint8", "float16", "one angle", "one shift", "nan", "inf"],
)
def test_affine_warp_refuses(change, error, match):
    arguments = {"images": np.zeros((2, 3, 3, 1)), "degrees": [0, 0], "pixels": np.zeros((2, 2))}
    with pytest.raises(error, match=f"affine_warp: .*{match}"):
        affine_warp(**arguments | change)


TRANSFORMS = {
    "shift": random_shift(2),
    "rotation": random_rotation(15),
    "affine": random_affine(max_degrees=15, max_pixels=2),
    "both": compose(random_rotation(15), random_shift(2)),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
class TestTransforms:
    def test_depend_on_the_generator_only(self, transform):
        images = random_images(5, 28, 28, 1, dtype=np.float32)
        first, again, other = (transform(images, np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert first.shape == images.shape
        assert first.dtype == images.dtype
        np.testing.assert_array_equal(first, again)
        assert (first != other).any(axis=(1, 2, 3)).all()

    def test_move_each_image_in_its_own_way(self, transform):
        images = np.repeat(random_images(1, 28, 28, 1), 5, axis=0)
        warped = transform(images, np.random.default_rng(0))
        assert len(np.unique(warped.reshape(5, -1), axis=0)) == 5

    def test_serve_a_loader(self, transform):
        images = random_images(10, 28, 28, 1, dtype=np.float32)
        loader = DataLoader(images, np.arange(10), 4, transform=transform)
        assert [batch.shape for batch, _ in loader] == [(4, 28, 28, 1)] * 2 + [(2, 28, 28, 1)]


def centres(images):
    """The centre of mass of each image, (row, column) from the middle."""
    _, H, W, _ = images.shape
    mass = images[..., 0] / images.sum(axis=(1, 2))[:, np.newaxis]
    rows, columns = np.arange(H) - (H - 1) / 2, np.arange(W) - (W - 1) / 2
    return np.stack([mass.sum(axis=2) @ rows, mass.sum(axis=1) @ columns], axis=1)


def check_uniform(values, limit):
    """In [-limit, limit], reaching both ends, as much on either side, spread as it should be."""
    assert np.abs(values).max() <= limit * (1 + 1e-9)
    # 2000 values: the ends are missed by 2 % with probability (1 - 0.01)**2000 = 2e-9; the mean
    # and the mean square have deviations of 0.013 and 0.007 in units of the limit.
    assert values.min() < -0.98 * limit
    assert values.max() > 0.98 * limit
    assert abs(values.mean()) < 0.06 * limit
    assert (values**2).mean() == pytest.approx(limit**2 / 3, rel=0.1)


def test_shifts_are_uniform_along_both_axes_and_independent():
    dot = np.zeros((2000, 11, 11, 1))
    dot[:, 5, 5] = 1
    shifts = centres(random_shift(3)(dot, np.random.default_rng(0)))
    check_uniform(shifts[:, 0], 3)
    check_uniform(shifts[:, 1], 3)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1


def test_angles_are_uniform():
    """A square to the right of the centre, wide enough that its centre of mass turns with it."""
    squares = np.zeros((2000, 31, 31, 1))
    squares[:, 13:18, 23:28] = 1
    row, column = centres(random_rotation(20)(squares, np.random.default_rng(0))).T
    check_uniform(np.degrees(np.arctan2(-row, column)), 20)


def test_affine_is_a_rotation_and_then_a_shift():
    images = random_images(3, 28, 28, 1)
    rng = np.random.default_rng(0)
    degrees, pixels = rng.uniform(-15, 15, 3), rng.uniform(-2, 2, (3, 2))
    np.testing.assert_array_equal(
        random_affine(max_degrees=15, max_pixels=2)(images, np.random.default_rng(0)),
        affine_warp(images, degrees, pixels),
    )


def test_compose_applies_in_turn_with_one_generator():
    def add(images, rng):
        return images + rng.integers(1, 100)

    def double(images, _rng):
        return images * 2

    images = np.zeros(1)
    rng = np.random.default_rng(0)
    first, second = rng.integers(1, 100), rng.integers(1, 100)
    composed = compose(add, double, add)(images, np.random.default_rng(0))
    assert composed.item() == first * 2 + second
    assert compose()(images, rng) is images


@pytest.mark.parametrize("limit", [-1, math.nan, math.inf], ids=str)
@pytest.mark.parametrize(
    ("make", "name"), [(random_shift, "max_pixels"), (random_rotation, "max_degrees")]
)
def test_limits_are_finite_and_not_negative(make, name, limit):
    with pytest.raises(ValueError, match=f"random_affine: {name} expects 0 or more, got {limit}"):
        make(limit)
