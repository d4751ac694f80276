"""How an op is declared: its inputs, its configuration, and the rules of its derivative.

All reading of signatures happens here, once. The engine then calls what was compiled from them,
without asking anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.arrays import PLAIN, named_error
from minigrad.origin import GENERATED

LOST = object()  # stands for a value that no rule needs and that is too large to keep
NUMBERS = frozenset({float, int, bool, type(None)})
SMALL = (float, int, bool, type(None), str, slice, type, np.dtype, np.generic)

Rule = Callable[..., Any]
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

    def sources(self) -> dict[str, tuple[str, str]]:
        """What a rule can name that is kept: where a call finds it, and its place in the graph."""
        sources = {"out": ("out", "node")}
        for i, name in enumerate(self.inputs):
            if self.variadic:
                sources[name] = "arrays", "parents"
                sources[f"{name}_shape"] = "[shape(array) for array in arrays]", "None"
            else:
                sources[name] = f"arrays[{i}]", f"parents[{i}]"
                sources[f"{name}_shape"] = f"shape(arrays[{i}])", "None"
        sources |= {name: (f"config[{name!r}]", "None") for name in self.config}
        return sources | {
            name: (f"residuals[{i}]", "None") for i, name in enumerate(self.residuals)
        }

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

    def unrolled(self, tensor: type) -> Callable[..., Any]:
        """`Op.apply` with its loops unrolled, for an op without residuals.

        Compiled from the text below. Of a tiny op's time it saves an eighth.
        """
        inputs = ", ".join(self.inputs)
        config = ", **config" if self.config else ""
        text = CALL.format(
            inputs=inputs,
            config=config,
            recorded=", (), config" if self.config else "",
            takes="".join(TAKE.format(x=x, inputs=inputs, config=config) for x in self.inputs),
            arrays=", ".join(f"{x}_array" for x in self.inputs),
            parents=", ".join(f"{x}_parent" for x in self.inputs),
            plain=" and ".join(f"{x}_parent is None" for x in self.inputs),
        )
        names: dict[str, Any] = {"op": self, "body": self.body, "Tensor": tensor}
        names |= {"PLAIN": PLAIN, "named_error": named_error}
        exec(compile(text, GENERATED, "exec"), names)
        call: Callable[..., Any] = names["call"]
        return call

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


CALL = """
def call({inputs}{config}):
    mask = 1
{takes}
    try:
        out = body({arrays}{config})
    except (IndexError, TypeError, ValueError) as error:
        raise named_error(op.name, error, [{arrays}]) from None
    if {plain}:
        return out
    return op.record(mask, [{arrays}], [{parents}], out{recorded})
"""

TAKE = """
    if isinstance({x}, Tensor):
        mask += mask + {x}.requires_grad
        {x}_array = {x}.data
        {x}_parent = {x}.node or {x}
    elif type({x}) in PLAIN:
        mask += mask
        {x}_array = {x}
        {x}_parent = None
    else:
        return op.apply({inputs}{config})
"""


class Plan:
    """What the calls of an op keep for backward, given which inputs want gradients.

    Its functions are compiled from the parameter names of the rules, because they run for every
    node. With `mul`, both of whose inputs want gradients, they are

        keep = lambda arrays, out, residuals, config: (arrays[1], arrays[0],)
        owners = lambda parents, node: (parents[1], parents[0],)
        pull = lambda g, kept, parents: (
            (parents[0], rule0(g, kept[0])), (parents[1], rule1(g, kept[1])),)

    Attributes:
        op: what is called.
        wanted: the positions of the inputs that get a gradient.
        unlinked: the positions of those that are neither wanted nor named by a rule.
        kept: the names of what the rules to be called name.
        noted: the names of what they do not, but the body needs: kept behind it where it is small,
            so that the call can be repeated for whoever looks at it.
        keep: gives all that, and nothing else.
        owners: gives for each thing kept the node or leaf that it belongs to, or None.
        pull: applies the rules to the gradient of the result; gives each wanted input's node or
            leaf with its gradient.
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
        self.unlinked = [i for i in range(count) if i not in wanted and inputs[i] not in named]
        self.kept = [name for name in named if name not in ("g", "needs")]
        unwanted = () if op.variadic else (inputs[i] for i in range(count) if i not in wanted)
        self.noted = [name for name in (*op.config, *unwanted) if name not in named]
        sources = [op.sources()[name] for name in self.kept]
        values = [value for value, _ in sources]
        values += [_if_small(op.sources()[name][0]) for name in self.noted]
        names = {"brief": brief, "NUMBERS": NUMBERS, "LOST": LOST}
        self.keep = _tuple_of("arrays, out, residuals, config", values, **names)
        owners = [owner for _, owner in sources] + ["None"] * len(self.noted)
        self.owners = _tuple_of("parents, node", owners)
        self.pulls: dict[tuple[int, ...], Callable[[Any, Any, Any], Any]] = {}
        self.pull = self.pull_for(wanted)

    def _rules(self, wanted: Sequence[int]) -> list[Rule]:
        if self.joint:
            return [self.joint] if wanted else []
        return [self.op.rules[i] for i in wanted] if self.op.rules else []

    def pull_for(self, wanted: tuple[int, ...]) -> Callable[[Any, Any, Any], Any]:
        """`pull` for some of the wanted inputs; compiled once."""
        if wanted not in self.pulls:
            self.pulls[wanted] = self._compile_pull(wanted)
        return self.pulls[wanted]

    def _compile_pull(self, wanted: tuple[int, ...]) -> Callable[[Any, Any, Any], Any]:
        sources = {name: f"kept[{i}]" for i, name in enumerate(self.kept)}
        sources |= {"g": "g", "needs": repr(tuple(i in wanted for i in range(self.count)))}
        rules = {f"rule{i}": rule for i, rule in enumerate(self._rules(wanted))}
        gradients = [
            f"{name}({', '.join(sources[parameter] for parameter in names_of(rule))})"
            for name, rule in rules.items()
        ]
        if self.joint and wanted:  # one call gives all, with a place for every input
            first = f"(all := {gradients[0]})"
            gradients = [f"{'all' if i > wanted[0] else first}[{i}]" for i in wanted]
        pairs = [f"(parents[{i}], {g})" for i, g in zip(wanted, gradients, strict=True)]
        return _tuple_of("g, kept, parents", pairs, **rules)


def _if_small(source: str) -> str:
    """The code for something small: a number, or what `brief` leaves of a configuration."""
    if source.startswith("config"):
        return f"brief({source})"
    return f"{source} if type({source}) in NUMBERS else LOST"


def brief(value: Any) -> Any:
    """A configuration that no rule names, unless there is an array in it."""
    if isinstance(value, tuple | list):
        return value if all(brief(each) is not LOST for each in value) else LOST
    return value if isinstance(value, SMALL) else LOST


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """What the parameters of a function are called."""
    if isinstance(function, FunctionType):  # as below, but 20 times faster; there are many rules
        code = function.__code__
        return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(function).parameters)


def _tuple_of(parameters: str, expressions: Iterable[str], **names: Any) -> Callable[..., Any]:
    """Compile `lambda parameters: (expression, ...)`; `names` are what it can see."""
    items = "".join(f"{expression}, " for expression in expressions)
    text = compile(f"lambda {parameters}: ({items})", GENERATED, "eval")
    return eval(text, {"shape": np.shape, **names})
