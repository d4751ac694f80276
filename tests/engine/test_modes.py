"""Recording on and off, per thread; hooks; NaN."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from leaves import leaf

import minigrad as mg
import minigrad.functional as F


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


def test_no_grad_can_be_used_again_and_within_itself() -> None:
    quiet = mg.no_grad()
    for _ in range(2):
        with quiet, quiet:
            assert not mg.is_grad_enabled()
        assert mg.is_grad_enabled()


def test_no_grad_on_a_generator_function_is_refused() -> None:
    with pytest.raises(TypeError, match="batches: a generator function cannot be decorated"):

        @mg.no_grad()
        def batches():  # type: ignore[no-untyped-def]
            yield 1


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


def test_an_op_can_run_where_no_program_calls_it() -> None:
    program = """
import atexit, _thread, time
import minigrad as mg
import minigrad.functional as F

x = mg.Tensor([1.0], requires_grad=True)
atexit.register(F.relu, x)
_thread.start_new_thread(F.relu, (x,))
time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b""


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
