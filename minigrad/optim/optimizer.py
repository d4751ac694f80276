"""What all optimizers share: groups of parameters, the loop over them, and their state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.engine import Tensor
from minigrad.nn import Module, Parameter
from minigrad.observing import observed, observers

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


def expect(holds: bool, owner: object, name: str, expected: str, got: Any) -> None:
    """Raise a ValueError about an argument of the owner, unless the condition holds."""
    if not holds:
        raise ValueError(f"{type(owner).__name__}: {name} expects {expected}, got {got}")


class Optimizer:
    """Base class: a subclass says in `update` how one array moves along its gradient.

    Args:
        params: parameters, as `model.parameters()` gives them; or groups of them with settings of
            their own, `[{"params": ..., "lr": 0.1}, ...]`.
        defaults: the settings of groups that do not say otherwise.

    Attributes:
        param_groups: one dict per group: the list "params" and the settings by name. They may be
            changed at any time, which is what schedules do.
        state: what is remembered of each parameter, in the order of the groups.

    Raises:
        TypeError: params is not an iterable of parameters.
        ValueError: no parameters, one twice, or an impossible setting.
    """

    param_groups: list[dict[str, Any]]
    state: list[dict[str, Any]]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups = []
        self.state = []
        self._memory = np.empty(0, np.uint8)
        self._scratch: dict[Any, tuple[np.ndarray, np.ndarray]] = {}  # views of it
        if isinstance(params, (Tensor, Module, Mapping)) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: params expects an iterable of parameters, got a "
                f"{type(params).__name__}; pass model.parameters() or a list"
            )
        groups: list[Any] = list(params)
        if not groups or not all(isinstance(group, dict) for group in groups):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters, with the settings in `group` and the defaults for the others."""
        unknown = group.keys() - self.defaults.keys() - {"params"}
        if unknown or "params" not in group:
            raise ValueError(
                f"{self._name}: a parameter group expects 'params' and any of "
                f"{list(self.defaults)}, got {list(group)}"
            )
        group = {**self.defaults, **group, "params": self._checked(group["params"])}
        self.check(group)
        self.param_groups.append(group)
        self.state += [{} for _ in group["params"]]

    def _checked(self, candidates: Any) -> list[Tensor]:
        params: list[Any] = [candidates] if isinstance(candidates, Tensor) else list(candidates)
        if not params:
            raise ValueError(
                f"{self._name}: params expects at least one parameter, got none; a generator such "
                "as model.parameters() gives its parameters only once, call it again"
            )
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for p in params:
            if not isinstance(p, Parameter) and not (isinstance(p, Tensor) and p.requires_grad):
                raise TypeError(
                    f"{self._name}: params expects nn.Parameters, or Tensors that require a "
                    f"gradient, got a {type(p).__name__}; pass model.parameters()"
                )
            if p.node is not None:
                raise ValueError(
                    f"{self._name}: params expects leaves, got the result of {p.node.op.name}, "
                    "which is computed anew each time; pass what it was computed from"
                )
            if id(p) in known:
                raise ValueError(
                    f"{self._name}: params expects every parameter once, got one of shape "
                    f"{p.shape} twice; leave it out of one group"
                )
            known.add(id(p))
        return params

    def check(self, settings: dict[str, Any]) -> None:
        """Refuse impossible settings of a group."""
        for name in ("lr", "weight_decay"):
            expect(settings[name] >= 0, self, name, "a number >= 0", settings[name])

    def update(
        self, w: np.ndarray, g: np.ndarray, state: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        """Change the array `w` in place by its gradient `g`, which must not be changed."""
        raise NotImplementedError(f"{self._name} has no update method; define one")

    def step(self) -> None:
        """Move every parameter that has a gradient and is not frozen."""
        if observers:
            observed("step", self, self._step)
        else:
            self._step()

    def _step(self) -> None:
        states = iter(self.state)
        for group in self.param_groups:
            for p in group["params"]:
                state = next(states)
                if p.grad is not None and p.requires_grad:
                    self.update(p.data, p.grad.data, state, group)
                    p.bump_version()

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def scratch(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two arrays like w to compute in. They are the same memory at every call."""
        kind = w.dtype, w.shape
        if kind not in self._scratch:
            if self._memory.nbytes < 2 * w.nbytes:
                self._memory = np.empty(2 * w.nbytes, np.uint8)
                self._scratch.clear()
            pair = self._memory[: 2 * w.nbytes].view(w.dtype).reshape(2, *w.shape)
            self._scratch[kind] = pair[0, ...], pair[1, ...]
        return self._scratch[kind]

    def state_dict(self) -> dict[str, Any]:
        """Copies of the state and the settings, as plain dicts, lists, numbers and arrays.

        Parameters are numbered in the order of the groups.
        """
        numbers = iter(range(len(self.state)))
        groups = [
            {**group, "params": [next(numbers) for _ in group["params"]]}
            for group in self.param_groups
        ]
        state = {i: remembered for i, remembered in enumerate(self.state) if remembered}
        return copy.deepcopy({"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was made, bit for bit. All or nothing.

        What JSON makes of a state will do: text for the parameters' numbers, lists for tuples.

        Raises:
            ValueError: it is of another optimizer, or of other parameters.
        """
        own = self.state_dict()["param_groups"]
        try:
            groups = [dict(group) for group in copy.deepcopy(state_dict["param_groups"])]
            remembered = {int(i): dict(values) for i, values in state_dict["state"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self._name}: load_state_dict expects what state_dict returned, got something "
                f"else ({error!r}); make the optimizer as it was when the state was saved"
            ) from error
        if [(g.keys(), g["params"]) for g in own] != [(g.keys(), g.get("params")) for g in groups]:
            raise ValueError(
                f"{self._name}: load_state_dict expects groups {_outline(own)}, got "
                f"{_outline(groups)}; make the optimizer as it was when the state was saved"
            )
        params = [p for group in self.param_groups for p in group["params"]]
        if not remembered.keys() <= set(range(len(params))):
            raise ValueError(
                f"{self._name}: load_state_dict expects state of parameters 0 to "
                f"{len(params) - 1}, got {sorted(remembered)}"
            )
        state = [
            {name: _like(p, value) for name, value in remembered.get(i, {}).items()}
            for i, p in enumerate(params)
        ]
        for group, loaded in zip(self.param_groups, groups, strict=True):
            loaded.update({k: tuple(v) for k, v in loaded.items() if isinstance(group[k], tuple)})
            self.check(loaded)
            loaded["params"] = group["params"]
        self.param_groups, self.state = groups, state


def _like(p: Tensor, value: Any) -> Any:
    """A copy of an array in a state, in the dtype of the parameter that it belongs to."""
    if not isinstance(value, np.ndarray):
        return value
    if value.shape != p.shape:
        raise ValueError(
            f"load_state_dict: expected state for a parameter of shape {p.shape}, got an array of "
            f"shape {value.shape}; give the optimizer the same parameters in the same order"
        )
    return value.astype(p.dtype)


def _outline(groups: list[dict[str, Any]]) -> str:
    outlines = [f"of {len(g.get('params', ()))} parameters with {', '.join(g)}" for g in groups]
    return "; ".join(outlines) or "none"
