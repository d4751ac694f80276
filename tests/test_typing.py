"""The types that users see: a program of theirs under `mypy --strict`, and what types claim."""

from __future__ import annotations

import ast
import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad.functional as F

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tests" / "typed_program.py"


MISTAKES = {
    "mg.nn.Conv2d(1, 2)": 'Missing positional argument "kernel_size"',
    "mg.nn.Linear(1, 2)(3)": 'incompatible type "int"; expected "Tensor"',
    "F.conv2d(x, x, strides=2)": "No overload variant",
    "F.relu(x, inplace=True)": 'Unexpected keyword argument "inplace"',
    "mg.optim.SDG([x])": 'Module has no attribute "SDG"',
    "x.backwards()": '"Tensor" has no attribute "backwards"',
}


@pytest.fixture(scope="module")
def strict_mypy(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of the program and of the mistakes.

    One run, in the configuration of the project, whose cache makes seconds of many.
    """
    pytest.importorskip("mypy")
    mistakes = tmp_path_factory.mktemp("typing") / "mistakes.py"
    head = ["import minigrad as mg", "import minigrad.functional as F", "x = mg.Tensor([1.0])"]
    mistakes.write_text("\n".join([*head, *MISTAKES]))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(PROGRAM), str(mistakes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "checked 2 source files" in done.stdout, done.stdout + done.stderr
    return done.stdout.splitlines()[:-1]


def test_a_users_program_is_typed(strict_mypy: list[str]) -> None:
    assert [line for line in strict_mypy if "typed_program" in line] == []


def test_a_users_program_runs() -> None:
    runpy.run_path(str(PROGRAM))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake: str, strict_mypy: list[str]) -> None:
    number = 4 + list(MISTAKES).index(mistake)
    said = [line for line in strict_mypy if f"mistakes.py:{number}: error: " in line]
    assert MISTAKES[mistake] in "".join(said), strict_mypy


# ------------------------------------------------------------- minigrad/functional/__init__.pyi


def stubs() -> dict[str, list[ast.FunctionDef]]:
    """The signatures of each function; those of `_OfTwo` for what is declared as one of these."""
    module = ast.parse((ROOT / "minigrad/functional/__init__.pyi").read_text())
    found: dict[str, list[ast.FunctionDef]] = {}
    two: list[ast.FunctionDef] = []
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            two = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            for each in two:
                each.args.args = each.args.args[1:]  # without self
        elif isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "_OfTwo":
            found[ast.unparse(node.target)] = two
    return found


def test_every_op_is_typed() -> None:
    assert sorted(stubs()) == sorted(F.__all__)


@pytest.mark.parametrize("name", F.__all__)
def test_the_types_are_for_the_arguments_that_there_are(name: str) -> None:
    thing = getattr(F, name)
    expected = inspect.signature(getattr(thing, "body", thing))  # an op's is its body's
    for stub in stubs()[name]:
        code = f"def f({ast.unparse(stub.args)}): ..."
        scope: dict[str, object] = {}
        exec(compile("from __future__ import annotations\n" + code, name, "exec"), scope)
        got = inspect.signature(scope["f"])  # type: ignore[arg-type]
        parameters = [
            [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            for signature in (got, expected)
        ]
        assert parameters[0] == parameters[1]
