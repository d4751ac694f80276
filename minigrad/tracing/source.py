"""The program as text: the line that made a node, the expression in it, the rules of an op."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from minigrad import functional
from minigrad.engine import Node
from minigrad.origin import is_ours, ours

LONGEST = 160  # characters of an expression
PACKAGE = Path(__file__).parents[1]


class Site(NamedTuple):
    """A place in a program: a file, and the first and last line and column of an expression."""

    filename: str
    line: int
    end_line: int | None
    column: int | None
    end_column: int | None

    @classmethod
    def of(cls, code: CodeType, instruction: int) -> Site:
        """Of an instruction, as a frame's `f_lasti` says it."""
        positions = list(code.co_positions())
        line, *rest = positions[instruction // 2] if instruction >= 0 else (None,) * 4
        end_line, column, end_column = rest
        return cls(code.co_filename, line or code.co_firstlineno, end_line, column, end_column)

    @property
    def span(self) -> tuple[int | None, ...]:
        """Where the expression lies, as the syntax tree says it."""
        return self.line, self.column, self.end_line, self.end_column


def site_of(node: Node) -> Site:
    """Where the program made this node: its innermost line outside the package, if there is one."""
    first = Site.of(node.code, node.instruction)
    for code, instruction in _callers(node):
        if not (ours[code.co_filename] or Path(code.co_filename).is_relative_to(PACKAGE)):
            return Site.of(code, instruction)
    return first


def _callers(node: Node) -> Iterator[tuple[CodeType, int]]:
    yield node.code, node.instruction
    scope = node.scope
    while scope is not None:
        yield scope.code, scope.instruction
        scope = scope.outer


class File:
    """The text of a file, or of a cell of a notebook; without lines where Python has none."""

    def __init__(self, filename: str) -> None:
        self.lines = [line.rstrip("\n") for line in linecache.getlines(filename)]
        self.tree: ast.AST | None = None
        if self.lines:
            try:
                self.tree = ast.parse("\n".join(self.lines))
            except SyntaxError:  # changed since, or with a notebook's magic commands
                self.tree = None

    def text(self, span: tuple[int | None, ...]) -> str | None:
        """What stands there, on one line. Columns count bytes of UTF-8, as Python's do."""
        first, start, last, end = span
        if first is None or start is None or last is None or end is None or last > len(self.lines):
            return None
        chosen = [line.encode() for line in self.lines[first - 1 : last]]
        chosen[-1] = chosen[-1][:end]
        chosen[0] = chosen[0][start:]
        text = " ".join(line.decode(errors="replace").strip() for line in chosen)
        return text.replace("( ", "(").replace(", )", ")").replace(" )", ")")

    def assigned(self, span: tuple[int | None, ...]) -> str | None:
        """The variable that the expression there is assigned to, alone."""
        return self._variables.get(span)

    @cached_property
    def _variables(self) -> dict[tuple[int | None, ...], str]:
        found: dict[tuple[int | None, ...], str] = {}
        for each in ast.walk(self.tree) if self.tree else ():
            match each:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[_span(value)] = name
                case ast.AugAssign(target=ast.Name(id=name)):
                    found[_span(each)] = name
        return found


@lru_cache(maxsize=64)
def file(filename: str) -> File:
    """The file, read once for a trace."""
    return File(filename)


def reread() -> None:
    """Forget the files that were read: a module may have been edited, and loaded again."""
    linecache.checkcache()
    file.cache_clear()
    _found.cache_clear()


def _span(tree: Any) -> tuple[int | None, ...]:
    return tree.lineno, tree.col_offset, tree.end_lineno, tree.end_col_offset


def operand_names(text: str, op: str, inputs: tuple[str, ...]) -> list[str | None]:
    """The variables that an expression hands to an op's inputs, where it calls the op itself."""
    operands: list[Any]
    try:
        tree: Any = ast.parse(text.strip()).body[0]
    except (SyntaxError, IndexError):
        return []
    match tree:
        case ast.Expr(value=ast.BinOp(left=x, right=y)) | ast.AugAssign(target=x, value=y):
            operands = [x, y]
        case ast.Expr(value=ast.UnaryOp(operand=x)) | ast.Expr(value=ast.Subscript(value=x)):
            operands = [x]
        case ast.Expr(value=ast.Call(func=called, args=operands, keywords=keywords)):
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name != op:
                return []
            by_name = {word.arg: word.value for word in keywords}
            operands = [*operands, *(by_name.get(each) for each in inputs[len(operands) :])]
        case _:
            return []
    plain = (ast.Name, ast.Attribute)
    return [ast.unparse(x) if isinstance(x, plain) else None for x in operands[: len(inputs)]]


# ------------------------------------------------------------------------------ the rules of an op


def definition(function: Callable[..., Any]) -> tuple[File, Any]:
    """The file that a function stands in, and its syntax tree, or None where there is no source."""
    if not isinstance(function, FunctionType):
        return File(""), None
    return _found(function.__code__, function.__code__.co_filename)


@lru_cache(maxsize=256)
def _found(code: CodeType, filename: str) -> tuple[File, Any]:
    """The same, searched once for all nodes of an op; codes of two files can be equal."""
    source = file(filename)
    inside = [p[:1] + p[2:3] for p in code.co_positions() if None not in p and p[2]]
    for tree in ast.walk(source.tree) if source.tree else ():
        if isinstance(tree, ast.FunctionDef) and tree.name == code.co_name:
            lines = [tree.lineno, *(decorator.lineno for decorator in tree.decorator_list)]
            if code.co_firstlineno in lines:
                return source, tree
        if isinstance(tree, ast.Lambda) and tree.lineno == code.co_firstlineno:
            body: Any = tree.body
            start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
            if inside and all(start <= tuple(place) < end for place in inside):
                return source, tree
    return source, None


def rules(node: Node) -> list[dict[str, Any]]:
    """For each wanted input its rule as it stands in the source: `x ← g * y`."""
    op, wanted = node.op, node.plan.wanted
    found = []
    for i in wanted:
        name = f"{op.inputs[0]}[{i}]" if op.variadic else op.inputs[i]
        rule: Any = (op.rules or {}).get(i, op.joint)
        joint = rule is op.joint
        source, tree = definition(rule)
        text = _returned(source, tree, i, len(node.parents)) if tree else None
        if text is None:
            text = f"{getattr(rule, '__name__', 'a rule')}(...), whose source is not at hand"
        before = _prepared(source, tree) if joint else ""
        entry = {"input": name, "text": f"{before}{name} ← {text}", "source": None}
        if tree:
            entry["source"] = f"{shown(rule.__code__.co_filename)}:{tree.lineno}"
        if tree and joint:
            entry["joint"] = "\n".join(source.lines[tree.lineno - 1 : tree.end_lineno])
        found.append(entry)
    return found


def _returned(source: File, tree: Any, position: int, count: int) -> str | None:
    """What a rule returns: of a joint one the gradient at this position, and what it makes of g."""
    if isinstance(tree, ast.Lambda):
        return source.text(_span(tree.body))
    last = tree.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return None
    value, part = _item(last.value, position, count)
    if isinstance(value, ast.Name):
        value = _assigned_last(tree, value)
    if isinstance(value, ast.IfExp) and "needs[" in ast.unparse(value.test):
        value = value.body
    text = source.text(_span(value))
    return text and text + part


def _item(value: Any, position: int, count: int) -> tuple[Any, str]:
    """The expression at this position of what is returned, with an index where it is a part."""
    if not isinstance(value, ast.Tuple):
        return value, f"[{position}]" if count > 1 else ""
    starred = [i for i, each in enumerate(value.elts) if isinstance(each, ast.Starred)]
    if not starred:
        return value.elts[position], ""
    star: Any = value.elts[starred[0]]
    if position < starred[0]:
        return value.elts[position], ""
    if position >= count - (len(value.elts) - starred[0] - 1):
        return value.elts[position - count], ""
    return star.value, f"[{position - starred[0]}]"


def _assigned_last(tree: Any, name: ast.Name) -> Any:
    """What a local variable was assigned last, if that says more than its name."""
    value: Any = name
    for each in ast.walk(tree):
        match each:
            case ast.Assign(targets=[ast.Name(id=id)], value=found) if id == name.id != "g":
                value = name if isinstance(found, ast.Constant) else found
    return value


def _prepared(source: File, tree: Any) -> str:
    """What a joint rule does to `g` first, for all inputs."""
    texts = [
        source.text(_span(each))
        for each in getattr(tree, "body", [])
        if isinstance(tree, ast.FunctionDef)
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "g"
    ]
    return "".join(f"{text}; " for text in texts)


def value_rule(node: Node) -> str | None:
    """The formula in the comment of the op's body, or what it returns if that is one expression."""
    source, tree = definition(node.op.body)
    if not isinstance(tree, ast.FunctionDef):
        return None
    text = _comment(source, tree)
    if text is None or " = " not in text:
        match [each for each in tree.body if not _is_docstring(each)]:
            case [ast.Return(value=value)] if value is not None:
                text = source.text(_span(value))
            case _:
                return None
    return text if text and len(text) <= LONGEST else None


def sentence(node: Node) -> str | None:
    """What the op does: the first sentence of its docstring, or the comment in its place."""
    op = node.op
    documented = op
    if is_ours(op.body) and not op.__doc__:
        documented = getattr(functional, op.name, op)
    if documented.__doc__:
        first = " ".join(documented.__doc__.split("\n\n")[0].split())
        return first.split(". ")[0].rstrip(".") + "."
    source, tree = definition(op.body)
    return _comment(source, tree) if isinstance(tree, ast.FunctionDef) else None


def _comment(source: File, tree: ast.FunctionDef) -> str | None:
    """The comment at the beginning of a body."""
    lines = source.lines[tree.lineno : tree.body[0].lineno - 1]
    comments = [line.strip().lstrip("# ") for line in lines if line.strip().startswith("#")]
    return " ".join(comments) or None


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _cell(filename: str) -> str | None:
    """What a notebook calls the cell, "In[3]", whose code it keeps under a number of its own."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    named = shell and shell.compile.format_code_name(filename)
    return named[1] if named else None


def shown(filename: str) -> str:
    """A file's name as it is shown: from the package, or the current folder, or alone.

    A cell of a notebook is shown by its number.
    """
    path = Path(filename)
    if path.is_relative_to(PACKAGE):
        return Path("minigrad", path.relative_to(PACKAGE)).as_posix()
    if not path.is_absolute():
        return filename
    if (cell := _cell(filename)) is not None:
        return cell
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
