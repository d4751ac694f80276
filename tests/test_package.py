"""The package as its users meet it: the public names, the documents, the examples."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import minigrad
import minigrad.functional
import minigrad.summaries
import minigrad.tracing

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


ROOMS = [
    minigrad,
    minigrad.functional,
    minigrad.nn,
    minigrad.optim,
    minigrad.data,
    minigrad.models,
    minigrad.training,
    minigrad.interop,
    minigrad.summaries,
    minigrad.tracing,
]


@pytest.mark.parametrize("module", ROOMS, ids=lambda module: module.__name__)
def test_public_names_exist_once_and_have_docstrings(module: ModuleType) -> None:
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, minigrad.Op):
            assert thing.__doc__, name


def test_names_that_are_loaded_when_used_are_public_and_listed() -> None:
    assert set(minigrad.__all__) <= set(dir(minigrad))
    assert set(minigrad._LOADED_WHEN_USED) <= set(minigrad.__all__)


@pytest.mark.parametrize("page", ["README.md", "docs/adding-an-op.md", "docs/kernels.md"])
def test_what_is_printed_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = FENCE.findall((ROOT / page).read_text())
    assert blocks
    names: dict[str, object] = {"__name__": page}
    for block in blocks:  # each may use what the ones before defined
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(p.name for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page if (ROOT / page).exists() else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_files_named_in_the_documents_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for name in re.findall(
            r"`((?:minigrad|minigrad_ext|tests|examples|docs|benchmarks|tools|\.ci)/[\w/.]+)`",
            page.read_text(),
        ):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_importing_is_quiet_and_loads_no_extras() -> None:
    code = (
        "import sys, minigrad; "
        "print([m for m in ('matplotlib', 'tqdm', 'safetensors', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_loads_no_more_than_the_engine_and_the_ops() -> None:
    code = (
        "import sys, minigrad as mg; "
        "slow = ('numpy.random', 'pathlib', *map('minigrad.'.__add__, ("
        "'data', 'nn', 'optim', 'profiling', 'summaries', 'tracing', 'training'))); "
        "print([m for m in slow if m in sys.modules]); "
        "print(mg.nn.Linear.__name__, mg.data.digits.__name__, mg.testing.gradcheck.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "Linear digits gradcheck"]


def test_a_misspelt_part_of_the_package_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'minigrad' has no attribute 'optin'"):
        minigrad.optin  # type: ignore[attr-defined]  # noqa: B018


# -------------------------------------------------------------------------------- examples


def run_example(name: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gradients_example() -> None:
    out = run_example("gradients.py")
    assert "y = 8.5" in out
    assert "[[-18.0], [-26.0]]" in out


def test_xor_example() -> None:
    rows = [line.split() for line in run_example("xor.py").splitlines() if "=" in line]
    one, two = ([float(row[i]) for row in rows] for i in (-2, -1))
    assert np.allclose(one, 0.5, atol=0.1)  # the best that a linear map can do
    assert np.allclose(two, [0, 1, 1, 0], atol=0.1)


@pytest.mark.parametrize("name", ["train_nin.py", "train_bottleneck.py"])
def test_training_example_writes_what_it_says(name: str, tmp_path: Path) -> None:
    options = ["--data", "digits", "--epochs", "2", "--limit-train", "200", "--out", str(tmp_path)]
    out = run_example(name, *options)
    assert re.search(r"epoch 2/2: loss .* test accuracy .*% on digits", out)
    assert "Test accuracy" in out
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    fields = "epoch train_loss test_loss test_accuracy lr seconds images_per_second dataset"
    assert [list(record) for record in records] == [fields.split()] * 2
    for picture in ("curves.png", "confusion.png", "misread.png"):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"
    again = tmp_path / "again"
    run_example(name, *options[:-1], str(again), "--threads", "1")
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tmp_path, again)]
    assert weights[0] == weights[1]  # one seed, one result, whatever the number of threads
