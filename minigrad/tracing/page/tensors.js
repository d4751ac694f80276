"use strict";
/* Tensors: a card with name, shape, statistics and picture. */

/** A card for one tensor's numbers; `record` may be null: not kept. */
function card(record, { title, note = null, weights = false, tags = [], shape = null }) {
  const values = Values.of(record);
  const head = make("header", {},
    make("h4", {}, title),
    ...tags.map((tag) => make("span", { class: `tag ${tag}` }, tag)),
    make("span", { class: "shape" }, values ? `${shapeText(values.shape)} ${values.dtype}` : shape ? shapeText(shape) : ""));
  const element = make("section", { class: "card", "data-title": title }, head);
  if (note) element.append(note);
  if (!values) {
    element.append(make("p", { class: "quiet" }, "Not kept: backward did not need these numbers, so they were let go to save memory."));
    return { element, draw() {} };
  }
  if (values.size === 1) {
    element.append(make("p", { class: "number" }, values.exact(values.data[0])));
    return { element, draw() {} };
  }
  if (!values.data.length) {
    element.append(make("p", { class: "quiet" }, "Empty: there are no numbers in it."));
    return { element, draw() {} };
  }
  const picture = new Picture(values, { weights, label: title });
  element.append(statistics(values), picture.element, cutNote(values) || "");
  return { element, picture, draw: () => picture.draw() };
}

function statistics(values) {
  const entries = [["min", values.min], ["mean", values.mean], ["max", values.max], ["std", values.std]];
  const list = make("dl", { class: "statistics" });
  for (const [name, x] of entries) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, brief(x))));
  if (values.zeros > 0) list.append(make("div", {}, make("dt", {}, "zeros"), make("dd", {}, `${brief(100 * values.zeros, 3)}%`)));
  if (values.nan > 0) list.append(make("div", { class: "alarm" }, make("dt", {}, "NaN"), make("dd", {}, String(values.nan))));
  if (values.inf > 0) list.append(make("div", { class: "alarm" }, make("dt", {}, "Inf"), make("dd", {}, String(values.inf))));
  return list;
}

/** What of the tensor was not kept, in words. */
function cutNote(values) {
  if (!values.cut) return null;
  const kept = values.axes.map((axis, k) => (axis.length < values.shape[k] ? `${axis.length} of ${values.shape[k]}` : String(values.shape[k])));
  return make("p", { class: "quiet" }, `Sampled to keep this file small: ${kept.join(" × ")}. The statistics are of all.`);
}

/** What to call the tensor at an input of a node. */
function inputTitle(trace, node, position) {
  const t = node.inputs[position], name = node.names[position];
  const { name: own } = t === null || t === undefined ? {} : trace.tensors[t];
  return own && own !== name ? `${name}: ${own}` : name || own || `input ${position + 1}`;
}

/** Whether this input holds the weights of a convolution. */
function isWeights(trace, t, node, position) {
  return Boolean(node.convolution) && node.names[position] === "w";
}
