"use strict";
/* Convolution: what one output number is made of, computed here from the numbers in the trace. */

class Convolution {
  constructor(trace, node) {
    const get = (name) => {
      const t = node.inputs[node.names.indexOf(name)];
      return t === null || t === undefined ? null : Values.of(trace.tensors[t].value);
    };
    this.x = get("x");
    this.w = get("w");
    this.b = get("b");
    this.y = Values.of(trace.tensors[node.output].value);
    this.hasBias = node.names.includes("b") && node.inputs[node.names.indexOf("b")] !== null && node.inputs[node.names.indexOf("b")] !== undefined;
    const { kernel, stride, padding, groups, activation, dilation = [1, 1] } = node.convolution;
    Object.assign(this, { kernel, stride, padding, groups, activation, dilation });
  }

  /** Why there is no picture of it, or null. */
  get missing() {
    if (!this.x || !this.w || !this.y) return "The numbers of this convolution were not kept, so its products cannot be shown.";
    if (!this.y.data.length) return "An empty batch: there are no pixels to multiply.";
    if (this.hasBias && !this.b) return "The bias was not kept, so the sums cannot be completed.";
    return null;
  }

  get pointwise() {
    return this.kernel[0] === 1 && this.kernel[1] === 1 && this.groups === 1;
  }

  /** The output number worth looking at first: the largest of the first image, as {n, i, j, o}. */
  get telling() {
    const { axes, data } = this.y;
    let best = 0, rest = 0;
    for (let k = 0; k < data.length / axes[0].length; k++) if (Math.abs(data[k]) > Math.abs(data[best])) rest = best = k;
    const index = [];
    for (let a = 3; a >= 0; a--) {
      index.unshift(axes[a][rest % axes[a].length]);
      rest = Math.floor(rest / axes[a].length);
    }
    const [n, i, j, o] = index;
    return { n, i, j, o };
  }

  /** The channels of the input that output channel o reads. */
  channels(o) {
    const each = this.w.shape[2];
    const first = Math.floor(o / (this.w.shape[3] / this.groups)) * each;
    return Array.from({ length: each }, (_, c) => first + c);
  }

  /** The pixel that tap (u, v) of output pixel (i, j) reads, and whether it lies in the image. */
  pixel(i, j, u, v) {
    const row = i * this.stride[0] + u * this.dilation[0] - this.padding[0][0];
    const column = j * this.stride[1] + v * this.dilation[1] - this.padding[1][0];
    const inside = row >= 0 && column >= 0 && row < this.x.shape[1] && column < this.x.shape[2];
    return { row, column, inside };
  }

  /** One tap: the terms of its dot product and their sum; undefined where a number was not kept. */
  tap(n, i, j, u, v, o) {
    const at = this.pixel(i, j, u, v);
    const terms = this.channels(o).map((channel, c) => {
      const x = at.inside ? this.x.at(n, at.row, at.column, channel) : 0;
      const w = this.w.at(u, v, c, o);
      return { channel, c, x, w, product: x === undefined || w === undefined ? undefined : x * w };
    });
    const whole = terms.every((term) => term.product !== undefined);
    return { ...at, u, v, terms, sum: whole ? terms.reduce((s, term) => s + term.product, 0) : undefined };
  }

  /** All taps of one output number, the sum with the bias, and what the engine stored. */
  output(n, i, j, o) {
    const taps = [];
    for (let u = 0; u < this.kernel[0]; u++) for (let v = 0; v < this.kernel[1]; v++) taps.push(this.tap(n, i, j, u, v, o));
    const bias = this.hasBias ? this.b.at(o) : 0;
    const sum = taps.reduce((s, tap) => s + (tap.sum ?? NaN), 0) + (bias ?? NaN);
    const value = this.activation === "relu" ? Math.max(0, sum) : sum;
    return { taps, bias, sum, value, stored: this.y.at(n, i, j, o) };
  }
}

/** The terms of a dot product as a table, the largest first. */
function termTable(tap, most = 6) {
  if (tap.sum === undefined) return make("p", { class: "quiet" }, "Some of these numbers were cut from the sample, so this sum cannot be completed.");
  const sorted = [...tap.terms].sort((p, q) => Math.abs(q.product) - Math.abs(p.product));
  const rest = sorted.slice(most);
  const body = make("tbody");
  for (const term of sorted.slice(0, most).sort((p, q) => p.c - q.c)) {
    body.append(make("tr", {}, ...[`c = ${term.channel}`, brief(term.x), brief(term.w), brief(term.product)].map((text) => make("td", {}, text))));
  }
  if (rest.length) {
    const sum = rest.reduce((s, term) => s + term.product, 0);
    body.append(make("tr", { class: "rest" }, make("td", { colspan: "3" }, `${rest.length} smaller products`), make("td", {}, brief(sum))));
  }
  const head = make("tr", {}, ...["channel", "pixel", "weight", "product"].map((text) => make("th", { scope: "col" }, text)));
  return make("table", { class: "terms" }, make("thead", {}, head), body);
}

/** From the products to the number that the engine stored. */
function sumLines(convolution, result, index) {
  const { y, hasBias, activation } = convolution;
  const lines = make("dl", { class: "sums" });
  const line = (name, text, attributes = {}) => lines.append(make("dt", {}, name), make("dd", attributes, text));
  if (result.taps.length === 1) line("sum of products", brief(result.taps[0].sum, 6));
  else line(`sum of ${result.taps.length} taps`, brief(result.sum - result.bias, 6));
  if (hasBias) line("plus bias", brief(result.bias, 6));
  if (activation === "relu") line("after ReLU", brief(result.value, 6));
  line("computed here", brief(result.value, 8), { class: "computed", "data-value": result.value });
  const stored = result.stored;
  line(`stored in y[${index.join(", ")}]`, stored === undefined ? "not kept" : y.exact(stored), { class: "stored", "data-value": stored });
  const close = stored !== undefined && Math.abs(result.value - stored) <= 1e-4 * Math.max(1, Math.abs(stored), Math.abs(result.sum));
  if (stored !== undefined && Number.isFinite(result.value)) {
    lines.append(make("dt", {}, ""), make("dd", { class: close ? "agree" : "differ" }, close ? "✓ they agree" : "they differ"));
  }
  return lines;
}
