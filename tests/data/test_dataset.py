import numpy as np
import pytest

from minigrad.data import DownloadError, load

HOW = "by hand, or name the folder that has them by data_dir= or MINIGRAD_DATA"


def test_digits():
    data = load("digits")
    assert data.name == "digits"
    assert data.train_images.shape == (1437, 28, 28, 1)
    assert data.train_labels.shape == (1437,)
    assert data.test_images.shape == (360, 28, 28, 1)
    assert data.test_labels.shape == (360,)
    assert data.note == "Data: the embedded UCI digits (1,437 images to train on, 360 to test with)"


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_mnist_where_it_is(name, small_mnist, mnist_dir):
    data = load(name, mnist_dir)
    assert data.name == "mnist"
    assert data.note.startswith("Data: MNIST (")
    assert data.train_images.shape == (5, 28, 28, 1)
    np.testing.assert_array_equal(data.train_labels, small_mnist["train-labels-idx1-ubyte"])
    assert data.test_images.shape == (3, 28, 28, 1)
    np.testing.assert_array_equal(data.test_labels, small_mnist["t10k-labels-idx1-ubyte"])


@pytest.mark.usefixtures("small_mnist", "mirrors")
def test_auto_is_the_default_and_downloads():
    assert load().name == "mnist"


def test_auto_says_why_it_takes_the_digits_and_how_to_get_mnist():
    data = load()
    assert data.name == "digits"
    assert "embedded UCI digits" in data.note
    assert "because MNIST cannot be had" in data.note
    assert "http://127.0.0.1:9/b/train-images-idx3-ubyte.gz" in data.note
    assert data.note.endswith(HOW)


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_a_damaged_file_is_never_traded_for_the_digits(name, mnist_dir):
    (mnist_dir / "t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"my data.t10k-images-idx3-ubyte\.gz .*not an IDX file"):
        load(name, mnist_dir)


@pytest.mark.parametrize("name", ["mnist", "auto"])
def test_a_misspelt_folder_is_never_traded_for_the_digits(name, tmp_path):
    with pytest.raises(ValueError, match="expects a folder that exists"):
        load(name, tmp_path / "typo")


def test_mnist_by_name_or_not_at_all():
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        load("mnist")


def test_unknown_name():
    with pytest.raises(ValueError, match='name expects "auto", "mnist" or "digits", got \'cifar\''):
        load("cifar")
