"""How an op is declared: its inputs, its configuration, and the rules of its derivative.

All reading of signatures happens here, once for each op. A `Plan` says what that means for a call:
what to keep, and what to hand to which rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from numpy import ndarray

LOST = object()  # stands for a value that no rule needs and that is too large to keep
SMALL = (float, int, bool, type(None), str, slice, type, np.dtype, np.generic)

Rule = Callable[..., Any]

# Where a call finds what a rule names: among its inputs, say; and its position or name there.
Source = tuple[int, Any]
INPUT, SHAPE, OUT, CONFIG, RESIDUAL, INPUTS, SHAPES = range(7)
G, NEEDS, JOINT = -1, -2, -3  # the gradient, which are wanted, the rule for all: no positions

RESERVED = ("g", "out", "needs")  # what rules call the gradient, the result, what is wanted


class Declaration:
    """A body and its rules, read.

    The positional parameters of the body are the inputs, its keyword-only parameters are
    configuration; so nobody ever asks which arguments can carry a gradient.
    """

    def __init__(self, body: Callable[..., Any], residuals: Sequence[str] = ()) -> None:
        parameters = inspect.signature(body).parameters.values()
        inputs = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        config = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        for p in parameters:
            if p.name in RESERVED:
                raise TypeError(
                    f"op: {body.__name__} has a parameter {p.name}, which means something else in "
                    "a rule; give it another name"
                )
        self.body = body
        self.name = self.__name__ = body.__name__.lstrip("_")
        self.__doc__ = body.__doc__
        self.__wrapped__ = body
        self.residuals = tuple(residuals)
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in inputs)
        self.inputs = tuple(p.name for p in inputs)
        self.optional = {p.name: p.default for p in inputs if p.default is not p.empty}
        self.config = tuple(p.name for p in config)
        self.defaults = {p.name: p.default for p in config if p.default is not p.empty}
        self.rules: dict[int, Rule] | None = None
        self.joint: Rule | None = None
        self.plans: dict[int, Plan] = {}

    def __repr__(self) -> str:
        return f"<op {self.name}{inspect.signature(self.body)}>"

    def vjp(self, **rules: Rule) -> None:
        """Give the derivative: one rule per input, `g` being the gradient of the output.

        A rule's parameters say what it needs: `g`, inputs, `out`, residuals, configuration, or
        `x_shape` for no more than the shape of an input `x`. Nothing else is kept for it. An input
        without a rule gets no gradient; `vjp()` says that none of them does.
        """
        for name, rule in rules.items():
            if name not in self.inputs:
                raise TypeError(f"{self.name}.vjp: {name} is not one of the inputs {self.inputs}")
            self._check_names(rule)
        self.rules = {self.inputs.index(name): rule for name, rule in rules.items()}
        self.plans.clear()

    def vjp_joint(self, rule: Rule) -> Rule:
        """Give one rule for all inputs, for where they share work; usable as a decorator.

        The rule may also name `needs`, a tuple of bools saying which gradients are wanted. It
        returns one gradient per input, None where it is not wanted. An op may have rules for single
        inputs beside it: they are used where each wanted input has one and the joint rule would
        have to keep more than they do.
        """
        self._check_names(rule)
        self.rules, self.joint = self.rules or {}, rule
        self.plans.clear()
        return rule

    def _check_names(self, rule: Rule) -> None:
        known = ("g", "needs", *self.sources())
        for name in names_of(rule):
            if name not in known:
                raise TypeError(
                    f"{self.name}.vjp: a rule names {name}; it can name {', '.join(known)}"
                )

    def sources(self) -> dict[str, Source]:
        """Where a call finds what a rule can name, beside `g` and `needs`."""
        sources: dict[str, Source] = {"out": (OUT, 0)}
        for i, name in enumerate(self.inputs):
            sources[name] = (INPUTS if self.variadic else INPUT, i)
            sources[f"{name}_shape"] = (SHAPES if self.variadic else SHAPE, i)
        sources |= {name: (CONFIG, name) for name in self.config}
        return sources | {name: (RESIDUAL, i) for i, name in enumerate(self.residuals)}

    def plan(self, mask: int) -> Plan:
        """The plan for a call. `mask` is a 1, then a bit per input: whether it wants a gradient."""
        bits = [bit == "1" for bit in f"{mask:b}"[1:]]
        if self.rules is None and any(bits):
            raise RuntimeError(
                f"{self.name}: no derivative was given; call {self.name}.vjp(...) with a rule for "
                f"each of the inputs {self.inputs}, or {self.name}.vjp() if it has none"
            )
        ruled = range(len(bits)) if self.joint else self.rules or ()
        wanted = tuple(i for i, bit in enumerate(bits) if bit and i in ruled)
        plan = Plan(self, wanted, len(bits))
        if self.rules is not None:
            self.plans[mask] = plan
        return plan

    def bind(
        self, inputs: tuple[Any, ...], config: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Sort the arguments of a call that does not give each input by position.

        Optional inputs can be left out, inputs can be given by name, and configuration may follow
        the inputs by position in the order of the signature.
        """
        names = self.inputs + self.config
        if len(inputs) > len(names):
            raise TypeError(
                f"{self.name}: expected at most {len(names)} arguments ({', '.join(names)}), "
                f"got {len(inputs)}"
            )
        given = dict(zip(names, inputs, strict=False))
        twice = given.keys() & config.keys()
        if twice:
            raise TypeError(f"{self.name}: got two values for {min(twice)}")
        given |= config
        for name in self.inputs:
            if name not in given and name not in self.optional:
                raise TypeError(f"{self.name}: missing the input {name} of {self.inputs}")
        return tuple(given.pop(name, self.optional.get(name)) for name in self.inputs), given


class Plan:
    """What the calls of an op keep for backward, given which inputs want gradients.

    Attributes:
        op: what is called.
        wanted: the positions of the inputs that get a gradient.
        unlinked: the positions of those that are neither wanted nor named by a rule.
        kept: the names of what the rules to be called name.
        noted: the names of what they do not, but the body needs: kept behind it where it is small,
            so that the call can be repeated for whoever looks at it.
        sources, small: where a call finds what is kept, and what is noted.
        rules: by position, or `JOINT`: the rule, and where it finds what it names.
    """

    def __init__(self, op: Declaration, wanted: tuple[int, ...], count: int) -> None:
        self.op: Any = op
        self.wanted, self.count = wanted, count
        rules = op.rules or {}
        single = [rules[i] for i in wanted if i in rules]
        named = dict.fromkeys(name for rule in single for name in names_of(rule))
        self.joint: Rule | None = None
        if op.joint and (
            len(single) < len(wanted) or named.keys() >= {*names_of(op.joint)} - {"needs"}
        ):
            self.joint = op.joint
            named = dict.fromkeys(names_of(op.joint))
        inputs = op.inputs * count if op.variadic else op.inputs
        others = sorted(set(range(count)) - set(wanted))
        self.unlinked = [i for i in others if inputs[i] not in named]
        self.kept = [name for name in named if name not in ("g", "needs")]
        unwanted = () if op.variadic else [inputs[i] for i in others]
        self.noted = [name for name in (*op.config, *unwanted) if name not in named]
        sources = op.sources()
        self.sources = [sources[name] for name in self.kept]
        self.small = [sources[name] for name in self.noted]
        places = {"g": G, "needs": NEEDS} | {name: i for i, name in enumerate(self.kept)}
        called = {JOINT: self.joint} if self.joint else {i: rules[i] for i in wanted if i in rules}
        self.rules = {
            i: (rule, [places[name] for name in names_of(rule)]) for i, rule in called.items()
        }

    def keep(
        self, arrays: list[Any], out: Any, residuals: Sequence[Any], config: dict[str, Any]
    ) -> tuple[Any, ...]:
        """What the rules name, then what is small of the rest; nothing else of a call is kept."""
        values = [found(source, arrays, out, residuals, config) for source in self.sources]
        for source in self.small:
            value = found(source, arrays, out, residuals, config)
            # An array is not small: that is asked here, since most of them are arrays.
            values.append(LOST if type(value) is ndarray else brief(value))
        return tuple(values)

    def owners(self, parents: list[Any], node: Any) -> list[Any]:
        """For each thing kept the node or leaf that it belongs to, or None."""
        owners = {OUT: node, INPUTS: parents}
        return [
            *(parents[i] if where == INPUT else owners.get(where) for where, i in self.sources),
            *[None] * len(self.small),
        ]

    def pull(
        self, g: Any, kept: tuple[Any, ...], parents: list[Any], wanted: tuple[int, ...]
    ) -> list[tuple[Any, Any]]:
        """Apply the rules to `g`: each wanted input's node or leaf, and its gradient."""
        if self.joint is None:
            return [(parents[i], self.apply(i, g, kept, None)) for i in wanted]
        among = set(wanted)  # an op may take thousands of inputs
        needs = tuple([i in among for i in range(self.count)])
        gradients = self.apply(JOINT, g, kept, needs)
        return [(parents[i], gradients[i]) for i in wanted]

    def apply(self, which: int, g: Any, kept: tuple[Any, ...], needs: Any) -> Any:
        """Call a rule with what it names."""
        rule, places = self.rules[which]
        named = [g if i == G else needs if i == NEEDS else kept[i] for i in places]
        return rule(*named)


def found(
    source: Source, arrays: list[Any], out: Any, residuals: Sequence[Any], config: dict[str, Any]
) -> Any:
    """What a rule names, in a call."""
    where, place = source
    if where == INPUT:
        return arrays[place]
    if where == SHAPE:
        return np.shape(arrays[place])
    if where == OUT:
        return out
    if where == CONFIG:
        return config[place]
    if where == RESIDUAL:
        return residuals[place]
    return arrays if where == INPUTS else [np.shape(array) for array in arrays]


def brief(value: Any, depth: int = 8) -> Any:
    """What no rule names, if it is small: a number or a configuration without arrays."""
    if isinstance(value, tuple | list):  # a list may hold itself
        small = depth and all(brief(each, depth - 1) is not LOST for each in value)
        return value if small else LOST
    return value if isinstance(value, SMALL) else LOST


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """What the parameters of a function are called."""
    if isinstance(function, FunctionType):  # as below, but 20 times faster; there are many rules
        code = function.__code__
        return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(function).parameters)
