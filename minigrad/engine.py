"""The engine: tensors that remember how they were made, and the chain rule that walks back.

Read it from top to bottom. Calling an `Op` on a `Tensor` leaves a `Node` behind: the op, where its
inputs came from, and the few arrays that its derivative needs. `walk` visits the nodes from the
newest to the oldest. A node is always younger than what it was made from, so when its turn comes,
every gradient that it will ever get has arrived: creation order is a topological order.

No op is known here. The ops, each with its derivative beside it, are in `minigrad/functional`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy import ndarray

from minigrad.arrays import (
    PLAIN,
    as_array,
    as_operand,
    check_finite,
    named_error,
    plus,
    unbroadcast,
)
from minigrad.declaration import Declaration, Plan
from minigrad.memory import Memory, changed_since, clock, latest, memory_of, viewed_memory
from minigrad.modes import Switched, anomaly, recording
from minigrad.observing import observed, observers
from minigrad.origin import here, outward, program, scope

if TYPE_CHECKING:
    from types import CodeType

    # What `x + y` and `x.sum()` mean is said by the ops, so functional/methods.py installs it.
    from minigrad.functional.methods import TensorMethods
    from minigrad.origin import Scope
else:
    TensorMethods = object

FLOAT32 = np.dtype(np.float32)

_accumulating = threading.Lock()

# Bound once, because every op asks.
_getframe, _scope = sys._getframe, scope.get
_is_recording, _is_watched = recording.get, anomaly.get

Hooks = dict[int, Callable[["Tensor"], Any]]


class TensorSlots:
    """What a tensor holds. It stands apart for the compiler: see engine.pxd."""

    __slots__ = ("__weakref__", "data", "grad", "hooks", "memory", "node", "requires_grad")

    data: np.ndarray
    grad: Tensor | None
    node: Node | None
    requires_grad: bool
    memory: Memory | None
    hooks: Hooks | None

    # Here, else Cython gives it a __setstate__ that refuses what a subclass saves.
    def __reduce__(self) -> Any:
        if self.node is not None:
            raise RuntimeError("copy: a recorded tensor cannot be copied; call detach() first")
        return type(self), (self.data, self.requires_grad)


class Tensor(TensorSlots, TensorMethods):
    """An n-dimensional array that gradients can flow back to.

    Args:
        data: an array, whose memory is shared and whose dtype is kept; or a Python number or
            nested list, which becomes float32.
        requires_grad: whether `backward` shall leave the gradient in `.grad`; float dtypes only.
        dtype: convert to this dtype.

    Attributes:
        data: the NumPy array.
        grad: the gradient, a Tensor of the same shape, or None. `backward` adds to it.
        node: the record of the op that made this tensor; None for a leaf.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `ndarray + Tensor` asks the Tensor

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self.data = as_array(data.data if isinstance(data, Tensor) else data, dtype)
        self.grad = self.node = self.memory = self.hooks = None
        if isinstance(data, Tensor) and self.data is data.data:
            self.memory = memory_of(data.node or data)
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it was made from.

        Args:
            gradient: the gradient with respect to this tensor, of its shape. It can be left out
                for a single number, where it is 1.
            retain_graph: keep what backward needs, so that it can be called again.

        Raises:
            RuntimeError: nothing was recorded; the graph was freed by an earlier backward; an
                array that backward needs was changed in place; a gradient is needed.
            ValueError: `gradient` has another shape.
        """
        start = seed("backward", self, gradient)
        if observers:
            observed("backward", self, self._accumulate, start, retain_graph)
        else:
            self._accumulate(start, retain_graph)

    def _accumulate(self, start: Tensor, retain_graph: bool) -> None:
        arrived = walk([self], [start], retain_graph=retain_graph)
        with _accumulating:
            for leaf, g in arrived.items():
                # A copy at first, because rules may hand one array to several inputs.
                leaf.grad = wrap(np.array(g) if leaf.grad is None else leaf.grad.data + g)

    def detach(self) -> Tensor:
        """The same memory without the record: no gradient flows through it."""
        return wrap(self.data, memory=memory_of(self.node or self))

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for the gradient of this leaf, or stop asking; returns the tensor itself."""
        if self.node is not None and not requires_grad:
            raise RuntimeError(
                f"requires_grad_: this tensor was made by {self.node.op.name}, and only a leaf can "
                "stop requiring a gradient; use detach()"
            )
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(
                f"requires_grad: expected a float dtype, got {self.data.dtype}; there are no "
                "gradients of integers, convert with astype"
            )
        self.requires_grad = requires_grad
        return self

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Call `hook(gradient)` when this tensor's gradient is complete in a backward pass.

        What it returns, if not None, takes the gradient's place. Returns a function that removes
        the hook.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "register_hook: this tensor does not require a gradient; set requires_grad=True, "
                "or compute it from one that does"
            )
        vertex, key = self.node or self, next(clock)
        hooks = vertex.hooks = vertex.hooks if vertex.hooks is not None else {}
        hooks[key] = hook

        def remove() -> None:
            hooks.pop(key, None)

        return remove

    def bump_version(self) -> None:
        """Tell the engine that `data` was changed in place, so that backward can refuse."""
        memory_of(self.node or self).change()

    def __copy__(self) -> Self:
        return type(self)(self, self.requires_grad)


class Op(Declaration):
    """A function of arrays with a derivative: made by `@op`, completed by `vjp`.

    Called with a Tensor among its inputs it returns a Tensor, and records the call where one of
    them requires a gradient. Called without any, it just runs its body, on arrays.
    """

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Compute, and record where a gradient may be wanted."""
        if len(inputs) != len(self.inputs) and not self.variadic:
            inputs, config = self.bind(inputs, config)
        if observers:
            return observed("call", self, self.apply, inputs, config)
        return self.apply(inputs, config)

    def apply(self, inputs: tuple[Any, ...], config: dict[str, Any]) -> Any:
        """The same, once each input has its position."""
        arrays: list[Any] = []
        parents: list[Any] = []
        mask, plain, odd = 1, True, False
        for x in inputs:
            if isinstance(x, TensorSlots):
                tensor = x
                plain = False
                mask += mask + tensor.requires_grad
                arrays.append(tensor.data)
                parents.append(tensor if tensor.node is None else tensor.node)
            else:
                mask += mask
                odd = odd or type(x) not in PLAIN
                arrays.append(x)
                parents.append(None)
        if odd:
            arrays = [as_operand(self.name, x, weak=not plain) for x in arrays]
        try:
            out = self.body(*arrays, **config) if config else self.body(*arrays)
        except (IndexError, TypeError, ValueError) as error:
            raise named_error(self.name, error, arrays) from None
        residuals: Sequence[Any] = ()
        if self.residuals:
            out, *residuals = out
        return out if plain else self.record(mask, arrays, parents, out, residuals, config)

    def record(
        self,
        mask: int,
        arrays: list[Any],
        parents: list[Any],
        out: Any,
        residuals: Sequence[Any],
        config: dict[str, Any],
    ) -> Tensor:
        """The result as a Tensor, made by a node where a gradient may be wanted."""
        if type(out) is not ndarray:
            out = np.asarray(out)
        memory = node = None
        shared = out.base is not None
        for array in arrays:
            shared = shared or array is out
        if shared:
            memory = viewed_memory(out, arrays, parents)
        if _is_watched():
            check_finite(out, self.name, arrays)
        dtype = out.dtype
        kind = "f" if dtype is FLOAT32 else dtype.kind
        if kind == "f" and _is_recording():  # there are no gradients of integers
            plan = self.plans.get(mask) or self.plan(mask)
            if plan.wanted:
                config = {**self.defaults, **config} if config else self.defaults
                kept = plan.keep(arrays, out, residuals, config)
                node = Node(plan, parents, kept, out.shape, dtype)
                node.memory = memory
                for i in plan.unlinked:
                    parents[i] = None
        elif kind == "c":
            raise TypeError(f"{self.name}: the result is complex, which is not supported")
        return wrap(out, node, memory)


def op(body: Callable[..., Any] | None = None, *, residuals: Sequence[str] = ()) -> Any:
    """Make an op of a function of arrays: `@op`, or `@op(residuals=("index",))`.

    With residuals the body returns `(value, residual, ...)`: callers get the value alone, and
    rules can name the residuals.
    """
    return Op(body) if body is not None else lambda function: Op(function, residuals)


class Node:
    """One recorded call: what its rules need, and where its gradients go."""

    def __init__(
        self,
        plan: Plan,
        parents: list[Any],
        kept: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
    ) -> None:
        self.plan = plan
        self.parents = parents  # per input: its node, the leaf itself, or None
        self.kept: tuple[Any, ...] | None = kept  # None once it is freed
        self.shape = shape
        self.dtype = dtype
        self.index = next(clock)
        self.hooks: Hooks | None = None
        self.memory: Memory | None = None
        try:
            frame = _getframe()
        except ValueError:  # a thread that begins with an op, or one called at exit
            frame = here()
        code = frame.f_code
        if code is not program[0]:
            frame = outward(frame)
            code = frame.f_code
        self.code: CodeType = code
        self.instruction = frame.f_lasti
        self.scope: Scope | None = _scope()

    @property
    def op(self) -> Op:
        """What was called."""
        op: Op = self.plan.op
        return op

    def gradients(
        self, g: Any, wanted: tuple[int, ...], create_graph: bool
    ) -> Iterable[tuple[Any, Any]]:
        """Apply the rules to `g`: each wanted input's node or leaf, and its gradient."""
        kept = self._as_tensors() if create_graph else self.kept or ()
        return self.plan.pull(g, kept, self.parents, wanted)

    def fit(self, partial: Any, parent: Any) -> Any:
        """A gradient has the shape and the dtype of what it is a gradient of."""
        if partial is None:
            raise RuntimeError(
                f"backward: the derivative of {self.op.name} gave None for an input of shape "
                f"{parent.shape} that requires a gradient; its rule returns the gradient"
            )
        if not isinstance(partial, ndarray | Tensor):
            partial = np.asarray(partial)  # NumPy makes scalars of arrays without axes
        if _is_watched():
            array = partial.data if isinstance(partial, Tensor) else partial
            check_finite(array, f"the derivative of {self.op.name}")
        if partial.shape != parent.shape:
            partial = unbroadcast(partial, parent.shape, self.op.name)
        return partial if partial.dtype == parent.dtype else partial.astype(parent.dtype)

    def owners(self) -> Sequence[Any]:
        """For each thing kept the node or leaf that it belongs to, or None."""
        return self.plan.owners(self.parents, self)

    def _as_tensors(self) -> tuple[Any, ...]:
        """What was kept, with tensors for arrays, so that what the rules do is recorded too."""
        pairs = zip(self.owners(), self.kept or (), strict=True)
        return tuple([restore(owner, x) for owner, x in pairs])

    def leading_to(self, needed: set[Any]) -> tuple[int, ...]:
        """The positions of the wanted inputs that are among the needed."""
        return tuple(i for i in self.plan.wanted if self.parents[i] in needed)

    def check(self) -> None:
        """Refuse if the graph was freed, or if an array that is needed was changed since."""
        if self.kept is None:
            raise RuntimeError(
                f"backward: the graph was freed by an earlier backward (at {self.op.name}); pass "
                "retain_graph=True to the earlier one, or compute the result again"
            )
        for owner in self.owners():
            if changed_since(self.index, owner):
                raise RuntimeError(
                    f"backward: an array that the derivative of {self.op.name} needs was changed "
                    "in place after its use; write x = x + y instead of x += y, or change it "
                    "after backward"
                )


def walk(  # noqa: C901 - the chain rule in one piece
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    targets: Iterable[Any] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> dict[Any, Any]:
    """The chain rule: carry gradients from the outputs back, the newest node first.

    Returns the gradients of the leaves; or of the targets (nodes and leaves) where they are given,
    and then visits only what lies between. With `create_graph` the gradients are recorded tensors.
    """
    goals = None if targets is None else set(targets)
    needed = None if goals is None else between([x.node or x for x in outputs], goals)
    gradients: dict[Any, Any] = {}
    reached: dict[Any, Any] = {}
    waiting: list[tuple[int, Node]] = []
    with Switched((recording, create_graph)), np.errstate(all="ignore"):
        watched = _is_watched()
        for output, seed in zip(outputs, seeds, strict=True):
            g = seed if create_graph else seed.data
            arrive(gradients, waiting, output.node or output, g)
        while waiting:
            node = heappop(waiting)[1]
            g = gradients.pop(node)
            if node.hooks:
                g = _hooked(node, g)
            wanted = node.plan.wanted
            if goals is not None and needed is not None:
                if node in goals:
                    reached[node] = g
                wanted = node.leading_to(needed)
                if not wanted:
                    continue
            if node.kept is None or latest.changed > node.index:
                node.check()
            try:
                for parent, partial in pulled(node, g, wanted, create_graph):
                    if needed is not None and goals is not None and parent not in needed:
                        needed |= between([parent], goals)  # a checkpoint, replayed just now
                    fit = fits(partial, parent) and not watched
                    fitting = partial if fit else fitted(node, partial, parent)
                    arrive(gradients, waiting, parent, fitting)
            except Exception as error:
                error.add_note(f"This happened in the derivative of {node.op.name}.")
                raise
            if not retain_graph:
                node.kept = None
        for leaf, g in gradients.items():
            if goals is None or leaf in goals:
                reached[leaf] = _hooked(leaf, g)
    return reached


def arrive(gradients: dict[Any, Any], waiting: list[Any], vertex: Any, g: Any) -> None:
    """Add a gradient to what a node or leaf has got; with its first one, a node waits for a visit.

    Args:
        gradients: what has arrived so far, by node and leaf.
        waiting: the nodes to visit, as a heap with the newest on top.
        vertex: the node or leaf that `g` is for.
    """
    if vertex in gradients:
        gradients[vertex] = plus(gradients[vertex], g)
    else:
        gradients[vertex] = g
        if isinstance(vertex, Node):
            node = vertex
            heappush(waiting, (-node.index, node))


def fits(g: Any, vertex: Any) -> bool:
    """Whether it is an array of the shape and the dtype of what it is a gradient of."""
    if type(g) is not ndarray:
        return False
    if isinstance(vertex, Node):
        node = vertex
        return g.dtype is node.dtype and g.shape == node.shape
    return g.dtype is vertex.dtype and g.shape == vertex.shape


def pulled(
    node: Node, g: Any, wanted: tuple[int, ...], create_graph: bool
) -> Iterable[tuple[Any, Any]]:
    """`node.gradients`, with who looks on."""
    if observers:
        return observed("gradients", node, node.gradients, g, wanted, create_graph)
    return node.gradients(g, wanted, create_graph)


def fitted(node: Node, partial: Any, parent: Any) -> Any:
    """`node.fit`, with who looks on."""
    if observers:
        return observed("fit", node, node.fit, partial, parent)
    return node.fit(partial, parent)


def between(outputs: Iterable[Any], goals: set[Any]) -> set[Any]:
    """The nodes and leaves that lie on a path from the outputs back to a goal, goals included."""
    found: set[Any] = set()
    stack = list(outputs)
    while stack:
        vertex = stack.pop()
        if vertex is not None and vertex not in found:
            found.add(vertex)
            if isinstance(vertex, Node):
                stack.extend(vertex.parents)
    needed = found & goals
    for vertex in sorted((v for v in found if isinstance(v, Node)), key=lambda node: node.index):
        if vertex.leading_to(needed):
            needed.add(vertex)
    return needed


def wrap(data: Any, node: Node | None = None, memory: Memory | None = None) -> Tensor:
    """A Tensor of an array as it is, made by this node."""
    kind = Tensor  # a local, which engine.pxd gives a type: so its constructor is called directly
    tensor = kind.__new__(kind)
    tensor.data = data if type(data) is ndarray else np.asarray(data)
    tensor.node = node
    tensor.memory = memory
    tensor.grad = tensor.hooks = None
    tensor.requires_grad = node is not None
    return tensor


def restore(vertex: Any, kept: Any) -> Any:
    """The tensor that stood at this place of the graph: the leaf itself, or one like it."""
    if isinstance(vertex, list):  # the inputs of an op that takes any number
        return [restore(*each) for each in zip(vertex, kept, strict=True)]
    if isinstance(vertex, Node) and kept is not None:
        return wrap(kept, vertex)
    return kept if vertex is None else vertex


def _hooked(vertex: Any, g: Any) -> Any:
    """The gradient after the hooks of its tensor have seen it."""
    for hook in list((vertex.hooks or {}).values()):
        seen = hook(g if isinstance(g, Tensor) else wrap(g))
        if seen is None:
            continue
        seen = seen if isinstance(seen, Tensor) else Tensor(seen)
        if seen.shape != vertex.shape:
            raise ValueError(
                f"hook: expected a gradient of the tensor's shape {vertex.shape}, got {seen.shape}"
            )
        seen = seen if seen.dtype == vertex.dtype else seen.astype(vertex.dtype)
        g = seen if isinstance(g, Tensor) else seen.data
    return g


def seed(caller: str, output: Tensor, gradient: Any) -> Tensor:
    """The gradient to start from at an output: what was given, checked, or 1."""
    if not output.requires_grad:
        raise RuntimeError(
            f"{caller}: this tensor does not require a gradient, because nothing was recorded for "
            "it; create what it depends on with requires_grad=True, outside no_grad()"
        )
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(
                f"{caller}: the gradient can be left out for a single number only, and this tensor "
                f"has shape {output.shape}; sum it first, or pass the gradient"
            )
        return wrap(np.ones_like(output.data))
    seed = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if seed.shape != output.shape:
        raise ValueError(
            f"{caller}: expected a gradient of the tensor's shape {output.shape}, got {seed.shape}"
        )
    return seed if seed.dtype == output.dtype else seed.astype(output.dtype)
