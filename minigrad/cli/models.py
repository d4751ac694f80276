"""MODEL and RUN, the words of the command line, made into networks.

What is trained can be a file of the user's, named by the user. A run's folder names its model, too,
but never makes anything run: it can only ask for one of our networks.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from minigrad import models, nn
from minigrad.cli.errors import UsageError
from minigrad.training import read_run

# Our networks, and the options that a run may name, by type.
OURS: dict[str, tuple[Callable[..., nn.Module], dict[str, type]]] = {
    "nin": (models.nin, {"batch_norm": bool}),
    "bottleneck": (models.bottleneck, {}),
}


@dataclass(frozen=True)
class Model:
    """A network that can be built.

    Attributes:
        name: "nin", "bottleneck" or "file.py:function", as the user wrote it.
        options: keyword arguments, for ours.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Make it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no such function, or that returns something else.
            Exception: what the user's file raises.
        """
        if self.name in OURS:
            return OURS[self.name][0](**self.options)
        path, _, function = self.name.rpartition(":")
        return _call(_find(_load(Path(path)), function, path), self.name)


def add_model(parser: argparse.ArgumentParser) -> None:
    """MODEL and its options; `model_of` reads them."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=model_name,
        help="nin, bottleneck, or file.py:function (called without arguments)",
    )
    parser.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        help="nin: normalise after each convolution, as the paper did not (yes)",
    )


def model_of(args: argparse.Namespace) -> Model:
    """The model that MODEL and its options ask for.

    Raises:
        UsageError: an option that the model does not have.
    """
    if args.model == "nin":
        return Model("nin", {"batch_norm": args.batch_norm is not False})
    if args.batch_norm is not None:
        raise UsageError(f"--batch-norm and --no-batch-norm are for nin, not for {args.model}")
    return Model(args.model)


def model_name(text: str) -> str:
    """A MODEL, checked as far as its form goes."""
    path, _, function = text.rpartition(":")
    if text not in OURS and not (path.endswith(".py") and function.isidentifier()):
        near = difflib.get_close_matches(text, OURS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(OURS)} or file.py:function, got {text}{hint}"
        )
    return text


# ----------------------------------------------------------------------------- the user's own file


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; MODEL is file.py:function")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python file.py` does, for what it imports from beside it
    # A file named random.py must not take the place of Python's own.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} (MODEL)"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise ValueError(
            f"{path} ends the program while it is loaded; "
            'put what shall run only as a program below `if __name__ == "__main__":`'
        ) from error
    return module


def _find(module: ModuleType, function: str, path: str) -> Callable[[], Any]:
    found = getattr(module, function, None)
    if isinstance(found, nn.Module):
        raise ValueError(
            f"{path}:{function} is a network, expected a function that returns one, "
            f"as in `def net(): return {function}`"
        )
    if callable(found):
        return found
    own = [name for name, thing in vars(module).items() if callable(thing) and name[0] != "_"]
    near = difflib.get_close_matches(function, own, 1)
    hint = f"did you mean {near[0]}?" if near else f"define one, as in `def {function}():`"
    raise ValueError(f"{path} has no function {function}; {hint}")


def _call(function: Callable[[], Any], name: str) -> nn.Module:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ValueError(
            f"{name} is called without arguments, but {error}; give it a default"
        ) from error
    model = function()
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"{name} returns {type(model).__name__}, expected an nn.Module; "
            "end it with `return` and the network"
        )
    return model


# ------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class TrainedModel:
    """A network with the weights of a run.

    Attributes:
        model: the network.
        name: of the model.
        dataset: on which it was trained, "mnist" or "digits".
        meta: what else the checkpoint says.
    """

    model: nn.Module
    name: str
    dataset: Literal["mnist", "digits"]
    meta: Mapping[str, Any]


def add_run(parser: argparse.ArgumentParser) -> None:
    """RUN and `--model`; `trained_model` reads them."""
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="the folder that `train` wrote to, as runs/nin"
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        type=model_name,
        help="file.py:function again, for a run of a network of yours",
    )


def trained_model(args: argparse.Namespace) -> TrainedModel:
    """The network of RUN, with its weights.

    Raises:
        OSError: the run cannot be read.
        ValueError: the run is damaged, or does not say what is needed, or does not fit `--model`.
    """
    arrays, meta = read_run(args.folder)
    named, options, dataset = (meta.get(key) for key in ("model", "model_options", "dataset"))
    if dataset not in ("mnist", "digits"):
        raise ValueError(f"{args.folder} was trained on {dataset!r}, expected mnist or digits")
    if args.model is not None:
        chosen = Model(args.model, _known(args.model, options if args.model == named else {}))
    elif isinstance(named, str) and named in OURS:
        chosen = Model(named, _known(named, options))
    else:
        shown = shlex.quote(named) if isinstance(named, str) and named.isprintable() else "MODEL"
        raise ValueError(
            f"{args.folder} is a run of a network that is not ours, and a folder cannot make a "
            f"file run: name it yourself, with --model {shown}"
        )
    model = chosen.build()
    prefix = "model."
    weights = {
        name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)
    }
    try:
        model.load_state_dict(weights)
    except ValueError as error:
        raise ValueError(f"{args.folder} does not fit {chosen.name}: {error}") from error
    return TrainedModel(model, chosen.name, dataset, meta)


def _known(name: str, options: Any) -> dict[str, Any]:
    """A run's options, if they are ones of this model."""
    expected = OURS[name][1] if name in OURS else {}
    options = options or {}
    if not isinstance(options, dict) or any(
        type(value) is not expected.get(key) for key, value in options.items()
    ):
        raise ValueError(f"the run's options of {name} expect {list(expected)}, got {options!r}")
    return options
