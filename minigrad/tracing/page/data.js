"use strict";
/* Data: the trace as Python wrote it, unpacked, and numbers as text. */

/** The trace: gzipped JSON in base64, opened by the browser itself. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** The trace with the numbers themselves where Python wrote their place in the table `arrays`. */
function resolve(trace) {
  const at = (k) => (typeof k === "number" ? trace.arrays[k] : k);
  for (const tensor of trace.tensors) {
    tensor.value = at(tensor.value);
    tensor.grad = at(tensor.grad);
  }
  for (const step of trace.steps) {
    if (step.kind !== "backward") continue;
    step.g = at(step.g);
    for (const passed of step.passed) {
      passed.gradient = at(passed.gradient);
      passed.total = at(passed.total);
    }
  }
  return trace;
}

const READERS = {
  f4: (view, at) => view.getFloat32(at, true),
  f8: (view, at) => view.getFloat64(at, true),
  i8: (view, at) => Number(view.getBigInt64(at, true)),
};

const opened = new WeakMap(); // a tensor's record -> its Values: decoded once, when first looked at

/** The numbers of a tensor that were kept, at their places in the whole. */
class Values {
  static of(record) {
    if (!record) return null;
    if (!opened.has(record)) opened.set(record, new Values(record));
    return opened.get(record);
  }

  constructor(record) {
    this.shape = record.shape;
    this.dtype = record.dtype;
    this.single = record.dtype === "float32";
    for (const name of ["min", "max", "mean", "std", "zeros", "nan", "inf"]) this[name] = record[name] === null ? NaN : Number(record[name]);
    const { axes, data, dtype } = record.sample;
    this.axes = axes;
    this.places = axes.map((axis) => new Map(axis.map((index, k) => [index, k])));
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer), kind = dtype.slice(1), width = Number(kind[1]);
    this.data = new Float64Array(bytes.length / width);
    for (let i = 0; i < this.data.length; i++) this.data[i] = READERS[kind](view, i * width);
  }

  get size() {
    return this.shape.reduce((a, b) => a * b, 1);
  }

  /** Whether numbers were left out. */
  get cut() {
    return this.data.length < this.size;
  }

  /** The number at this index of the whole tensor; undefined where it was not kept. */
  at(...index) {
    let flat = 0;
    for (let k = 0; k < index.length; k++) {
      const place = this.places[k].get(index[k]);
      if (place === undefined) return undefined;
      flat = flat * this.axes[k].length + place;
    }
    return this.data[flat];
  }

  /** The largest distance from zero: where the colours end. */
  get reach() {
    const ends = [this.min, this.max].filter(Number.isFinite).map(Math.abs);
    return Math.max(0, ...ends) || 1;
  }

  /** The shortest text that means exactly this number in this tensor's dtype. */
  exact(x) {
    if (!Number.isFinite(x) || Number.isInteger(x) || !this.single) return sign(String(x));
    for (let digits = 6; digits < 9; digits++) {
      const text = x.toPrecision(digits);
      if (Math.fround(Number(text)) === x) return sign(String(Number(text)));
    }
    return sign(String(Number(x.toPrecision(9))));
  }
}

/** A number in a few digits, for reading. */
function brief(x, digits = 4) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return sign(String(x));
  const size = Math.abs(x);
  return sign(size >= 1e-3 && size < 1e5 ? String(Number(x.toPrecision(digits))) : x.toExponential(2));
}

/** With a true minus sign, as wide as the plus. */
function sign(text) {
  return text.replace(/-/g, "−");
}

function shapeText(shape) {
  if (shape.length === 1) return `[${shape[0]}]`;
  return shape.length ? shape.join("×") : "scalar";
}

/** An element: `make("p", {class: "note"}, "text", child)`. Text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function find(id) {
  return document.getElementById(id);
}
