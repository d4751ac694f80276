"use strict";
/* GEMM: a 1x1 convolution as the matrix product that it is. Each row of X is a pixel, each column
 * of W an output channel; where they meet in Y stands their dot product. */

class Gemm {
  constructor(convolution) {
    this.c = convolution;
    Object.assign(this, convolution.telling); // n, i, j, o
    this.canvas = make("canvas", {
      tabindex: "0", role: "img", class: "product",
      "aria-label": "Matrix product: pixel rows times weight matrix. Up and down choose a pixel, left and right an output channel.",
    });
    this.picker = make("canvas", { tabindex: "0", role: "img", "aria-label": "The output image: arrow keys choose a pixel." });
    this.words = make("p", { class: "where", "aria-live": "polite" });
    this.numbers = make("div", { class: "numbers" });
    for (const kind of ["pointermove", "pointerdown"]) {
      this.canvas.addEventListener(kind, (event) => this.pointAtProduct(event));
      this.picker.addEventListener(kind, (event) => this.pointAtImage(event));
    }
    this.canvas.addEventListener("keydown", (event) => this.walk(event, ([di, dj]) => this.moveRow(di, dj)));
    this.picker.addEventListener("keydown", (event) => this.walk(event, ([di, dj]) => this.moveTo(this.i + di, this.j + dj, this.o)));
    this.element = make("section", { class: "gemm wide" },
      make("h3", {}, "A 1×1 convolution is one matrix product"),
      make("p", { class: "lead" }, "Each pixel is a row of X. Its dot product with a column of W is one channel of that pixel in the output Y. Point at a pixel, a column or an output number."),
      make("div", { class: "columns" },
        make("div", { class: "pick" }, make("h5", {}, ""), this.picker),
        make("div", { class: "stage" }, this.canvas),
        make("div", { class: "dot" }, this.words, this.numbers)));
  }

  /* The pixels that are rows of the picture: all of a small image, else one row of it. */
  get pixels() {
    const [, rows, columns] = this.c.y.axes;
    const of = (i) => columns.map((j) => [i, j]);
    return rows.length * columns.length <= 36 ? rows.flatMap(of) : of(this.i);
  }

  draw() {
    const { x, w, y } = this.c;
    const channels = x.axes[3], outputs = y.axes[3], pixels = this.pixels;
    const room = Math.max(220, this.canvas.parentNode.clientWidth - 2), gap = 18, label = 20;
    const side = Math.max(1, Math.min(26, Math.floor((room - gap - label) / (channels.length + outputs.length))));
    const high = Math.max(4, Math.min(22, Math.floor(180 / pixels.length)));
    const low = Math.max(2, Math.min(side, Math.floor(140 / channels.length)));
    const left = label, right = left + channels.length * side + gap, top = label, bottom = top + channels.length * low + gap;
    this.at = { left, right, top, bottom, side, high, low, channels, outputs, pixels };
    const width = Math.max(right + outputs.length * side + 4, right + 60);
    const pen = sheet(this.canvas, width, bottom + pixels.length * high + label);
    paint(pen, { x: right, y: top, rows: channels.length, columns: outputs.length, width: side, height: low, reach: w.reach, at: (r, c) => w.at(0, 0, channels[r], outputs[c]) });
    paint(pen, { x: left, y: bottom, rows: pixels.length, columns: channels.length, width: side, height: high, reach: x.reach, at: (r, c) => this.pixelValue(pixels[r], channels[c]) });
    paint(pen, { x: right, y: bottom, rows: pixels.length, columns: outputs.length, width: side, height: high, reach: y.reach, at: (r, c) => y.at(this.n, ...pixels[r], outputs[c]) });
    this.frames(pen);
    this.drawPicker();
    this.say();
  }

  pixelValue([i, j], channel) {
    const at = this.c.pixel(i, j, 0, 0);
    return at.inside ? this.c.x.at(this.n, at.row, at.column, channel) : 0;
  }

  frames(pen) {
    const { left, right, top, bottom, side, high, low, channels, outputs, pixels } = this.at;
    const row = pixels.findIndex(([i, j]) => i === this.i && j === this.j), column = outputs.indexOf(this.o);
    const wide = channels.length * side, deep = channels.length * low, across = outputs.length * side, tall = pixels.length * high;
    pen.strokeStyle = ink("--line");
    pen.lineWidth = 1;
    for (const [x, y, w, h] of [[right, top, across, deep], [left, bottom, wide, tall], [right, bottom, across, tall]]) pen.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    pen.fillStyle = ink("--soft");
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.fillText(`W  ${channels.length}×${outputs.length}`, right, top - 6);
    pen.fillText(`X  ${pixels.length} pixels × ${channels.length}`, left, bottom - 6);
    pen.fillText(`Y  ${pixels.length} × ${outputs.length}`, right, bottom + tall + 15);
    pen.strokeStyle = pen.fillStyle = ink("--mark");
    pen.lineWidth = 2;
    const middle = right + (column + 0.5) * side, height = bottom + (row + 0.5) * high;
    pen.strokeRect(left - 1, bottom + row * high - 1, wide + 2, high + 2);
    pen.strokeRect(right + column * side - 1, top - 1, side + 2, deep + 2);
    pen.setLineDash([3, 3]);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(left + wide + 1, height);
    pen.lineTo(right + column * side - 1, height);
    pen.moveTo(middle, top + deep + 1);
    pen.lineTo(middle, bottom + row * high - 1);
    pen.stroke();
    pen.setLineDash([]);
    pen.lineWidth = 2.5;
    pen.strokeRect(right + column * side - 2, bottom + row * high - 2, side + 4, high + 4);
  }

  drawPicker() {
    const { y } = this.c, [, rows, columns] = y.axes;
    const side = Math.max(2, Math.min(24, Math.floor(150 / Math.max(rows.length, columns.length))));
    this.pickSide = side;
    const pen = sheet(this.picker, columns.length * side + 2, rows.length * side + 2);
    paint(pen, { x: 1, y: 1, rows: rows.length, columns: columns.length, width: side, height: side, reach: y.reach, at: (r, c) => y.at(this.n, rows[r], columns[c], this.o) });
    pen.strokeStyle = ink("--mark");
    pen.lineWidth = 2;
    pen.strokeRect(1 + columns.indexOf(this.j) * side, 1 + rows.indexOf(this.i) * side, side, side);
    this.picker.previousSibling.textContent = `y: image ${this.n}, channel ${this.o}`;
  }

  say() {
    const result = this.c.output(this.n, this.i, this.j, this.o);
    const index = [this.n, this.i, this.j, this.o];
    this.words.replaceChildren(
      make("b", {}, `y[${index.join(", ")}]`), ` = pixel (${this.i}, ${this.j}) · column ${this.o} of W`);
    this.numbers.replaceChildren(termTable(result.taps[0]), sumLines(this.c, result, index));
  }

  moveTo(i, j, o) {
    const { y } = this.c;
    if (y.at(this.n, i, j, o) === undefined) return;
    if (i === this.i && j === this.j && o === this.o) return;
    [this.i, this.j, this.o] = [i, j, o];
    this.draw();
  }

  /* On the product up and down go from pixel to pixel, left and right from column to column. */
  moveRow(down, right) {
    const { pixels, outputs } = this.at;
    const row = clamp(pixels.findIndex(([i, j]) => i === this.i && j === this.j) + down, pixels.length);
    this.moveTo(...pixels[row], outputs[clamp(outputs.indexOf(this.o) + right, outputs.length)]);
  }

  walk(event, move) {
    const step = arrowStep(event);
    if (!step) return;
    move(step);
  }

  pointAtProduct(event) {
    const { left, right, top, bottom, side, high, low, channels, outputs, pixels } = this.at;
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const column = Math.floor((x - right) / side), row = Math.floor((y - bottom) / high);
    const inColumns = column >= 0 && column < outputs.length, inRows = row >= 0 && row < pixels.length;
    const overW = inColumns && y >= top && y < top + channels.length * low;
    const overX = inRows && x >= left && x < left + channels.length * side;
    if (overW) this.moveTo(this.i, this.j, outputs[column]);
    else if (overX) this.moveTo(...pixels[row], this.o);
    else if (inColumns && inRows) this.moveTo(...pixels[row], outputs[column]);
  }

  pointAtImage(event) {
    const box = this.picker.getBoundingClientRect(), [, rows, columns] = this.c.y.axes;
    const r = Math.floor((event.clientY - box.top - 1) / this.pickSide), c = Math.floor((event.clientX - box.left - 1) / this.pickSide);
    if (rows[r] !== undefined && columns[c] !== undefined) this.moveTo(rows[r], columns[c], this.o);
  }
}
