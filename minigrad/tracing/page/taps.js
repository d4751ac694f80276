"use strict";
/* Taps: a larger convolution as one matrix product for each place of its window. A 3x3 is nine. */

class Taps {
  constructor(convolution) {
    this.c = convolution;
    const { y, kernel } = convolution;
    Object.assign(this, convolution.telling); // n, i, j, o
    this.tap = [Math.floor(kernel[0] / 2), Math.floor(kernel[1] / 2)];
    this.picker = make("canvas", { tabindex: "0", role: "img", "aria-label": "The input image with the window: arrow keys move it." });
    for (const kind of ["pointermove", "pointerdown"]) this.picker.addEventListener(kind, (event) => this.point(event));
    this.picker.addEventListener("keydown", (event) => this.walk(event));
    this.output = make("select", { "aria-label": "output channel", onchange: () => {
      this.o = y.axes[3][this.output.selectedIndex];
      this.draw();
    } }, ...y.axes[3].map((o) => make("option", { selected: o === this.o }, `output channel ${o}`)));
    this.grid = make("div", { class: "taps", role: "group", "aria-label": "the taps of the window" });
    this.grid.style.setProperty("--across", kernel[1]);
    this.many = kernel[1] > 3; // taps are small, then, and very small ones are colours alone
    this.grid.classList.toggle("many", this.many);
    this.words = make("p", { class: "where", "aria-live": "polite" });
    this.numbers = make("div", { class: "numbers" });
    const count = kernel[0] * kernel[1];
    this.element = make("section", { class: "gemm wide" },
      make("h3", {}, count === 1 ? "Its tap, channel group by channel group" : `A ${kernel[0]}×${kernel[1]} convolution is ${numberWord(count)} matrix products`),
      make("p", { class: "lead" }, "Each tap of the window is a 1×1 convolution with a weight matrix of its own, on the image shifted by one place; their results add up. Move the window over the image, and choose a tap."),
      make("div", { class: "columns" },
        make("div", { class: "pick" }, make("h5", {}, ""), this.picker, this.output),
        make("div", { class: "stage" }, this.grid),
        make("div", { class: "dot" }, this.words, this.numbers)));
  }

  draw() {
    const result = this.c.output(this.n, this.i, this.j, this.o);
    this.drawPicker(result);
    const { x, w, kernel } = this.c;
    const largest = Math.max(...result.taps.map((tap) => Math.abs(tap.sum || 0))) || 1;
    this.grid.replaceChildren(...result.taps.map((tap) => this.drawTap(tap, x.reach, w.reach, largest)));
    const chosen = result.taps[this.tap[0] * kernel[1] + this.tap[1]];
    const index = [this.n, this.i, this.j, this.o];
    const place = chosen.inside ? `pixel (${chosen.row}, ${chosen.column})` : "outside the image, so zeros";
    this.words.replaceChildren(make("b", {}, `tap (${chosen.u}, ${chosen.v})`), `: ${place}, times w[${chosen.u}, ${chosen.v}, :, ${this.o}]`);
    this.numbers.replaceChildren(chosen.inside ? termTable(chosen) : make("p", { class: "quiet" }, "Padding: this tap reads zeros and adds nothing."), sumLines(this.c, result, index));
  }

  drawTap(tap, reachX, reachW, largest) {
    const strips = make("canvas", { "aria-hidden": "true" });
    const shown = tap.terms.slice(0, 64), width = Math.max(1, Math.min(16, Math.floor(110 / shown.length)));
    const pen = sheet(strips, shown.length * width, 29);
    paint(pen, { x: 0, y: 0, rows: 1, columns: shown.length, width, height: 14, reach: reachX, at: (r, c) => shown[c].x });
    paint(pen, { x: 0, y: 15, rows: 1, columns: shown.length, width, height: 14, reach: reachW, at: (r, c) => shown[c].w });
    const chosen = tap.u === this.tap[0] && tap.v === this.tap[1];
    const sum = tap.sum === undefined ? "cut" : brief(tap.sum, this.many ? 2 : 4);
    const button = make("button", {
      type: "button", class: tap.inside ? "tap" : "tap outside", "aria-pressed": String(chosen), "data-tap": `${tap.u},${tap.v}`,
      "aria-label": `tap ${tap.u}, ${tap.v}: ${tap.inside ? sum : "outside the image"}`,
      onclick: () => this.choose(tap.u, tap.v),
    }, ...[
      tap.inside ? strips : !this.many && make("span", { class: "quiet" }, "outside"),
      this.c.kernel[1] <= 5 && make("b", {}, tap.inside ? sum : "0"),
    ].filter(Boolean));
    const strength = colour(tap.sum || 0, largest);
    button.style.setProperty("--tap", css(strength));
    return button;
  }

  choose(u, v) {
    this.tap = [u, v];
    this.draw();
    this.grid.querySelector('[aria-pressed="true"]').focus();
  }

  /* The input channel that the chosen tap hears most of, with the window over it. */
  drawPicker(result) {
    const { x, kernel } = this.c, [, rows, columns] = x.axes;
    const terms = result.taps[this.tap[0] * kernel[1] + this.tap[1]].terms;
    const { channel } = terms.reduce((p, q) => (Math.abs(q.product) > Math.abs(p.product) ? q : p));
    const side = Math.max(3, Math.min(26, Math.floor(168 / Math.max(rows.length, columns.length))));
    const border = side * Math.max(this.c.padding[0][0], this.c.padding[1][0]) + 2;
    this.pick = { side, border };
    const pen = sheet(this.picker, columns.length * side + 2 * border, rows.length * side + 2 * border);
    paint(pen, { x: border, y: border, rows: rows.length, columns: columns.length, width: side, height: side, reach: x.reach, at: (r, c) => x.at(this.n, rows[r], columns[c], channel) });
    pen.strokeStyle = ink("--line");
    pen.strokeRect(border - 0.5, border - 0.5, columns.length * side + 1, rows.length * side + 1);
    for (let u = 0; u < kernel[0]; u++) {
      for (let v = 0; v < kernel[1]; v++) {
        const at = this.c.pixel(this.i, this.j, u, v);
        const chosen = u === this.tap[0] && v === this.tap[1];
        pen.strokeStyle = chosen ? ink("--ink") : ink("--mark");
        pen.lineWidth = chosen ? 2.5 : 1;
        pen.strokeRect(border + (at.column - columns[0]) * side, border + (at.row - rows[0]) * side, side, side);
      }
    }
    this.picker.previousSibling.textContent = `x: image ${this.n}, channel ${channel}`;
  }

  moveTo(i, j) {
    if (this.c.y.at(this.n, i, j, this.o) === undefined || (i === this.i && j === this.j)) return;
    [this.i, this.j] = [i, j];
    this.draw();
  }

  walk(event) {
    const step = arrowStep(event);
    if (!step) return;
    this.moveTo(this.i + step[0], this.j + step[1]);
  }

  point(event) {
    const { side, border } = this.pick, box = this.picker.getBoundingClientRect();
    const { stride, padding, kernel, dilation, x } = this.c;
    const place = (at, axis, origin) => {
      const reach = ((kernel[axis] - 1) / 2) * dilation[axis];
      return Math.round((Math.floor((at - border) / side) + origin + padding[axis][0] - reach) / stride[axis]);
    };
    this.moveTo(place(event.clientY - box.top, 0, x.axes[1][0]), place(event.clientX - box.left, 1, x.axes[2][0]));
  }
}
