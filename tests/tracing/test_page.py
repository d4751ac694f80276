"""The page in a browser: it opens from disk, steps there and back, and shows the true numbers."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Any

import made_traces
import numpy as np
import pytest

Show = Callable[..., Any]


def unpacked(record: dict[str, Any]) -> np.ndarray:
    sample = record["sample"]
    flat = np.frombuffer(base64.b64decode(sample["data"]), sample["dtype"])
    return flat.reshape([len(axis) for axis in sample["axes"]])


def arrays_of(data: dict[str, Any], k: int) -> list[np.ndarray]:
    """The inputs and the output of a node."""
    node = data["nodes"][k]
    return [unpacked(data["tensors"][t]["value"]) for t in (*node["inputs"], node["output"])]


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def count(page: Any) -> str:
    return page.inner_text("#count b")


def until(page: Any, expression: str, value: Any) -> None:
    """Wait for it from here: the page's own policy forbids what waits inside of it, eval."""
    end = time.monotonic() + 60
    while (seen := page.evaluate(expression)) != value:
        assert time.monotonic() < end, f"{expression} is {seen!r}, and not {value!r}"
        page.wait_for_timeout(20)


def heading(page: Any) -> tuple[str, str]:
    """Phase and op of the panel."""
    return page.inner_text(".kicker").lower(), page.inner_text(".story h2")


def read_by_arrow_keys(page: Any, picture: Any, steps: int) -> list[tuple[tuple[int, ...], float]]:
    """What a picture says of its first numbers."""
    picture.locator("canvas").first.focus()
    found = []
    for _ in range(steps):
        page.keyboard.press("ArrowRight")
        text = picture.locator(".readout").inner_text()
        index, value = re.fullmatch(r"\[([\d, ]*)\] = (\S+)", text).groups()
        found.append((tuple(int(k) for k in index.split(", ")), number(value)))
    return found


@pytest.mark.parametrize("make", [made_traces.small, made_traces.square, made_traces.rude])
def test_it_steps_to_the_end_and_back_in_the_order_of_the_trace(show: Show, make: Any) -> None:
    data = make()
    page = show(data)
    names = [node["op"] for node in data["nodes"]]
    expected = [
        ("the turn", "Backward begins") if s["kind"] == "seed" else (s["kind"], names[s["node"]])
        for s in data["steps"]
    ]
    forth = []
    for at in range(len(expected)):
        assert count(page) == str(at + 1)
        forth.append(heading(page))
        page.keyboard.press("ArrowRight")
    assert forth == expected
    assert count(page) == str(len(expected))  # and stays there
    back = []
    for _ in expected:
        back.append(heading(page))
        page.keyboard.press("ArrowLeft")
    assert back == expected[::-1]


def test_pictures_say_the_numbers_of_the_trace_exactly(show: Show) -> None:
    data = made_traces.small()
    page = show(data)
    for step in range(4):
        node = data["nodes"][step]
        tensors = [*node["inputs"], node["output"]]
        cards = page.locator(".card")
        assert cards.count() == len(tensors)
        for k, t in enumerate(tensors):
            array = unpacked(data["tensors"][t]["value"])
            if array.ndim == 0:
                assert np.float32(number(cards.nth(k).locator(".number").inner_text())) == array
                continue
            for index, value in read_by_arrow_keys(page, cards.nth(k).locator(".picture"), 3):
                assert np.float32(value) == array[index]
        page.keyboard.press("Escape")
        page.locator("#next").click()


def test_pointing_at_a_cell_reads_it(show: Show) -> None:
    data = made_traces.small()
    page = show(data, size="1280x1400")
    x = unpacked(data["tensors"][0]["value"])
    page.locator('.card[data-title="x"] select').select_option("image 1")
    canvas = page.locator('.card[data-title="x"] canvas').first
    canvas.scroll_into_view_if_needed()
    tile = page.evaluate("minigradTrace.panel.cards.map((c) => c.picture).find(Boolean).tiles[2]")
    spot = {"x": tile["x"] + 3.5 * tile["width"], "y": tile["y"] + 1.5 * tile["height"]}
    canvas.hover(position=spot)
    said = page.locator('.card[data-title="x"] .readout').inner_text()
    index, value = said.split(" = ")
    assert index == "[1, 1, 3, 2]"
    assert np.float32(number(value)) == x[1, 1, 3, 2]


def test_a_1x1_convolution_shows_the_dot_product_of_the_pixel_pointed_at(show: Show) -> None:
    data = made_traces.small()
    page = show(data, size="1280x1400")
    x, w, b, y = arrays_of(data, 0)
    assert "one matrix product" in page.inner_text(".gemm h3")
    side = page.evaluate("minigradTrace.panel.cards.at(-1).pickSide")
    page.locator(".pick canvas").hover(position={"x": 1 + 3.5 * side, "y": 1 + 1.5 * side})
    o = int(re.search(r"channel (\d+)", page.inner_text(".pick h5"))[1])
    expected = float(x[0, 1, 3].astype(float) @ w[0, 0, :, o] + b[o])
    check_sum(page, (0, 1, 3, o), expected, y, relu=True)
    products = page.locator(".terms tbody td:last-child").all_inner_texts()
    expected = x[0, 1, 3].astype(float) * w[0, 0, :, o]
    np.testing.assert_allclose([number(p) for p in products], expected, rtol=5e-4)  # 4 digits

    page.locator(".gemm canvas.product").focus()  # and by the keyboard: next row, next column
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight" if o < 3 else "ArrowLeft")
    o += 1 if o < 3 else -1
    expected = float(x[0, 1, 4].astype(float) @ w[0, 0, :, o] + b[o])
    check_sum(page, (0, 1, 4, o), expected, y, relu=True)


def check_sum(
    page: Any, index: tuple[int, ...], expected: float, y: np.ndarray, relu: bool = False
) -> None:
    """The page adds in float64, as the expectation does: rounding apart, the same."""
    assert f"y[{', '.join(map(str, index))}]" in page.inner_text(".sums")
    computed = float(page.get_attribute(".computed", "data-value"))
    assert computed == pytest.approx(max(expected, 0.0) if relu else expected, rel=1e-12, abs=1e-12)
    assert np.float32(page.get_attribute(".stored", "data-value")) == y[index]
    assert page.inner_text(".agree") == "\N{CHECK MARK} they agree"


def test_a_3x3_convolution_shows_nine_taps_and_their_sum(show: Show) -> None:
    data = made_traces.small()
    page = show(data, step=2, size="1280x1400")
    x, w, b = (
        unpacked(data["tensors"][t]["value"]).astype(float) for t in data["nodes"][1]["inputs"]
    )
    y = unpacked(data["tensors"][data["nodes"][1]["output"]]["value"])
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    page.locator(".pick select").select_option("output channel 1")
    for key in ["ArrowUp"] * 4 + ["ArrowLeft"] * 4 + ["ArrowRight"] * 3:  # to the border
        page.locator(".pick canvas").press(key)
    sums = [[wide[0, u, 3 + v] @ w[u, v, :, 1] for v in range(3)] for u in range(3)]
    shown = page.locator(".tap b").all_inner_texts()
    np.testing.assert_allclose([number(s) for s in shown], np.ravel(sums), rtol=5e-4)  # 4 digits
    assert page.locator(".tap.outside").count() == 3
    check_sum(page, (0, 0, 3, 1), float(np.sum(sums) + b[1]), y)
    page.locator('.tap[data-tap="2,0"]').click()
    assert "pixel (1, 2), times w[2, 0, :, 1]" in page.inner_text(".where")


def test_backward_shows_rule_gradient_and_what_has_arrived(show: Show) -> None:
    data = made_traces.square()
    page = show(data, step=4)
    assert heading(page) == ("backward", "add")
    page.keyboard.press("ArrowRight")
    assert page.locator(".story .rule").all_inner_texts() == ["x ← g * y", "y ← g * x"]
    arrived = page.locator(".arrival b").all_inner_texts()
    assert arrived == ["2 of 3 arrived", "3 of 3 arrived"]
    passed = data["steps"][4]["passed"]
    shown = [number(text) for text in page.locator(".number").all_inner_texts()]
    records = [data["steps"][4]["g"]]
    for p in passed:
        records += [p["gradient"], p["total"]]
    np.testing.assert_array_equal(np.float32(shown), [unpacked(r) for r in records])


def test_a_gradient_can_be_followed_from_the_loss_to_the_first_convolution(show: Show) -> None:
    data = made_traces.small()
    page = show(data, step=6)
    path = []
    while True:
        path.append(heading(page))
        onward = page.locator(".side .onward a")
        if not onward.count():
            break
        onward.first.click()
    names = ["sum", "add", "conv2d", "conv2d"]
    assert path == [("backward", name) for name in names]
    assert "backward adds it to .grad" in page.inner_text(".side:last-child")


def test_the_line_of_code_is_lit_and_what_was_not_kept_is_said(show: Show) -> None:
    page = show(made_traces.small(), step=3)
    assert page.inner_text(".source .here").strip() == "3    return (h + x).sum()"
    data = made_traces.rude()
    page = show(data)
    assert "Not kept" in page.inner_text(".card")
    assert data["title"] in page.inner_text(".source .here")
    assert page.inner_text("#title") == data["title"]


def test_the_address_names_the_step(show: Show) -> None:
    page = show(made_traces.small(), step=7)
    assert count(page) == "7"
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert count(page) == "7"
    page.keyboard.press("End")
    assert page.url.endswith("#step=9")
    page.go_back()
    assert count(page) == "7"
    page.go_forward()
    assert count(page) == "9"
    page.evaluate("location.hash = 'step=3'")
    until(page, "document.querySelector('#count b').textContent", "3")
    page.evaluate("location.hash = 'step=999'")
    until(page, "document.querySelector('#count b').textContent", "9")


def test_it_works_in_the_frame_of_a_notebook(show: Show) -> None:
    frame = show(made_traces.small(), notebook=True)
    frame.locator("#last").click()
    frame.locator(".story .onward a").click()
    assert heading(frame) == ("forward", "conv2d")
    assert count(frame) == "1"
    assert frame.locator("#graph .op.now").count() == 1


def test_all_keys(show: Show) -> None:
    page = show(made_traces.small())
    page.keyboard.press("End")
    assert count(page) == "9"
    page.keyboard.press("Home")
    assert count(page) == "1"
    page.keyboard.press("b")
    assert heading(page)[0] == "the turn"
    page.keyboard.press("?")
    assert page.locator("#help-box").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help-box").is_visible()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("b")  # letters are text here
    assert heading(page)[0] == "the turn"
    page.keyboard.press("Escape")
    page.select_option("#speed", "20")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    until(page, "document.querySelector('#count b').textContent", "9")
    assert page.get_attribute("#play", "aria-label") == "play"  # it stopped by itself


def test_search_finds_and_opens_what_is_folded(show: Show) -> None:
    data = made_traces.residual(500)
    page = show(data)
    last = max(k for k, node in enumerate(data["nodes"]) if node["op"] == "norm")
    name = data["modules"][data["nodes"][last]["module"]]["name"]
    assert page.locator(f'[data-id="n{last}"]').count() == 0
    page.fill("#search", f"norm {name}")
    assert page.locator("#found li[role=option]").count() >= 1
    page.locator("#found li", has_text=name).first.click()
    page.keyboard.press("Escape")
    page.fill("#search", f"norm{last + 1}.w")
    page.keyboard.press("Enter")
    page.wait_for_selector(f'[data-id="n{last}"]')
    assert f"norm{last + 1}.w" in page.inner_text(".story h2")


def test_modules_fold_and_open(show: Show) -> None:
    page = show(made_traces.small())
    assert page.locator("#graph .op").count() == 4
    page.locator("#graph .group .head", has_text="squeeze").click()
    page.wait_for_selector("#graph .folded")
    assert page.locator("#graph .op").count() == 3
    assert page.text_content("#graph .folded .shape") == "1 op"
    assert page.locator("#graph .folded.now").count() == 1  # the step's op is in there
    page.locator("#graph .folded").press("Enter")
    page.wait_for_selector("#graph .folded", state="detached")
    page.locator("#fold").click()
    until(page, "document.querySelectorAll('#graph .folded').length", 2)
    page.locator("#unfold").click()
    until(page, "document.querySelectorAll('#graph .op').length", 4)


def test_a_group_is_one_stretch_of_ops_of_one_module(show: Show) -> None:
    make = made_traces.Maker("twice", ["y = f(f(x) + x)"])
    block = make.module("f", "Block")
    x = h = make.tensor(make.random(3), "input", "x")
    for _ in range(2):
        h = make.node("exp", make.random(3), block, x=h)
        h = make.node("neg", make.random(3), block, x=h)
        h = make.node("add", make.random(3), x=h, y=x)
    page = show(make.finish(make.node("sum", np.float32(1), x=h)))
    heads = page.locator("#graph .head text:not(.fold)").all_text_contents()
    assert heads == ["f · Block", "f (call 2) · Block"]
    assert page.evaluate(GEOMETRY) == [0, 0, 0]


def test_clicking_an_op_goes_to_its_step_and_a_parameter_shows_itself(show: Show) -> None:
    page = show(made_traces.small())
    page.locator('[data-id="n2"]').click()
    assert heading(page) == ("forward", "add")
    page.keyboard.press("End")
    page.locator('[data-id="n2"]').click()
    assert heading(page) == ("backward", "add")
    page.locator("#graph .leaf", has_text="weight").first.click()
    assert heading(page) == ("parameter", "squeeze.weight")
    assert page.locator(".card").count() == 2


def test_wheel_buttons_and_drag_move_the_graph(show: Show) -> None:
    page = show(made_traces.small())
    view = "(({x, y, scale}) => [x, y, scale])(minigradTrace.graph.viewport)"
    x, y, scale = page.evaluate(view)
    page.mouse.move(300, 200)
    page.mouse.wheel(0, -300)
    until(page, f"{view}[2] > {scale}", True)
    page.locator("#fit").click()
    assert page.evaluate(view)[2] == pytest.approx(scale)
    page.mouse.move(300, 80)
    page.mouse.down()
    page.mouse.move(360, 100, steps=4)
    page.mouse.up()
    assert page.evaluate(view)[:2] == pytest.approx([x + 60, y + 20])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(show: Show, scheme: str) -> None:
    page = show(made_traces.small(), color_scheme=scheme)
    paper = "getComputedStyle(document.body).backgroundColor"
    seen = [page.evaluate(paper)]
    page.keyboard.press("t")
    seen.append(page.evaluate(paper))
    both = ["rgb(251, 250, 247)", "rgb(21, 23, 27)"]
    assert seen == (both if scheme == "light" else both[::-1])


def test_nothing_hangs_out_at_the_side(show: Show) -> None:
    page = show(made_traces.small())
    for width in (360, 820, 1900):
        page.set_viewport_size({"width": width, "height": 800})
        for step in (1, 2, 4, 5, 9):
            page.evaluate(f"minigradTrace.timeline.go({step - 1})")
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_motion_stops_where_it_is_not_wanted(show: Show) -> None:
    page = show(made_traces.small(), reduced_motion="reduce")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.edge.now')).animationName")
        == "none"
    )


@pytest.mark.parametrize(("ops", "grouped"), [(500, True), (3000, True), (3000, False)])
def test_graphs_of_any_size(show: Show, ops: int, grouped: bool) -> None:
    data = made_traces.residual(ops, grouped=grouped)
    page = show(data)
    assert page.locator("#graph .op, #graph .folded").count() <= 130
    for key in ("ArrowRight", "b", "ArrowRight", "End"):
        page.keyboard.press(key)
        assert page.locator("#graph .op.now, #graph .folded.now").count() == 1
    if ops == 500:
        page.evaluate("minigradTrace.graph.setAll(true)")
        assert page.locator("#graph .op").count() == ops
    overlaps, backwards, outside = page.evaluate(GEOMETRY)
    assert overlaps == backwards == outside == 0


# How many boxes overlap, how many edges end left of where they begin, and how many boxes stick out
# of their group.
GEOMETRY = """() => {
  const { graph } = minigradTrace, { place } = graph;
  const boxes = Object.entries(place).map(([id, { x, y, width, height }]) => (
    { left: x, right: x + width, top: y, bottom: y + height, group: graph.boxes.get(id).parent }));
  const cross = (p, q) => (
    p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom);
  const siblings = new Map();
  for (const p of boxes) siblings.set(p.group, [...(siblings.get(p.group) || []), p]);
  let overlaps = 0, outside = 0, backwards = 0;
  for (const [group, list] of siblings) {
    const frame = place[group.id];
    list.forEach((p, i) => {
      overlaps += list.slice(i + 1).filter((q) => cross(p, q)).length;
      if (!frame) return;
      outside += p.left < frame.x || p.right > frame.x + frame.width;
      outside += p.top < frame.y + 24 || p.bottom > frame.y + frame.height;
    });
  }
  for (const path of graph.paths.values()) {
    const [begin, end] = span(path.getAttribute("d"));
    backwards += end < begin;
  }
  return [overlaps, backwards, outside];
}"""
