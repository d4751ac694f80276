"""Which module each node and each parameter belongs to, by the names that the model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.engine import Node, Tensor
from minigrad.nn.module import Module
from minigrad.origin import Scope

Row = dict[str, Any]


class Modules:
    """The table of modules, `rows`: the program, which is row 0, and those that ran inside it.

    Where one module was called by the program, the program's row is that module, so that names are
    those of its state_dict. What is called twice has one row.

    Args:
        nodes: what was recorded.
        model: where names begin, if that is not the module that was called first.
    """

    def __init__(self, nodes: Sequence[Node], model: Module | None = None) -> None:
        self.rows: list[Row] = [{"name": "", "type": "", "parent": None}]
        self._places: dict[Any, int] = {None: 0}
        self._paths: dict[int, str] = {}  # by id of the module
        self._kinds: dict[str, str] = {"": ""}
        self.names: dict[Tensor, str] = {}
        self._alive = _outermost(nodes) if model is None else [model, *_outermost(nodes)]
        for root in self._alive:
            if id(root) not in self._paths:
                alone = root is model or (model is None and len(self._alive) == 1)
                self._learn(root, "" if alone else self._free(type(root).__name__))
        self.rows[0]["type"] = self._kinds[""]

    def _learn(self, root: Module, prefix: str) -> None:
        for name, module in root.named_modules():
            path = ".".join(filter(None, (prefix, name)))
            self._paths.setdefault(id(module), path)
            self._kinds[path] = type(module).__name__
        for name, tensor in root._tensors().items():
            self.names.setdefault(tensor, ".".join(filter(None, (prefix, name))))

    def place(self, scope: Scope | None) -> int:
        """The row of the module that was running."""
        if scope is None:
            return 0
        module = scope.module()
        if module is not None and id(module) in self._paths:
            return self._row(self._paths[id(module)])
        key = id(scope.module)  # one reference for all calls of a module, also when it is gone
        if key not in self._places:  # gone by now, or of no known model
            outer = self.rows[self.place(scope.outer)]["name"]
            path = self._free(".".join(filter(None, (outer, scope.kind))))
            self._kinds[path] = scope.kind
            self._places[key] = self._row(path)
        return self._places[key]

    def owner(self, parameter: str) -> int:
        """The row of the module that a parameter of this name belongs to."""
        return self._row(self._known(parameter.rpartition(".")[0]))

    def _known(self, path: str) -> str:
        """The module with this name, or that holds the list which has it."""
        while path not in self._kinds:
            path = path.rpartition(".")[0]
        return path

    def _row(self, path: str) -> int:
        if not path:
            return 0
        if path not in self._places:
            parent = self._row(self._known(path.rpartition(".")[0]))
            self._places[path] = len(self.rows)
            self.rows.append({"name": path, "type": self._kinds[path], "parent": parent})
        return self._places[path]

    def _free(self, path: str) -> str:
        """The name, or the name with a number, that nothing has yet."""
        names = (path if n == 1 else f"{path}{n}" for n in range(1, len(self._kinds) + 2))
        return next(name for name in names if name not in self._kinds)


def _outermost(nodes: Sequence[Node]) -> list[Module]:
    """The modules that the program called itself."""
    found: dict[int, Module] = {}
    for node in nodes:
        scope = node.scope
        while scope is not None and scope.outer is not None:
            scope = scope.outer
        module = None if scope is None else scope.module()
        if module is not None:
            found.setdefault(id(module), module)
    return list(found.values())
