"""How much arithmetic an op is: the one place that says so, for `mg.profile` and `mg.summary`.

What the definition asks for is counted, however kernels compute it: Winograd's shortcut changes
nothing here, and neither does zero padding, whose products count like all others. A *multiply-add*
is one term of a convolution or matrix product. *FLOPs* are all operations on numbers: two for each
multiply-add, and the others.

A convolution has the formula of the texts on 1x1 convolutions, for each image

    F = H W C_out (2 C_in k² + 1)

where H and W are the output's (so a stride is in them), C_in is what one filter sees (so it is the
input's channels divided by the groups), and the 1 is the bias, 0 without one. What else counts, n
being the numbers of the result:

    op                          forward                  backward
    convolution                 n (2 C_in k² + 1)        2 n C_in k² each for input and weights,
                                                         n for the bias
    matrix product, K terms     2 n K                    2 n K for each factor
    einsum                      2 for each term of       the same for each operand
                                each product in it
    batch norm, by the batch    6 n: mean 1, variance    9 n: x^ 2, weight and bias 3, x 4
                                3, scale and shift 2
    batch norm, in evaluation   2 n                      n for x, 4 n for weight, n for bias
    a fused ReLU, or residual   n                        n for the ReLU
    max pooling, average        n k²                     n, n k²
    softmax, log-softmax        5 n: max, subtract,      4 n
                                exp, sum, divide
    cross-entropy, n logits     5 n                      2 n, by the softmax known from forward
    variance, n numbers         4 n                      3 n
    any other (ReLU, add, sum,  1 for each number of     1 for each number of each gradient that
    dropout, exp, a user's)     its largest array        is not handed on as it came
    what only moves numbers     0                        0
    (reshape, index, pad, ...)

Where an input was repeated (broadcasting), backward adds up what arrived: 1 for each number. So a
bias counts n both ways when it is added by an op of its own, as in a linear layer. The weights and
bias of a layer together cost in backward what forward costs, its input the products alone; a layer
whose input wants no gradient, as the image does not, saves that part. Adding up gradients where
paths meet is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine import Node, Op, Tensor
from minigrad.origin import is_ours

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """An amount of arithmetic; amounts can be added."""

    multiply_adds: int = 0
    flops: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.multiply_adds + other.multiply_adds, self.flops + other.flops)


NONE = Work()


@dataclass(frozen=True, slots=True)
class Call:
    """What the formulas ask about the call of an op: shapes, configuration, wanted gradients."""

    out: Shape
    inputs: Sequence[Shape]  # () for what was left out
    config: Mapping[str, Any]
    wanted: tuple[int, ...] = ()

    @property
    def n(self) -> int:
        """How many numbers the result has."""
        return math.prod(self.out)

    def gives(self, position: int) -> bool:
        """Whether this input, which may be left out, is there."""
        return len(self.inputs) > position and self.inputs[position] != ()

    def wants(self, position: int) -> bool:
        """Whether the gradient of this input is computed."""
        return position in self.wanted


Formula = Callable[[Call], int]


def _convolution(call: Call) -> int:
    # images are (N, H, W, C), weights (kh, kw, C_in // groups, C_out)
    return call.n * math.prod(call.inputs[1][:-1])


def _einsum(call: Call) -> int:
    lengths: dict[str, int] = {}
    terms = call.config["subscripts"].split("->")[0].split(",")
    for term, shape in zip(terms, call.inputs, strict=True):
        for letter, length in zip(term, shape, strict=True):
            lengths[letter] = max(length, lengths.get(letter, 0))
    return (len(terms) - 1) * math.prod(lengths.values())


# The multiply-adds of a product. Its gradient for one factor is a product of the same size.
PRODUCTS: dict[str, Formula] = {
    "conv2d": _convolution,
    "conv2d_relu": _convolution,
    "input_grad": lambda call: math.prod(call.inputs[0]) * math.prod(call.inputs[1][:-1]),
    "weight_grad": lambda call: math.prod(call.inputs[0]) * math.prod(call.out[:-1]),
    "matmul": lambda call: call.n * call.inputs[0][-1],  # (..., M, K) and (..., K, N)
    "einsum": _einsum,
}


def _window(call: Call) -> int:
    return call.n * math.prod(call.config["windows"]["kernel_size"])


# All other operations of an op, forward.
FORWARD: dict[str, Formula] = {
    "conv2d": lambda call: call.n * call.gives(2),
    "conv2d_relu": lambda call: call.n * (call.gives(2) + 1),
    "einsum": lambda call: math.prod(call.inputs[0]) * (len(call.inputs) == 1),
    "normalize": lambda call: call.n * (6 + call.config["relu"]),
    "normalize_add_relu": lambda call: call.n * (6 + 2),
    "standardize": lambda call: call.n * (2 + call.gives(3) + call.config["relu"]),
    "max_pool2d": _window,
    "avg_pool2d": _window,
    "softmax": lambda call: 5 * call.n,
    "log_softmax": lambda call: 5 * call.n,
    "cross_entropy": lambda call: 5 * math.prod(call.inputs[0]),
    "var": lambda call: 4 * math.prod(call.inputs[0]),
}

# The same backward.
BACKWARD: dict[str, Formula] = {
    "conv2d": lambda call: call.n * call.wants(2),
    "conv2d_relu": lambda call: call.n * (call.wants(2) + 1),
    "normalize": lambda call: call.n * (_normalized(call) + call.config["relu"]),
    "normalize_add_relu": lambda call: call.n * (_normalized(call) + 1),
    "standardize": lambda call: (
        call.n * (call.wants(0) + 4 * call.wants(1) + call.wants(2) + call.config["relu"])
    ),
    "max_pool2d": lambda call: call.n,
    "avg_pool2d": _window,
    "softmax": lambda call: 4 * call.n,
    "log_softmax": lambda call: 4 * call.n,
    "cross_entropy": lambda call: 2 * math.prod(call.inputs[0]),
    "var": lambda call: 3 * math.prod(call.inputs[0]),
}


def _normalized(call: Call) -> int:
    """The gradient of x needs those of weight and bias, which are 5 of the 9."""
    return 9 if call.wants(0) else 5


def _none(_call: Call) -> int:
    return 0


KNOWN = PRODUCTS.keys() | FORWARD.keys()
MOVES = frozenset(
    (
        *("astype", "broadcast_to", "concatenate", "expand_dims", "getitem", "pad", "put_back"),
        *("reshape", "scatter", "setitem", "squeeze", "stack", "take", "transpose"),
    )
)


def forward_work(op: Op, inputs: Sequence[Any], config: Mapping[str, Any], out: Any) -> Work:
    """The work of one call, whose inputs and result are arrays, Tensors or numbers.

    Views cost nothing, and are not for this function to tell apart.
    """
    if _is_one_of(op, MOVES):
        return NONE
    call = Call(np.shape(out), [np.shape(_array(x)) for x in inputs], config)
    if _is_one_of(op, KNOWN):
        multiply_adds = PRODUCTS.get(op.name, _none)(call)
        return Work(multiply_adds, 2 * multiply_adds + FORWARD.get(op.name, _none)(call))
    arrays = [x for x in map(_array, (out, *inputs, *config.values())) if isinstance(x, np.ndarray)]
    return Work(0, max((x.size for x in arrays), default=1))


def backward_work(node: Node, g: Any, wanted: tuple[int, ...], partials: Iterable[Any]) -> Work:
    """The work of a node's rules for the wanted inputs, which made these arrays of `g`, another."""
    if _is_one_of(node.op, MOVES):
        return NONE
    if _is_one_of(node.op, KNOWN) and wanted:
        kept = dict(zip(node.plan.kept, node.kept or (), strict=False))
        config = {**node.op.defaults, **kept}
        call = Call(node.shape, _input_shapes(node, kept), config, wanted)
        factors = sum(node.op.variadic or i < 2 for i in wanted)
        multiply_adds = factors and factors * PRODUCTS.get(node.op.name, _none)(call)
        others = BACKWARD.get(node.op.name, _none)(call)
        return Work(multiply_adds, 2 * multiply_adds + others)
    return Work(0, sum(np.size(x) for x in partials if not handed_on(x, g)))


def handed_on(partial: Any, g: Any) -> bool:
    """Whether a rule returned its gradient as it came, or a view of it."""
    return partial is g or np.may_share_memory(partial, g)


def _input_shapes(node: Node, kept: Mapping[str, Any]) -> list[Shape]:
    """Those of a node's inputs, as far as its rules or its place in the graph tell."""
    names = node.op.inputs
    if node.op.variadic:
        return list(kept[f"{names[0]}_shape"])
    return [
        parent.shape if parent is not None else np.shape(kept.get(name, ()))
        for name, parent in zip(names, node.parents, strict=True)
    ]


def _is_one_of(op: Op, names: Iterable[str]) -> bool:
    """Whether an op of minigrad has one of these names; users may call theirs the same."""
    return op.name in names and is_ours(op.body)


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x
