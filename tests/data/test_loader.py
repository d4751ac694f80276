import itertools

import numpy as np
import pytest

from minigrad.data import DataLoader

IMAGES = np.arange(10 * 4, dtype=np.float32).reshape(10, 2, 2, 1)
LABELS = np.arange(10)


def labels_of(loader):
    return [labels.tolist() for _, labels in loader]


def order_of(loader):
    return list(itertools.chain(*labels_of(loader)))


def test_batches_in_order_and_the_last_one_partial():
    loader = DataLoader(IMAGES, LABELS, batch_size=4)
    assert labels_of(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for start, (images, _) in zip((0, 4, 8), loader, strict=True):
        np.testing.assert_array_equal(images, IMAGES[start : start + 4])
        assert images.dtype == np.float32


def test_drop_last():
    assert labels_of(DataLoader(IMAGES, LABELS, 4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(labels_of(DataLoader(IMAGES, LABELS, 5, drop_last=True))) == 2


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("N", [0, 1, 3, 4, 5, 10])
def test_len_is_the_number_of_batches(N, drop_last):
    loader = DataLoader(IMAGES[:N], LABELS[:N], 4, drop_last=drop_last)
    assert len(loader) == len(list(loader)) == len(list(loader))


def test_no_data_no_batches():
    loader = DataLoader(np.zeros((0, 28, 28, 1)), np.zeros(0, int), 4, shuffle=True)
    assert list(loader) == []


class TestShuffle:
    def test_an_epoch_has_everything_once_and_images_stay_with_labels(self):
        for images, labels in DataLoader(IMAGES, LABELS, 3, shuffle=True):
            np.testing.assert_array_equal(images, IMAGES[labels])
        assert sorted(order_of(DataLoader(IMAGES, LABELS, 3, shuffle=True))) == LABELS.tolist()

    def test_every_epoch_has_another_order_and_a_loader_of_the_same_seed_the_same(self):
        loader = DataLoader(IMAGES, LABELS, 3, shuffle=True, seed=5)
        epochs = [order_of(loader) for _ in range(4)]
        assert len({tuple(order) for order in [*epochs, LABELS]}) == 5
        again = DataLoader(IMAGES, LABELS, 3, shuffle=True, seed=5)
        assert [order_of(again) for _ in range(4)] == epochs

    @pytest.mark.parametrize(("seed", "other"), [(0, 1), (1, 2**32 + 1), (7, 2**64 + 7)])
    def test_another_seed_has_another_order(self, seed, other):
        assert order_of(DataLoader(IMAGES, LABELS, 3, shuffle=True, seed=seed)) != order_of(
            DataLoader(IMAGES, LABELS, 3, shuffle=True, seed=other)
        )

    def test_the_order_does_not_depend_on_the_batch_size(self):
        orders = [order_of(DataLoader(IMAGES, LABELS, size, shuffle=True)) for size in (1, 4, 99)]
        assert orders[0] == orders[1] == orders[2]

    def test_the_order_does_not_depend_on_other_randomness(self):
        expected = order_of(DataLoader(IMAGES, LABELS, 3, shuffle=True))
        np.random.default_rng(0).random(5)
        interrupted = DataLoader(IMAGES, LABELS, 3, shuffle=True)
        other = DataLoader(IMAGES, LABELS, 3, shuffle=True)
        order = []
        for _, labels in interrupted:
            order_of(other)
            order.extend(labels)
        assert order == expected


class TestEpoch:
    def test_counts_the_passes_begun(self):
        loader = DataLoader(IMAGES, LABELS, 3)
        assert loader.epoch == 0
        for _ in loader:
            assert loader.epoch == 1
        next(iter(loader))  # a pass that is broken off counts too
        assert loader.epoch == 2

    def test_a_resumed_run_sees_what_the_first_one_saw(self):
        def noise(images, rng):
            return images + rng.random(images.shape)

        def run(loader, epochs):
            return [images for _ in range(epochs) for images, _ in loader]

        first = run(DataLoader(IMAGES, LABELS, 4, shuffle=True, transform=noise), 5)
        resumed = DataLoader(IMAGES, LABELS, 4, shuffle=True, transform=noise)
        resumed.epoch = 3
        for expected, images in zip(first[9:], run(resumed, 2), strict=True):
            np.testing.assert_array_equal(images, expected)

    def test_two_passes_at_once_are_two_epochs(self):
        loader = DataLoader(IMAGES, LABELS, 10, shuffle=True)
        (_, first), (_, second) = next(zip(loader, loader, strict=True))
        loader.epoch = 0
        assert [first.tolist(), second.tolist()] == labels_of(loader) + labels_of(loader)


def place(loader):
    state = loader.state_dict()
    return state["epoch"], state["batch"]


class TestState:
    def noisy(self, **options):
        def noise(images, rng):
            return images + rng.random(images.shape)

        return DataLoader(
            IMAGES, LABELS, **{"batch_size": 4, "shuffle": True, "transform": noise} | options
        )

    @pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"shuffle": False}, {"seed": 3}])
    def test_another_loader_goes_on_in_the_middle_of_an_epoch(self, options):
        loader = self.noisy(**options)
        states, seen = [loader.state_dict()], []
        for _ in range(3):
            for batch in loader:
                seen.append(batch)
                states.append(loader.state_dict())
        for done, state in enumerate(states[: -len(loader)]):
            other = self.noisy(**options)
            list(other)  # where it stood does not matter
            other.load_state_dict(state)
            assert other.state_dict() == state
            rest = [batch for _ in range(other.epoch, 3) for batch in other]
            assert len(rest) == len(seen) - done
            for (images, labels), (x, y) in zip(rest, seen[done:], strict=True):
                np.testing.assert_array_equal(images, x)
                np.testing.assert_array_equal(labels, y)

    def test_names_the_batch_that_comes_next(self):
        loader = self.noisy()
        assert place(loader) == (0, 0)
        places = [place(loader) for _ in range(2) for _ in loader]
        assert places == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
        loader.epoch = 5
        assert loader.state_dict() == {
            "epoch": 5, "batch": 0,
            "seed": 0, "shuffle": True, "batch_size": 4, "drop_last": False, "items": 10,
        }  # fmt: skip

    def test_only_the_first_pass_is_a_rest(self):
        loader = self.noisy()
        loader.load_state_dict({**loader.state_dict(), "epoch": 2, "batch": 2})
        assert loader.epoch == 2
        assert [len(list(loader)) for _ in range(2)] == [1, 3]
        assert loader.epoch == 4

    def test_setting_the_epoch_begins_it(self):
        loader = self.noisy()
        loader.load_state_dict({**loader.state_dict(), "batch": 2})
        loader.epoch = 0
        assert len(list(loader)) == 3

    @pytest.mark.parametrize(
        ("change", "error", "match"),
        [
            (
                {"seed": 1},
                ValueError,
                "expects .*'seed': 0.* got .*'seed': 1.*; make the loader as",
            ),
            ({"shuffle": False}, ValueError, "'shuffle': True"),
            ({"batch_size": 5}, ValueError, "'batch_size': 4"),
            ({"drop_last": True}, ValueError, "'drop_last': False"),
            ({"items": 11}, ValueError, "'items': 10"),
            ({"more": 1}, ValueError, "got .*'more': 1"),
            ({"batch": 3}, ValueError, "expects a batch before 3, got 3"),
            ({"batch": -1}, ValueError, "batch expects 0 or more, got -1"),
            ({"epoch": -1}, ValueError, "epoch expects 0 or more, got -1"),
            ({"epoch": 1.5}, TypeError, "epoch expects an integer, got 1.5"),
        ],
    )
    def test_refuses_the_state_of_another_loader_and_stays_as_it_is(self, change, error, match):
        loader = self.noisy()
        next(iter(loader))
        before = loader.state_dict()
        with pytest.raises(error, match=match):
            loader.load_state_dict({**before, **change})
        with pytest.raises(ValueError, match="expects a state with epoch, batch and"):
            loader.load_state_dict({"epoch": 0})
        assert loader.state_dict() == before


class TestTransform:
    def test_is_given_each_batch(self):
        shapes = []

        def double(images, _rng):
            shapes.append(images.shape)
            return images * 2

        batches = list(DataLoader(IMAGES, LABELS, 4, transform=double))
        assert shapes == [(4, 2, 2, 1), (4, 2, 2, 1), (2, 2, 2, 1)]
        np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), IMAGES * 2)

    def test_its_generator_depends_on_seed_epoch_and_batch_only(self):
        def drawn(seed=0, shuffle=False, extra=0):
            def transform(images, rng):
                numbers.append(rng.random())
                rng.random(extra)
                return images

            numbers = []
            loader = DataLoader(IMAGES, LABELS, 4, shuffle=shuffle, seed=seed, transform=transform)
            list(loader), list(loader)
            return numbers

        numbers = drawn()
        assert len({*numbers, *drawn(seed=1)}) == 12  # two epochs of three batches, two seeds
        assert drawn(extra=5) == numbers  # what one batch draws does not move the next
        assert drawn(shuffle=True) == numbers

    def test_its_generator_is_not_the_one_that_shuffles(self):
        def transform(images, rng):
            orders.append(rng.permutation(10).tolist())
            return images

        orders = []
        loader = DataLoader(IMAGES, LABELS, 10, shuffle=True, transform=transform)
        shuffled = [order_of(loader), order_of(loader)]
        assert orders[0] not in shuffled
        assert orders[1] not in shuffled

    def test_may_write_to_its_batch_and_the_data_stay(self):
        def erase(images, _rng):
            images[:] = 0
            return images

        before = IMAGES.copy()
        for images, labels in DataLoader(IMAGES, LABELS, 4, transform=erase):
            assert not images.any()
            labels[:] = 0
        np.testing.assert_array_equal(IMAGES, before)
        np.testing.assert_array_equal(LABELS, np.arange(10))

    def test_must_keep_the_number_of_images(self):
        loader = DataLoader(IMAGES, LABELS, 4, transform=lambda images, _rng: images[1:])
        with pytest.raises(ValueError, match=r"transform expects to return the 4 images .* 3$"):
            next(iter(loader))


def test_lists_and_read_only_arrays_will_do():
    fixed = IMAGES.copy()
    fixed.flags.writeable = False
    assert labels_of(DataLoader(fixed, list(LABELS), 5)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"labels": LABELS[:9]}, ValueError, "expect one length, got 10 images and 9 labels"),
        ({"images": np.float32(1)}, ValueError, "expect arrays of items, got a scalar"),
        ({"labels": 3}, ValueError, "expect arrays of items, got a scalar"),
        ({"batch_size": 0}, ValueError, "batch_size expects 1 or more, got 0"),
        ({"batch_size": -4}, ValueError, "batch_size expects 1 or more, got -4"),
        ({"batch_size": 2.0}, TypeError, r"batch_size expects an integer, got 2\.0"),
        ({"batch_size": True}, TypeError, "batch_size expects an integer, got True"),
        ({"seed": -1}, ValueError, "seed expects 0 or more, got -1"),
        ({"seed": None}, TypeError, "seed expects an integer, got None"),
    ],
    ids=[
        "fewer labels",
        "scalar images",
        "scalar labels",
        "batch of 0",
        "batch of -4",
        "batch of 2.0",
        "batch of True",
        "seed -1",
        "seed None",
    ],
)
def test_refuses(change, error, match):
    arguments = {"images": IMAGES, "labels": LABELS, "batch_size": 4} | change
    with pytest.raises(error, match=f"DataLoader: .*{match}"):
        DataLoader(**arguments)


def test_refuses_an_epoch_before_the_first():
    loader = DataLoader(IMAGES, LABELS, np.int64(4))
    with pytest.raises(ValueError, match="DataLoader: epoch expects 0 or more, got -1"):
        loader.epoch = -1
