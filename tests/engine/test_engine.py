"""The engine's promises: the chain rule, what it keeps, and the mistakes that it makes loud."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad.engine import Node, Op


def leaf(*numbers: float) -> mg.Tensor:
    return mg.Tensor(list(numbers), requires_grad=True)


# -------------------------------------------------------------------------------- chain rule


def test_chain_rule_by_hand() -> None:
    x = leaf(2.0, 3.0)
    y = (x * x + 1.0) * x  # x^3 + x, slope 3 x^2 + 1
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [13.0, 28.0]


def test_gradients_accumulate_until_cleared() -> None:
    x = leaf(1.0)
    for expected in (2.0, 4.0):
        (x * 2.0).backward()
        assert x.grad is not None
        assert x.grad.item() == expected
    x.grad = None
    (x * 2.0).backward()
    assert x.grad.item() == 2.0


def test_diamond_visits_each_node_once() -> None:
    calls = []

    @mg.op
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    double.vjp(x=lambda g: calls.append(1) or 2 * g)
    x = y = mg.Tensor(np.ones(1), requires_grad=True)  # float64: 3^30 is exact
    for _ in range(30):  # 2^30 paths, 30 nodes
        y = double(y) + y
    y.backward()
    assert len(calls) == 30
    assert x.grad is not None
    assert x.grad.item() == 3.0**30


def test_leaves_alone_get_grad() -> None:
    x = leaf(1.0)
    y = x * 2.0
    y.backward()
    assert y.grad is None
    assert not y.requires_grad or y.node is not None


def test_gradients_of_leaves_share_no_memory() -> None:
    x, y = leaf(1.0), leaf(2.0)
    (x + y).backward()  # one array is handed to both
    assert x.grad is not None
    assert y.grad is not None
    x.grad *= 5.0
    assert y.grad.item() == 1.0


def test_the_gradient_passed_in_is_not_kept() -> None:
    x = leaf(1.0, 2.0)
    g = np.ones(2, np.float32)
    (x + 0.0).backward(g)
    g[:] = 7.0
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]


def test_backward_on_a_leaf() -> None:
    x = leaf(3.0)
    x.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0


def test_rules_run_only_where_a_gradient_is_wanted() -> None:
    calls = []

    @mg.op
    def product(x, y):  # type: ignore[no-untyped-def]
        return x * y

    product.vjp(
        x=lambda g, y: calls.append("x") or g * y, y=lambda g, x: calls.append("y") or g * x
    )
    product(mg.Tensor([1.0]), leaf(2.0)).backward()
    assert calls == ["y"]


def test_a_node_keeps_only_what_its_rules_name() -> None:
    x = leaf(1.0, -1.0)
    assert F.relu(x).node.saved == [None]  # its output, not its input
    scaled = F.mul(x, 3.0).node
    assert scaled.saved == [None, 3.0]  # x is needed for the gradient of 3.0 alone
    assert F.add(x, x).node.saved == [None, None]


def test_large_inputs_are_freed_when_no_rule_needs_them() -> None:
    x = mg.Tensor(np.ones(10), requires_grad=True)
    hidden = x * 2.0
    alive = weakref.ref(hidden.data)
    out = F.relu(hidden)
    del hidden
    assert alive() is None
    out.sum().backward()


def test_long_chain_runs_and_is_destroyed() -> None:
    x = y = leaf(1.0)
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0
    for _ in range(100_000):
        y = y + x
    del y  # never walked: destroyed node by node, without recursion


def test_memory_is_flat_without_the_garbage_collector() -> None:
    w = mg.Tensor(np.ones((100, 100)), requires_grad=True)

    def step() -> None:
        h = F.relu(F.matmul(w, w)).reshape(10_000)[:5000]
        h = F.exp(h * 1e-6) * 1.0
        h += 1.0
        loss = (h * h).mean() + mg.checkpoint(F.tanh, h).sum()
        loss.backward()
        (g,) = mg.grad((w * w).sum(), w, create_graph=True)
        g.sum().backward()
        (w * 2.0).sum()  # recorded, never walked
        w.grad = None

    gc.collect()
    gc.disable()
    try:
        step()
        tracemalloc.start()
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step()
        after = tracemalloc.get_traced_memory()[0]
        garbage = gc.collect()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < w.data.nbytes  # less than one array in twenty steps
    assert garbage == 0


# -------------------------------------------------------------------------------- mg.grad


def test_grad_of_grad_of_grad() -> None:
    x = leaf(2.0)
    y = x * x * x * x
    for expected in (32.0, 48.0, 48.0, 24.0):
        (y,) = mg.grad(y, x, create_graph=True)
        assert y is not None
        assert y.item() == expected
    assert x.grad is None


def test_grad_by_an_intermediate_tensor_goes_no_further() -> None:
    x = leaf(3.0)
    h = x * x
    y = h * h
    (g,) = mg.grad(y, h)
    assert g is not None
    assert g.item() == 18.0
    h.backward()  # the part before h was not visited, so it is still there
    assert x.grad is not None
    assert x.grad.item() == 6.0


def test_grad_of_several_outputs_and_inputs() -> None:
    x, y = leaf(2.0), leaf(5.0)
    gx, gy = mg.grad([x * y, x + y], [x, y], [mg.Tensor([1.0]), mg.Tensor([10.0])])
    assert gx is not None
    assert gy is not None
    assert (gx.item(), gy.item()) == (15.0, 12.0)


def test_grad_of_unused_input() -> None:
    x, y = leaf(2.0), leaf(5.0)
    with pytest.raises(RuntimeError, match="do not depend on input 1; pass allow_unused=True"):
        mg.grad(x * 2.0, [x, y])
    assert mg.grad(x * 2.0, [x, y], allow_unused=True)[1] is None


def test_grad_of_a_tensor_by_itself() -> None:
    h = leaf(2.0) * 3.0
    (g,) = mg.grad(h, h)
    assert g is not None
    assert g.item() == 1.0


def test_grad_of_constant_input_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        mg.grad(leaf(1.0) * 2.0, mg.Tensor([1.0]))


def test_hessian_vector_product_against_by_hand() -> None:
    x = leaf(1.0, 2.0)
    v = mg.Tensor([3.0, 5.0])
    y = (x * x * x).sum() + x[0] * x[1]  # hessian [[6 x0, 1], [1, 6 x1]]
    (g,) = mg.grad(y, x, create_graph=True)
    assert g is not None
    (hv,) = mg.grad((g * v).sum(), x)
    assert hv is not None
    assert hv.tolist() == [6 * 3 + 5.0, 3 + 12 * 5.0]


# -------------------------------------------------------------------------------- switches


def test_no_grad_as_context_and_decorator() -> None:
    x = leaf(1.0)

    @mg.no_grad()
    def with_call(x: mg.Tensor) -> mg.Tensor:
        return x * 2.0

    @mg.no_grad
    def bare(x: mg.Tensor) -> mg.Tensor:
        return x * 2.0

    with mg.no_grad():
        assert not (x * 2.0).requires_grad
        with mg.enable_grad():
            assert (x * 2.0).requires_grad
    assert not with_call(x).requires_grad
    assert not bare(x).requires_grad
    assert (x * 2.0).requires_grad


def test_no_grad_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()


def test_recording_is_per_thread() -> None:
    inside, seen = threading.Event(), []
    done = threading.Event()

    def other() -> None:
        inside.wait(10)
        seen.append((leaf(1.0) * 2.0).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with mg.no_grad():
        inside.set()
        done.wait(10)
    thread.join()
    assert seen == [True]


def test_threads_accumulate_into_one_leaf() -> None:
    x = leaf(0.0)

    def work() -> None:
        for _ in range(200):
            (x * 1.0).backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(old)
    assert x.grad is not None
    assert x.grad.item() == 800.0


def test_detach_shares_memory_and_stops_gradients() -> None:
    x = leaf(2.0)
    y = x.detach()
    assert np.shares_memory(x.data, y.data)
    assert not y.requires_grad
    (x * x.detach()).backward()
    assert x.grad is not None
    assert x.grad.item() == 2.0


# -------------------------------------------------------------------------------- hooks


def test_hooks_see_and_replace_the_gradient() -> None:
    x = leaf(1.0)
    h = x * 3.0
    seen = []
    remove = h.register_hook(lambda g: seen.append(g.item()))
    h.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: g + 1.0)
    (h * 2.0 + h).backward()  # complete (2 + 1) when the hook sees it
    assert seen == [3.0]
    assert x.grad is not None
    assert x.grad.item() == 3 * 10 * 3 + 1.0
    remove()
    (h * 1.0).sum()
    assert len(seen) == 1


def test_hook_of_wrong_shape() -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook: expected .* shape \(2,\), got \(\)"):
        x.sum().backward()


def test_hook_may_return_an_array() -> None:
    x = leaf(1.0, 2.0)
    h = x * 2.0
    h.register_hook(lambda g: np.zeros(2))
    F.relu(h).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]
    assert x.grad.dtype == np.float32


def test_hook_on_a_constant() -> None:
    with pytest.raises(RuntimeError, match="register_hook: this tensor does not require"):
        mg.Tensor([1.0]).register_hook(print)


# -------------------------------------------------------------------------------- loud mistakes


def test_backward_twice_names_the_op() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"freed by an earlier backward \(at mul\).*retain_graph"
    ):
        y.backward()
    assert x.grad is not None
    assert x.grad.item() == 4.0  # and nothing was added


def test_backward_twice_with_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8.0


def test_grad_through_a_freed_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        mg.grad(y, x)


def test_backward_of_many_numbers_needs_a_gradient() -> None:
    with pytest.raises(RuntimeError, match=r"single number only.*shape \(2,\); sum it first"):
        (leaf(1.0, 2.0) * 2.0).backward()


def test_gradient_of_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"expected a gradient of the tensor's shape \(2,\), got"):
        (leaf(1.0, 2.0) * 2.0).backward(np.ones(3))


def test_backward_of_what_was_never_recorded() -> None:
    for y in (mg.Tensor([1.0]), leaf(1.0).detach()):
        with pytest.raises(RuntimeError, match="does not require a gradient, because nothing was"):
            y.backward()


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match="requires_grad: expected a float dtype, got int64"):
        mg.Tensor(np.arange(3), requires_grad=True)


def test_op_without_a_derivative() -> None:
    @mg.op
    def mystery(x):  # type: ignore[no-untyped-def]
        return x + 1

    assert mystery(mg.Tensor([1.0])).item() == 2.0
    with pytest.raises(RuntimeError, match=r"mystery: no derivative was given; call mystery.vjp"):
        mystery(leaf(1.0))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"z": lambda g: g}, "z is not one of the inputs"),
        ({"x": lambda g, w: g}, "a rule names w; it can name g, needs, out, x"),
    ],
)
def test_rules_are_checked_when_given(rule: dict, message: str) -> None:  # type: ignore[type-arg]
    @mg.op
    def double(x, *, times=2):  # type: ignore[no-untyped-def]
        return times * x

    with pytest.raises(TypeError, match=message):
        double.vjp(**rule)


def test_reserved_parameter_names() -> None:
    with pytest.raises(TypeError, match="has a parameter g, which means something else"):

        @mg.op
        def bad(g):  # type: ignore[no-untyped-def]
            return g


def test_an_error_in_a_rule_tells_whose_rule_it_was() -> None:
    @mg.op
    def broken(x):  # type: ignore[no-untyped-def]
        return x + 1

    broken.vjp(x=lambda g: g[5])
    with pytest.raises(IndexError) as caught:
        broken(leaf(1.0)).backward()
    assert caught.value.__notes__ == ["This happened in the derivative of broken."]


def test_rule_of_wrong_shape_names_the_op() -> None:
    @mg.op
    def careless(x):  # type: ignore[no-untyped-def]
        return 2 * x

    careless.vjp(x=lambda g: np.ones(7))
    with pytest.raises(
        RuntimeError, match=r"derivative of careless gave a gradient of shape \(7,\)"
    ):
        careless(leaf(1.0, 2.0)).sum().backward()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.add(x, np.ones(5)), ValueError, r"add: .*\(2,\) \(5,\)"),
        (
            lambda x: F.mul(x, "two"),
            TypeError,
            "mul: expected a Tensor, an array or a number, got str",
        ),
        (lambda x: F.add(x), TypeError, "add: missing the input y"),
        (lambda x: F.relu(x, 1, 2), TypeError, r"relu: expected at most 1 arguments \(x\), got 3"),
        (lambda x: F.sum(x, axis=3), np.exceptions.AxisError, "sum: axis 3 is out of bounds"),
        (lambda x: F.sum(x, dim=0), TypeError, "sum: .*'dim'"),
        (lambda x: x[5], IndexError, "getitem: index 5 is out of bounds"),
        (lambda x: F.reshape(x, shape=(3,)), ValueError, "reshape: cannot reshape"),
    ],
)
def test_errors_of_bodies_name_the_op(call, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call(leaf(1.0, 2.0))


# -------------------------------------------------------------------------------- NaN


def test_detect_anomaly_forward() -> None:
    x = leaf(-1.0)
    with mg.detect_anomaly(), pytest.raises(RuntimeError, match="log made the first NaN or Inf"):
        F.exp(F.log(x))
    assert np.isnan(F.exp(F.log(x)).item())


def test_detect_anomaly_backward() -> None:
    x = leaf(0.0)
    y = F.sqrt(x)  # its slope is Inf
    with mg.detect_anomaly(), pytest.raises(RuntimeError, match="derivative of sqrt made"):
        y.backward()


def test_detect_anomaly_tells_what_was_given() -> None:
    with mg.detect_anomaly(), pytest.raises(RuntimeError, match="add was given a NaN"):
        mg.Tensor([np.nan]) + 1.0


# -------------------------------------------------------------------------------- declaring ops


def test_custom_op_with_residual_and_config() -> None:
    @mg.op(residuals=("index",))
    def largest(x, *, scale=1.0):  # type: ignore[no-untyped-def]
        index = int(np.argmax(x))
        return scale * x[index], index

    def rule(g, x_shape, index, scale):  # type: ignore[no-untyped-def]
        out = np.zeros(x_shape)
        out[index] = g * scale
        return out

    largest.vjp(x=rule)
    x = leaf(1.0, 5.0, 2.0)
    y = largest(x, scale=3.0)
    assert y.item() == 15.0
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 3.0, 0.0]
    assert largest(np.array([1.0, 2.0])) == 2.0  # arrays in, array out, no residual


def test_joint_rule_is_told_what_is_needed() -> None:
    told = []

    @mg.op
    def both(x, y):  # type: ignore[no-untyped-def]
        return x * y

    @both.vjp_joint
    def _(needs, g, x, y):  # type: ignore[no-untyped-def]
        told.append(needs)
        return g * y, g * x

    x = leaf(2.0)
    both(x, mg.Tensor([3.0])).backward()
    both(x, x).backward()
    assert told == [(True, False), (True, True)]
    assert x.grad is not None
    assert x.grad.item() == 3.0 + 4.0


def test_optional_and_named_inputs() -> None:
    x, w, b = np.ones((1, 2, 2, 1)), np.ones((1, 1, 1, 1)), np.ones(1)
    assert F.conv2d(mg.Tensor(x), w, b).data.max() == 2.0
    assert F.linear(mg.Tensor(np.ones((1, 2))), np.ones((2, 3)), b=np.ones(3)).data.max() == 3.0
    assert F.add(leaf(1.0), y=leaf(2.0)).item() == 3.0
    assert F.sum(mg.Tensor(np.ones((2, 3))), 0).shape == (3,)


def test_op_is_documented_and_readable() -> None:
    assert isinstance(F.relu, Op)
    assert "max(x, 0)" in (F.relu.__doc__ or "")
    assert repr(F.leaky_relu) == "<op leaky_relu(x, *, negative_slope=0.01)>"


# -------------------------------------------------------------------------------- copying


def test_leaves_can_be_copied_and_pickled_and_results_not() -> None:
    x = leaf(1.0, 2.0)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        assert twin.tolist() == [1.0, 2.0]
        assert not np.shares_memory(twin.data, x.data)
    with pytest.raises(RuntimeError, match="a recorded tensor cannot be copied; call detach"):
        copy.deepcopy(x * 2.0)


def test_a_misspelt_attribute_is_an_error() -> None:
    with pytest.raises(AttributeError):
        leaf(1.0).requires_gard = True  # type: ignore[attr-defined]


def test_node_is_younger_than_its_parents() -> None:
    y = (leaf(1.0) * 2.0) * 3.0
    assert y.node is not None
    parent = (y.node.parents or [None])[0]
    assert isinstance(parent, Node)
    assert parent.index < y.node.index
