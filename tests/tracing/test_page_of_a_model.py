"""The page of real runs: every convolution's sums agree with what the engine stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad as mg
import minigrad.functional as F

# Goes through all steps; counts the convolutions whose sum agrees, and notes those that do not,
# those that cannot be completed from the sample, and steps without words of their own.
WALK = """() => {
  const { timeline } = minigradTrace, found = { agree: 0, differ: [], cut: [], wordless: [] };
  timeline.steps.forEach((step, k) => {
    timeline.go(k);
    found.agree += document.querySelectorAll(".agree").length;
    const panel = document.getElementById("panel").textContent;
    if (document.querySelector(".differ")) found.differ.push(k + 1);
    if (/cannot be (completed|shown)/.test(panel)) found.cut.push(k + 1);
    if (/Computes its output|The chain rule:/.test(panel)) found.wordless.push(k + 1);
  });
  return found;
}"""


@pytest.mark.parametrize("build", [mg.models.nin, mg.models.bottleneck])
def test_every_step_of_a_model_is_shown_and_its_sums_agree(
    show: Callable[..., Any], build: Callable[..., Any]
) -> None:
    mg.manual_seed(0)
    images, labels = mg.data.digits("test")
    data = mg.trace(F.cross_entropy(build()(mg.Tensor(images[:8])), labels[:8])).data
    convolutions = sum("convolution" in node for node in data["nodes"])
    page = show(data)
    assert convolutions > 0
    expected = {"agree": convolutions, "differ": [], "cut": [], "wordless": []}
    assert page.evaluate(WALK) == expected
