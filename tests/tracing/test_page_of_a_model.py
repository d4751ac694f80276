"""The page of real runs: every convolution's sums agree with what the engine stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def test_a_convolution_of_an_empty_batch_says_so(show: Callable[..., Any]) -> None:
    conv = mg.nn.Conv2d(1, 4, 3, padding=1)
    page = show(mg.trace(conv(mg.Tensor(np.zeros((0, 6, 6, 1), np.float32))).sum()).data)
    assert page.inner_text(".wide") == "An empty batch: there are no pixels to multiply."


def test_the_numbers_of_a_large_window_fit_into_their_taps(show: Callable[..., Any]) -> None:
    mg.manual_seed(0)
    conv = mg.nn.Conv2d(2, 4, 7, padding=3)
    x = mg.Tensor(mg.default_rng().standard_normal((1, 9, 9, 2)).astype(np.float32))
    page = show(mg.trace(conv(x).sum()).data)
    wider = "[...document.querySelectorAll('.tap')].filter((t) => t.scrollWidth > t.offsetWidth)"
    assert page.locator(".tap").count() == 49
    assert page.evaluate(f"{wider}.length") == 0


def test_a_module_that_is_gone_is_named_once(show: Callable[..., Any]) -> None:
    x = mg.Tensor(np.ones((2, 3), np.float32))
    page = show(mg.trace(mg.nn.Sequential(mg.nn.Linear(3, 3), mg.nn.Linear(3, 1))(x).sum()).data)
    assert page.locator(".crumbs button").all_inner_texts() == ["Sequential", "Linear"]


def test_the_line_that_made_an_op_is_seen_whole(show: Callable[..., Any]) -> None:
    a_variable_with_a_name_that_is_too_long_for_the_panel = mg.Tensor([1.0], requires_grad=True)
    loss = (a_variable_with_a_name_that_is_too_long_for_the_panel * 2 + 3).sum()  # all on one line
    page = show(mg.trace(loss).data)
    assert "all on one line" in page.inner_text(".source .here")
    assert page.evaluate(
        "(r => r.scrollWidth <= r.parentNode.clientWidth)(document.querySelector('.here'))"
    )


def test_the_expression_that_made_an_op_is_marked_in_its_line(show: Callable[..., Any]) -> None:
    x, w = mg.Tensor([1.0], requires_grad=True), mg.Tensor([2.0])
    page = show(mg.trace((F.relu(x * w) + x).sum()).data)
    assert page.locator(".source mark").all_inner_texts() == ["x * w"]
    line = page.inner_text(".source .here").strip()
    assert line.endswith("show(mg.trace((F.relu(x * w) + x).sum()).data)")
