"""Lines, expressions, names, modules and rules, as the program and the source have them."""

from __future__ import annotations

import inspect
import linecache
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.tracing import source


def line() -> int:
    """The number of the caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def rows(loss: mg.Tensor, **options: Any) -> dict[str, Any]:
    data = mg.trace(loss, **options).data
    return {row["op"]: row for row in data["nodes"]}


def test_the_line_is_the_programs_own() -> None:
    x = mg.Tensor(np.ones((2, 3)), requires_grad=True)
    numbers = []
    numbers.append(line() + 1)
    y = x * 2.0
    numbers.append(line() + 1)
    y = F.exp(y)
    numbers.append(line() + 1)
    y = y.max(axis=1)
    numbers.append(line() + 1)
    loss = F.mse_loss(y, np.zeros(2))
    data = mg.trace(loss).data
    nodes = data["nodes"]
    assert [node["line"]["number"] for node in nodes[:3]] == numbers[:3]
    assert {node["line"]["number"] for node in nodes[3:]} == {numbers[3]}
    assert {node["line"]["file"] for node in nodes} == {"tests/tracing/test_source.py"}
    expressions = ["x * 2.0", "F.exp(y)", "y.max(axis=1)", "F.mse_loss(y, np.zeros(2))"]
    assert [node["expression"] for node in nodes[:4]] == expressions
    part = data["files"]["tests/tracing/test_source.py"]
    for node in nodes:
        text = part["lines"][node["line"]["number"] - part["first"]]
        assert node["expression"] in text
    names = [data["tensors"][node["output"]]["name"] for node in nodes]
    assert names[:3] == ["y", "y", "y"]
    assert names[-1] == "loss"


def test_an_expression_may_have_several_lines_and_any_letters() -> None:
    größe = mg.Tensor(2.0, requires_grad=True)  # noqa: PLC2401
    y = F.exp(
        größe * größe,
    )
    found = rows(y)
    assert found["exp"]["expression"] == "F.exp(größe * größe)"
    assert found["mul"]["expression"] == "größe * größe"


class Block(nn.Module):
    def __init__(self) -> None:
        self.layers = [nn.Linear(3, 4), nn.Linear(4, 3)]
        self.net = nn.Sequential(nn.Linear(3, 2))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.line = line() + 1
        return self.net(self.layers[1](F.tanh(self.layers[0](x))))


class Model(nn.Module):
    def __init__(self) -> None:
        self.block = Block()

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return self.block(x)


def test_modules_have_the_models_names() -> None:
    model = Model()
    data = mg.trace(model(mg.Tensor(np.ones((2, 3), np.float32))).sum()).data
    modules = data["modules"]
    assert modules[0] == {"name": "", "type": "Model", "parent": None}
    by_name = {row["name"]: row for row in modules}
    assert {name: row["type"] for name, row in by_name.items()} == {
        "": "Model",
        "block": "Block",
        "block.layers.0": "Linear",
        "block.layers.1": "Linear",
        "block.net": "Sequential",
        "block.net.0": "Linear",
    }
    assert modules[by_name["block.layers.0"]["parent"]]["name"] == "block"
    assert modules[by_name["block.net.0"]["parent"]]["name"] == "block.net"
    where = [(node["op"], modules[node["module"]]["name"]) for node in data["nodes"]]
    assert where[:3] == [("matmul", "block.layers.0"), ("add", "block.layers.0"), ("tanh", "block")]
    assert where[-1] == ("sum", "")
    # The package's layers are not the user's lines; their call is.
    assert {node["line"]["number"] for node in data["nodes"][:-1]} == {model.block.line}
    assert data["nodes"][0]["expression"] == "self.layers[0](x)"
    parameters = [row for row in data["tensors"] if row["role"] == "parameter"]
    assert [row["name"] for row in parameters] == [name for name, _ in model.named_parameters()]
    assert modules[parameters[0]["module"]]["name"] == "block.layers.0"


def test_several_models_and_one_that_is_gone() -> None:
    encoder, decoder = nn.Linear(2, 2), nn.Linear(2, 2)
    x = mg.Tensor(np.ones((1, 2), np.float32))
    loss = decoder(encoder(x)).sum()
    data = mg.trace(loss).data
    assert [row["name"] for row in data["modules"]] == ["", "Linear", "Linear2"]
    both = nn.Sequential(encoder, decoder)
    assert [row["name"] for row in mg.trace(loss, model=both).data["modules"]] == ["", "0", "1"]
    del encoder, decoder, both
    gone = mg.trace(loss).data
    assert [row["type"] for row in gone["modules"]] == ["", "Linear", "Linear"]


def test_a_cell_of_a_notebook_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {"/tmp/ipykernel_7/41.py": ("Cell", "In[3]")}
    shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=cells.get))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert source.shown("/tmp/ipykernel_7/41.py") == "In[3]"
    assert source.shown("/tmp/ipykernel_7/42.py") == "42.py"
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert source.shown("/tmp/ipykernel_7/41.py") == "41.py"


def test_rules_are_as_they_stand_in_the_source() -> None:
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    w = mg.Tensor([3.0, 4.0], requires_grad=True)
    found = rows(F.relu(x * w).sum())
    assert [rule["text"] for rule in found["mul"]["rules"]] == ["x ← g * y", "y ← g * x"]
    assert [rule["text"] for rule in found["relu"]["rules"]] == ["x ← relu_grad(g, out)"]
    source = found["mul"]["rules"][0]["source"]
    name, _, number = source.rpartition(":")
    assert name == "minigrad/functional/elementwise.py"
    text = linecache.getline(F.mul.body.__code__.co_filename, int(number))
    assert "x=lambda g, y: g * y" in text
    assert found["mul"]["value_rule"] == "x * y"


def test_joint_rules_say_what_each_input_gets() -> None:
    x = mg.Tensor(np.ones((1, 2, 2, 1), np.float32), requires_grad=True)
    w = mg.Tensor(np.ones((1, 1, 1, 1), np.float32), requires_grad=True)
    rules = rows(F.conv2d(x, w, activation="relu").sum())["conv2d_relu"]["rules"]
    assert rules[0]["text"] == (
        "g = relu_grad(g, out); x ← _input_grad(g, w, input_shape=x.shape, geometry=geometry)"
    )
    assert rules[0]["joint"].startswith("def _conv2d_relu_vjp(needs, g, x, w, out, geometry):")
    y = F.batch_norm(x, w[0, 0, 0], None, None, None, x * 2.0, training=True, activation="relu")
    rules = rows(y.sum())["normalize_add_relu"]["rules"]
    texts = {rule["input"]: rule["text"].split("; ")[1] for rule in rules}
    assert texts["residual"] == "residual ← g"
    assert texts["weight"].endswith("statistics, relu=False)[1]")


def test_ops_of_users() -> None:
    @mg.op
    def cube(x: Any, *, scale: float = 1.0) -> Any:
        """x to the third. Nothing else."""
        return scale * x**3

    cube.vjp(x=lambda g, x, scale: g * (3.0 * scale) * x * x)
    x = mg.Tensor(2.0, requires_grad=True)
    row = rows(cube(x, scale=2.0) + 1.0)["cube"]
    assert row["rules"][0]["text"] == "x ← g * (3.0 * scale) * x * x"
    assert row["value_rule"] == "scale * x**3"
    assert row["doc"] == "x to the third."
    assert row["config"] == {"scale": "2.0"}


def test_without_source_it_says_so() -> None:
    names: dict[str, Any] = {"mg": mg}
    text = "@mg.op\ndef double(x):\n    return x * 2\ndouble.vjp(x=lambda g: g * 2.0)\n"
    exec(
        compile(text + "x = mg.Tensor(1.5, requires_grad=True)\ny = double(x)\n", "<e>", "exec"),
        names,
    )
    row = rows(names["y"])["double"]
    assert row["rules"][0]["text"] == "x ← <lambda>(...), whose source is not at hand"
    assert row["line"] == {"file": "<e>", "number": 6}
    assert row["expression"] is None
    assert row["value_rule"] is None


def test_a_cell_of_a_notebook() -> None:
    cell = "x = mg.Tensor(1.5, requires_grad=True)\nloss = x * x\n"
    linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
    names: dict[str, Any] = {"mg": mg}
    exec(compile(cell, "<cell 1>", "exec"), names)
    data = mg.trace(names["loss"]).data
    assert data["nodes"][0]["expression"] == "x * x"
    assert data["files"]["<cell 1>"]["lines"] == cell.splitlines()
    assert [row["name"] for row in data["tensors"]] == ["x", "loss"]


def test_chance_in_an_op_is_not_drawn_into_a_wrong_value() -> None:
    rng = np.random.default_rng(0)

    @mg.op
    def noisy(x: Any) -> Any:
        return x + rng.standard_normal()

    noisy.vjp(x=lambda g: g)
    x = mg.Tensor(1.0, requires_grad=True)
    data = mg.trace((noisy(x) + 1.0) * 1.0).data
    assert data["tensors"][data["nodes"][0]["output"]]["value"] is None


@pytest.mark.parametrize("quote", ['"', "\\", "\n", "é"])
def test_dot(quote: str) -> None:
    model = Model()
    model.odd = {f"a{quote}b": nn.Linear(2, 1)}  # type: ignore[attr-defined]
    x = mg.Tensor(np.ones((2, 3), np.float32))
    loss = F.relu(next(iter(model.odd.values()))(model(x))).sum()  # type: ignore[attr-defined]
    text = mg.graph(loss, model=model)
    graph = parse(text)
    data = mg.trace(loss, model=model).data
    assert graph["clusters"] == {row["name"] for row in data["modules"][1:]}
    expected = {
        (data["tensors"][t]["name"], node["op"])
        for node in data["nodes"]
        for t in node["inputs"]
        if data["tensors"][t]["role"] == "parameter"
    }
    labels = graph["labels"]
    found = {
        (labels[a].split("\n")[0], labels[b].split("\n")[0].split(" = ")[-1])
        for a, b in graph["edges"]
    }
    if quote != "\n":
        assert expected <= found
    assert len(graph["edges"]) == sum(len(node["inputs"]) for node in data["nodes"])
    with pytest.raises(RuntimeError, match="graph: this tensor was not computed"):
        mg.graph(x)


def parse(text: str) -> dict[str, Any]:
    """The little of DOT that we write, read strictly: one statement on each line."""
    clusters, labels, edges, depth = set(), {}, [], 0
    for statement in map(str.strip, text.splitlines()):
        words = statement.split(" ", 1)
        depth += statement.endswith("{") - (statement == "}")
        if statement.startswith("label="):
            clusters.add(unquoted(statement[6:]).rpartition(": ")[0])
        elif " -> " in statement:
            a, b = statement.split(" -> ")
            edges.append((a, b))
        elif words[0][0] == "t" and words[0][1:].isdigit():
            label = (
                words[1].removeprefix("[label=").removesuffix("]").removesuffix(", shape=ellipse")
            )
            labels[words[0]] = unquoted(label)
    assert depth == 0
    assert {end for edge in edges for end in edge} <= set(labels)
    return {"clusters": clusters, "labels": labels, "edges": edges}


def unquoted(text: str) -> str:
    assert text[0] == text[-1] == '"'
    out, rest = "", text[1:-1]
    while rest:
        assert rest[0] != '"', "a quote inside a string ends it"
        if rest[0] == "\\":
            out, rest = out + {"n": "\n"}.get(rest[1], rest[1]), rest[2:]
        else:
            out, rest = out + rest[0], rest[1:]
    return out


def test_equal_code_of_two_cells_is_found_in_each() -> None:
    text = "op = mg.op(lambda x: x * 2)\nop.vjp(x=lambda g: g * 2)\ny = op(x).sum()\n"
    found = []
    for cell in ("<cell 1>", "<cell 2>"):
        linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
        names = {"mg": mg, "x": mg.Tensor([1.0], requires_grad=True)}
        exec(compile(text, cell, "exec"), names)
        found.append(mg.trace(names["y"]).data["nodes"][0]["rules"][0]["source"])
    assert found == ["<cell 1>:2", "<cell 2>:2"]


def test_a_module_that_was_edited_is_read_again(tmp_path: Path) -> None:
    path, lines = tmp_path / "edited.py", []
    for text in ("y = x * 2\nz = y.sum()\n", "# one line more\ny = x * 2\nz = y.sum()\n"):
        path.write_text(text)
        names = {"x": mg.Tensor([1.0], requires_grad=True)}
        exec(compile(text, str(path), "exec"), names)
        data = mg.trace(names["z"]).data
        lines.append((data["nodes"][0]["line"]["number"], data["nodes"][0]["expression"]))
    assert lines == [(1, "x * 2"), (2, "x * 2")]
