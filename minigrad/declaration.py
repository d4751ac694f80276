"""How an op is declared: its inputs, its configuration, and the rules of its derivative.

All reading of signatures happens here, once, when the op is made. The engine then calls rules
without asking anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Rule = Callable[..., Any]
RESERVED = ("g", "out", "needs")  # what rules call the gradient, the result, what is wanted
JOINT = -1  # the key under which a joint rule's needs are kept


class Plan(NamedTuple):
    """What a node keeps when a given set of inputs wants gradients."""

    wanted: tuple[int, ...]  # positions of the inputs that get a gradient
    forget: tuple[int, ...]  # positions of the arrays that no rule to be called names
    unlinked: tuple[int, ...]  # positions neither named nor wanted
    shapes: bool
    out: bool


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
        self._needs: dict[int, set[str]] = {}
        self._plans: dict[tuple[int, int], Plan] = {}

    def __repr__(self) -> str:
        return f"<op {self.name}{inspect.signature(self.body)}>"

    def vjp(self, **rules: Rule) -> None:
        """Give the derivative: one rule per input, `g` being the gradient of the output.

        A rule's parameters say what it needs: `g`, inputs, `out`, residuals, configuration, or
        `x_shape` for no more than the shape of an input `x`. Nothing else is kept for it. An input
        without a rule gets no gradient; `vjp()` says that none of them does.
        """
        self.rules = {}
        for name, rule in rules.items():
            if name not in self.inputs:
                raise TypeError(f"{self.name}.vjp: {name} is not one of the inputs {self.inputs}")
            position = self.inputs.index(name)
            self.rules[position], self._needs[position] = self._read(rule)

    def vjp_joint(self, rule: Rule) -> Rule:
        """Give one rule for all inputs, for where they share work; usable as a decorator.

        The rule may also name `needs`, a tuple of bools saying which gradients are wanted. It
        returns one gradient per input, None where it is not wanted.
        """
        self.rules = {}
        self.joint, self._needs[JOINT] = self._read(rule)
        return rule

    def _read(self, rule: Rule) -> tuple[Rule, set[str]]:
        """Turn `rule(g, y, ...)` into `rule(g, node, needs)`, and tell what it names.

        Compiled once here, because it is called for every node of every backward pass.
        """
        sources = {"g": "g", "needs": "needs", "out": "node.out"}
        for position, name in enumerate(self.inputs):
            item = "" if self.variadic else f"[{position}]"
            sources[name], sources[f"{name}_shape"] = f"node.saved{item}", f"node.shapes{item}"
        sources |= {name: f"node.config[{name!r}]" for name in self.config}
        sources |= {name: f"node.residuals[{i}]" for i, name in enumerate(self.residuals)}
        names = list(inspect.signature(rule).parameters)
        unknown = [name for name in names if name not in sources]
        if unknown:
            raise TypeError(
                f"{self.name}.vjp: a rule names {unknown[0]}; it can name {', '.join(sources)}"
            )
        arguments = ", ".join(sources[name] for name in names)
        return eval(f"lambda g, node, needs: rule({arguments})", {"rule": rule}), set(names)

    def plan(self, mask: int, count: int) -> Plan:
        """What to keep when, of `count` inputs, those with a bit in `mask` require gradients."""
        known = self._plans.get((mask, count))
        if known is not None:
            return known
        if self.rules is None:
            raise RuntimeError(
                f"{self.name}: no derivative was given; call {self.name}.vjp(...) with a rule for "
                f"each of the inputs {self.inputs}, or {self.name}.vjp() if it has none"
            )
        rules = range(count) if self.joint else self.rules
        wanted = tuple(i for i in range(count) if mask >> i & 1 and i in rules)
        named: set[str] = set().union(*(self._needs[JOINT if self.joint else i] for i in wanted))
        inputs = self.inputs * count if self.variadic else self.inputs
        forget = tuple(i for i in range(count) if inputs[i] not in named)
        plan = self._plans[mask, count] = Plan(
            wanted=wanted,
            forget=forget,
            unlinked=tuple(i for i in forget if i not in wanted),
            shapes=any(f"{name}_shape" in named for name in self.inputs),
            out="out" in named,
        )
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
