"""The chain rule, what a node keeps, and what is freed when."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
from leaves import leaf

import minigrad as mg
import minigrad.functional as F


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
    y = F.relu(x)
    assert [id(kept) for kept in y.node.kept] == [id(y.data)]  # its output, not its input
    assert F.mul(x, 3.0).node.kept == (3.0,)  # x is needed for the gradient of 3.0 alone
    assert F.add(x, x).node.kept == ()


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
