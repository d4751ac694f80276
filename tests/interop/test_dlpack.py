"""Memory shared with NumPy, PyTorch and JAX by DLPack."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import minigrad as mg
import minigrad_ext as ext
from minigrad_ext import allocator

DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]


def torch():
    return pytest.importorskip("torch")


# each as (name, a function from a Tensor, a function to an array that shares memory)
def to_numpy(x):
    return np.from_dlpack(x)


def to_torch(x):
    return torch().from_dlpack(x).numpy()


def to_jax(x):
    return np.asarray(pytest.importorskip("jax").dlpack.from_dlpack(x))


CONSUMERS = pytest.mark.parametrize("consume", [to_numpy, to_torch, to_jax])


@CONSUMERS
@pytest.mark.parametrize("dtype", DTYPES)
def test_another_library_gets_the_same_numbers(consume, dtype):
    if consume is to_jax and dtype in ("int64", "float64"):
        pytest.skip("JAX has no 64 bits unless asked")
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    got = consume(mg.Tensor(array))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("consume", [to_numpy, to_torch])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[1:, ::2],
        lambda a: a.transpose(2, 0, 1),
        lambda a: a[:0],
        lambda a: a[0, 0, 0],
    ],
    ids=["whole", "slices", "transposed", "empty", "number"],
)
def test_exported_memory_is_shared_with_its_strides(consume, view):
    x = mg.Tensor(view(np.arange(24.0).reshape(2, 3, 4)))
    got = consume(x)
    assert got.strides == x.data.strides or not x.size
    np.testing.assert_array_equal(got, x.data)
    got[...] = 7
    assert (x.data == 7).all()


@CONSUMERS
def test_negative_strides_are_copied(consume):
    x = mg.Tensor(np.arange(6, dtype=np.float32)[::-1])
    np.testing.assert_array_equal(consume(x), [5, 4, 3, 2, 1, 0])
    assert not np.shares_memory(np.from_dlpack(x), x.data)
    with pytest.raises(BufferError, match=r"dlpack: negative strides \(-4,\) cannot be shared"):
        x.__dlpack__(copy=False)


@pytest.mark.parametrize("consume", [to_numpy, to_torch])
def test_what_is_read_only_cannot_be_written_through_another_library(consume):
    array = np.zeros(3)
    array.flags.writeable = False
    got = consume(mg.Tensor(array))
    got[...] = 1
    assert not array.any()


def test_read_only_memory_is_shared_as_such_on_request():
    array = np.zeros(3)
    array.flags.writeable = False
    got = np.from_dlpack(mg.Tensor(array), copy=False)
    assert np.shares_memory(got, array)
    assert not got.flags.writeable


def test_copy_true_copies():
    x = mg.Tensor(np.zeros(3))
    for got in (np.from_dlpack(x, copy=True), torch().from_dlpack(x, copy=True).numpy()):
        got[...] = 1
    assert not x.data.any()


def test_the_device_is_the_cpu():
    x = mg.Tensor([1.0])
    assert x.__dlpack_device__() == (1, 0)
    assert torch().from_dlpack(x, device="cpu").item() == 1.0
    with pytest.raises(
        BufferError, match=r"dlpack: expected dl_device \(1, 0\), the CPU, .* got \(2, 0\)"
    ):
        x.__dlpack__(dl_device=(2, 0))


def test_torch_takes_tensors_as_it_takes_arrays():
    x = mg.Tensor([[1.0, 2.0]])
    for convert in (torch().as_tensor, torch().asarray):
        assert np.shares_memory(convert(x).numpy(), x.data)
    assert not np.shares_memory(torch().tensor(x).numpy(), x.data)
    assert torch().tensor(x).tolist() == x.tolist()


def test_a_consumer_of_an_old_version_is_served():
    x = mg.Tensor([1.0, 2.0])
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    assert '"dltensor"' in repr(x.__dlpack__())


@pytest.mark.parametrize("consume", [np.from_dlpack, lambda x: torch().from_dlpack(x)])
def test_what_requires_a_gradient_is_refused(consume):
    x = mg.Tensor([1.0], requires_grad=True)
    for tensor in (x, x * 2):
        with pytest.raises(BufferError, match=r"dlpack: .* requires a gradient.*detach\(\)"):
            consume(tensor)
    consume(x.detach())


def test_writing_through_another_library_is_noticed_once_it_is_said():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    loss = (y * y).sum()
    shared = y.detach()
    torch().from_dlpack(shared).zero_()
    assert y.tolist() == [0, 0]
    shared.bump_version()
    with pytest.raises(RuntimeError, match="mul needs was changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    "consume", [np.from_dlpack, lambda x: torch().from_dlpack(x)], ids=["numpy", "torch"]
)
def test_exported_memory_stays_lent_while_it_is_used(consume):
    gc.collect()
    array = ext.new_array((1 << 16,), np.float32)  # large enough for the caching allocator
    array[...] = 1
    consumer = consume(mg.Tensor(array))
    lent = allocator.held()[0]
    del array
    gc.collect()
    assert allocator.held()[0] == lent
    others = [ext.new_array((1 << 16,), np.float32) for _ in range(4)]
    for other in others:
        other[...] = 2
    assert (np.asarray(consumer) == 1).all()
    del others, other
    during = allocator.held()[0]
    del consumer
    gc.collect()
    assert during - allocator.held()[0] >= 4 << 16


def test_a_capsule_that_nobody_takes_gives_the_memory_back():
    gc.collect()
    before = allocator.held()[0]
    capsule = mg.Tensor(ext.new_array((1 << 16,), np.float32)).__dlpack__()
    assert allocator.held()[0] > before
    del capsule
    gc.collect()
    assert allocator.held()[0] == before


# ------------------------------------------------------------------------------------- from_dlpack


@pytest.mark.parametrize("dtype", DTYPES)
def test_import_from_torch_shares_memory(dtype):
    theirs = torch().arange(6).reshape(2, 3).to(getattr(torch(), dtype))
    mine = mg.from_dlpack(theirs.T)
    assert isinstance(mine, mg.Tensor)
    assert (mine.shape, str(mine.dtype)) == ((3, 2), dtype)
    np.testing.assert_array_equal(mine.data, theirs.T.numpy())
    assert not mine.requires_grad
    theirs[0, 1] = 0
    assert mine.tolist()[1][0] == 0
    mine[0] = 1  # and it may be written to
    assert theirs[0, 0] == 1


def test_import_from_numpy_and_minigrad():
    array = np.arange(6.0)[::-2]
    for source in (array, mg.Tensor(array)):
        np.testing.assert_array_equal(mg.from_dlpack(source).data, [5, 3, 1])
    assert np.shares_memory(mg.from_dlpack(array, copy=False).data, array)
    assert not np.shares_memory(mg.from_dlpack(array, copy=True).data, array)


def test_what_jax_lends_is_read_only():
    jax = pytest.importorskip("jax")
    mine = mg.from_dlpack(jax.numpy.ones(3))
    with pytest.raises(ValueError, match="cannot change a read-only array in place"):
        mine += 1
    assert (mine + 1).tolist() == [2, 2, 2]


def test_imported_memory_outlives_its_source():
    theirs = torch().full((1000,), 3.0)
    mine = mg.from_dlpack(theirs)
    del theirs
    gc.collect()
    assert (mine.data == 3).all()


def test_gradients_flow_to_an_imported_leaf():
    theirs = torch().tensor([1.0, 2.0])
    x = mg.from_dlpack(theirs).requires_grad_()
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_what_cannot_be_imported_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match=r"from_dlpack: expected .* __dlpack__, got list; use Ten"):
        mg.from_dlpack([1.0])
    t = torch()
    with pytest.raises(TypeError, match=r"from_dlpack: .* got torch.bfloat16; convert it first"):
        mg.from_dlpack(t.ones(2, dtype=t.bfloat16))
    with pytest.raises(BufferError, match=r"from_dlpack: Can't export .* use tensor.detach\(\)"):
        mg.from_dlpack(t.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="got complex64; convert it first"):
        mg.from_dlpack(t.ones(2, dtype=t.complex64))

    class OnGPU:
        def __dlpack__(self, **_):
            raise AssertionError("not asked")

        def __dlpack_device__(self):
            return 2, 0

    with pytest.raises(BufferError, match=r"from_dlpack: .* on the CPU, got .* \(2, 0\); move it"):
        mg.from_dlpack(OnGPU())
