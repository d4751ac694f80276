"""In-place changes: recorded where they can be, refused at backward where they were too late."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from leaves import leaf

import minigrad as mg
import minigrad.functional as F

CHANGED = "needs for? its derivative|derivative of .* needs was changed in place"


def test_recorded_change_has_the_right_gradient() -> None:
    x, w = leaf(2.0), leaf(5.0)
    y = x * 3.0
    memory = y.data
    y += w
    y *= 2.0
    y -= 1.0
    y /= 4.0
    assert y.data is memory
    assert y.item() == (2 * 3 + 5) * 2 / 4 - 0.25
    y.backward()
    assert x.grad is not None
    assert w.grad is not None
    assert (x.grad.item(), w.grad.item()) == (1.5, 0.5)


def test_a_constant_buffer_becomes_recorded() -> None:
    x = leaf(2.0)
    total = mg.Tensor([0.0])
    for _ in range(3):
        total += x * x
    total.backward()
    assert x.grad is not None
    assert x.grad.item() == 12.0


def test_item_assignment_is_recorded() -> None:
    x, v = leaf(1.0, 2.0, 3.0), leaf(10.0)
    y = x * 2.0
    y[1] = v[0] * 7.0
    assert y.tolist() == [2.0, 70.0, 6.0]
    y.sum().backward()
    assert x.grad is not None
    assert v.grad is not None
    assert x.grad.tolist() == [2.0, 0.0, 2.0]
    assert v.grad.tolist() == [7.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.__iadd__(1.0),
        lambda y: y.__isub__(1.0),
        lambda y: y.__imul__(2.0),
        lambda y: y.__itruediv__(2.0),
        lambda y: y.__setitem__(0, 1.0),
        lambda y: y.detach().__iadd__(1.0),
    ],
    ids=["+=", "-=", "*=", "/=", "[]=", "detach"],
)
def test_change_of_a_saved_input_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    y = leaf(2.0) * 3.0
    z = y * y
    change(y)
    with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
        z.backward()


def test_change_of_a_saved_output_is_refused() -> None:
    y = F.exp(leaf(2.0))
    y += 1.0
    with pytest.raises(RuntimeError, match="derivative of exp needs was changed in place"):
        y.backward()


def test_change_of_what_no_rule_needs_is_fine() -> None:
    x = leaf(2.0)
    y = x * 3.0
    z = y + 1.0
    y += 100.0
    z.backward()
    assert x.grad is not None
    assert x.grad.item() == 3.0


def test_use_after_the_change_is_fine() -> None:
    x = leaf(2.0)
    y = x * 3.0
    y += 1.0
    (y * y).backward()
    assert x.grad is not None
    assert x.grad.item() == 2 * 7 * 3


def test_optimizer_step_between_forward_and_backward_is_refused() -> None:
    w = leaf(2.0)
    loss = w * w
    with mg.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
        loss.backward()


def test_raw_change_is_seen_after_bump_version() -> None:
    w = leaf(2.0)
    loss = w * w
    w.data += 1.0
    w.bump_version()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_views_share_the_version() -> None:
    x = mg.Tensor(np.ones((2, 2)), requires_grad=True)
    y = x * 2.0
    flat = y.reshape(4)
    z = flat * flat
    with mg.no_grad():
        y += 1.0  # changes what flat shows
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_change_through_an_unrecorded_view() -> None:
    w = mg.Tensor(np.ones((2, 2)), requires_grad=True)
    z = w * w
    with mg.no_grad():
        row = w[0]
        row += 1.0
    assert w.data[0, 0] == 2.0
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_recorded_change_of_viewed_memory_is_refused() -> None:
    y = leaf(1.0, 2.0) * 2.0
    first = y[:1]
    for target in (y, first):
        with pytest.raises(RuntimeError, match=r"that a view .* shares; write x = x"):
            target += 1.0


def test_recorded_change_of_a_leaf_is_refused() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient cannot be changed"):
        x += 1.0
    with mg.no_grad():
        x += 1.0
    assert x.item() == 2.0
    assert x.requires_grad
    assert x.node is None


def test_change_of_shape_is_refused() -> None:
    x = mg.Tensor([1.0])
    with pytest.raises(
        ValueError, match=r"keeps the shape \(1,\), but the result has shape \(2,\)"
    ):
        x += np.ones(2)


def test_change_of_read_only_array_is_refused() -> None:
    array = np.ones(2)
    array.flags.writeable = False
    x = mg.Tensor(array)
    with pytest.raises(ValueError, match="cannot change a read-only array in place; copy it first"):
        x += 1.0


def test_dtype_is_kept() -> None:
    x = mg.Tensor([1.0])
    x += np.ones(1, np.float64)
    assert x.dtype == np.float32
    counts = mg.Tensor(np.arange(2))
    with pytest.raises(TypeError, match="same_kind"):
        counts += 0.5


def test_in_place_through_checkpointed_input_is_refused() -> None:
    y = leaf(2.0) * 3.0
    z = mg.checkpoint(lambda t: t * t, y)
    y += 1.0
    with pytest.raises(RuntimeError, match="derivative of checkpoint needs was changed in place"):
        z.backward()


def test_a_view_made_before_recording_counts_too() -> None:
    buffer, w = mg.Tensor(np.zeros((2, 2))), mg.Tensor(np.ones(2), requires_grad=True)
    row = buffer[0]
    for target in (buffer, row):
        with pytest.raises(RuntimeError, match="memory that a view"):
            target += w


def test_tensors_made_of_tensors_share_the_version() -> None:
    x, w = mg.Tensor([1.0]), leaf(1.0)
    for twin in (mg.Tensor(x), mg.nn.Parameter(x), copy.copy(x)):
        y = w * x
        with mg.no_grad():
            twin += 5.0
        with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
            y.sum().backward()


def test_an_op_that_returns_what_it_was_given_shares_the_version() -> None:
    @mg.op
    def second(x, y):  # type: ignore[no-untyped-def]
        return y if x.size else x

    second.vjp(y=lambda g: g)
    y = leaf(3.0) * 1.0
    z = second(mg.Tensor([0.0]), y)
    q = z * z
    with mg.no_grad():
        y += 10.0
    with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
        q.backward()


def test_indices_and_labels_may_change_before_backward() -> None:
    x, index = leaf(1.0, 2.0, 3.0), mg.Tensor(np.array([0, 1]))
    y, labels = x[index], np.array([0])
    index[0] = 2
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0, 0.0]
    logits = mg.Tensor(np.zeros((1, 2)), requires_grad=True)
    loss = F.cross_entropy(logits, labels)
    labels[0] = 1
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.5, 0.5]]


def test_float32_stays_float32_after_a_float64_change() -> None:
    y = leaf(1.0) * 1.0
    seen = []
    y += np.ones(1)
    y.register_hook(lambda g: seen.append(g.dtype))
    y.backward()
    assert seen == [np.float32]


def test_a_result_that_is_the_middle_input_itself_shares_its_memory() -> None:
    @mg.op
    def middle(_x, y, _z):  # type: ignore[no-untyped-def]
        return y

    middle.vjp(y=lambda g: g)
    y = leaf(1.0) * 1.0
    square = y * y
    out = middle(2.0, y, 3.0)
    with mg.no_grad():
        out += 1.0
    with pytest.raises(RuntimeError, match="derivative of mul needs was changed in place"):
        square.backward()


def test_changes_elsewhere_do_no_harm() -> None:
    x, other = leaf(3.0), mg.Tensor([1.0])
    with mg.no_grad():
        x += 1.0  # before it is used
    y = x * x
    other += 1.0  # after that, so that backward has to look closer
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8.0
