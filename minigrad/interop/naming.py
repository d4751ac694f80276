"""Names of tensors there for names of tensors here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest

Shape = tuple[int, ...]


def renamed(ours: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Each of our names with its new one, by the longest beginning of it that `names` has.

    A beginning ends at a dot; the empty one begins every name.

    Raises:
        ValueError: a beginning that no name has, or two names that become one.
    """
    result: dict[str, str] = {}
    owners: dict[str, str] = {}
    used = set()
    for name in ours:
        head = next((head for head in _beginnings(name) if head in names), None)
        theirs = name
        if head is not None:
            used.add(head)
            theirs = ".".join(filter(None, [names[head], name[len(head) :].lstrip(".")]))
        if theirs in owners:
            raise ValueError(
                f"names: expected a name of its own for each tensor, got '{theirs}' for both "
                f"'{owners[theirs]}' and '{name}'"
            )
        owners[theirs], result[name] = name, theirs
    for head in names:
        if head not in used:
            raise ValueError(
                f"names: expected our names of modules or tensors, got '{head}', which is none; "
                "net.state_dict() lists them"
            )
    return result


def paired(ours: Mapping[str, Shape], theirs: Mapping[str, Shape]) -> dict[str, str]:
    """Our layers with theirs, the first with the first, given the shapes of all tensors by name.

    Raises:
        ValueError: the tensors of a layer have other names or shapes, or one side has more layers.
    """
    mine, others = _by_layer(ours), _by_layer(theirs)
    for layer, shapes in others.items():
        if [last for last in shapes if last in ("weight", "bias")] == ["bias", "weight"]:
            raise ValueError(
                f"match_by_order: expected the order of a state_dict, got '{layer}.bias' before "
                f"'{layer}.weight', as in safetensors files, which are sorted by name; use the "
                "state_dict of the network itself, or pass names= by hand"
            )
    pairs: dict[str, str] = {}
    for (layer, expected), (other, got) in zip_longest(
        mine.items(), others.items(), fillvalue=("", {})
    ):
        for last in [*expected, *got]:
            if expected.get(last) != got.get(last):
                raise ValueError(
                    f"match_by_order: expected {_described(layer, last, expected)}, got "
                    f"{_described(other, last, got)}; build the same network, or pass names= "
                    "by hand where its layers stand in another order"
                )
        pairs[layer] = other
    return pairs


def _beginnings(name: str) -> Iterable[str]:
    """The name itself, then what stands before its last dot, and so on; at last nothing."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""


def _by_layer(shapes: Mapping[str, Shape]) -> dict[str, dict[str, Shape]]:
    layers: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer, {})[last] = shape
    return layers


def _described(layer: str, last: str, shapes: Mapping[str, Shape]) -> str:
    if not shapes:
        return "nothing more"
    name = f"{layer}.{last}".lstrip(".")
    return f"'{name}' of shape {shapes[last]}" if last in shapes else f"no '{name}'"
