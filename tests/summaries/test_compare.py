"""`mg.compare`: the bottleneck of the 1x1 texts against the 3x3 that it replaces."""

from __future__ import annotations

import json

import pytest

import minigrad as mg
from minigrad import nn

PLAIN = nn.Conv2d(256, 256, 3, padding=1, bias=False)
CONVOLUTIONS = nn.Sequential(
    nn.Conv2d(256, 64, 1, bias=False),
    nn.Conv2d(64, 64, 3, padding=1, bias=False),
    nn.Conv2d(64, 256, 1, bias=False),
)


def test_the_bottleneck_needs_8_47_times_fewer_operations() -> None:
    comparison = mg.compare(PLAIN, CONVOLUTIONS, (8, 8, 256))
    assert comparison.a.total.forward.flops == 75_497_472  # errata A25, and the text's
    assert comparison.b.total.forward.flops == 8_912_896
    assert comparison.ratios["forward_flops"] == 75_497_472 / 8_912_896
    assert comparison.ratios["parameters"] == 9 * 256 * 256 / (9 * 64 * 64 + 2 * 64 * 256)
    line = next(line for line in str(comparison).splitlines() if line.startswith("FLOPs forward"))
    assert line.split()[2:] == ["75.5M", "8.91M", "8.47x"]


def test_the_block_with_its_batch_norms_has_as_many_multiply_adds() -> None:
    ratios = mg.compare(PLAIN, nn.Bottleneck(256, 64, 256), (8, 8, 256)).ratios
    assert round(ratios["forward_multiply_adds"], 2) == 8.47
    # beside the products: 6 for each batch norm, 1 for each ReLU, 1 for the sum
    others = 64 * (7 * (64 + 64 + 256) + 256)
    assert ratios["forward_flops"] == 75_497_472 / (8_912_896 + others)


def test_numbers_for_programs_leave_out_what_cannot_be_divided() -> None:
    comparison = mg.compare(nn.Linear(4, 2), nn.ReLU(), (3, 4))
    data = json.loads(json.dumps(comparison.to_dict()))
    assert "parameters" not in data["ratios"]
    assert data["ratios"]["forward_flops"] == (2 * 3 * 4 * 2 + 3 * 2) / 12
    assert data["a"]["model"], data["b"]["model"] == ("Linear", "ReLU")
    assert "-" in str(comparison).splitlines()[4].split()


@pytest.mark.parametrize("kind", [str, lambda comparison: comparison._repr_html_()])
def test_models_of_one_type_are_told_apart(kind: object) -> None:
    text = kind(mg.compare(nn.Linear(4, 2), nn.Linear(4, 4), (3, 4)))  # type: ignore[operator]
    assert text.index("first Linear") < text.index("second Linear")
