"use strict";
/* Layers: the graph cut into strips, of which the browser draws only those in view. With all of
 * 3,000 ops open it would otherwise paint twenty thousand shapes for each movement. */

const STRIP = 3000; // as wide as some twenty boxes

class Layers {
  constructor(world, names) {
    this.strips = new Map(); // number -> the pieces of all layers in this strip
    this.layers = Object.fromEntries(names.map((name) => [name, make("svg:g", { class: name })]));
    world.replaceChildren(...Object.values(this.layers));
  }

  /** Put an element that reaches from x to `end` into a layer; what is very long is always drawn. */
  add(name, element, x, end) {
    const layer = this.layers[name];
    if (end - x > STRIP) return layer.prepend(element);
    const number = Math.floor(x / STRIP);
    if (!this.strips.has(number)) this.strips.set(number, {});
    const strip = this.strips.get(number);
    if (!strip[name]) layer.append((strip[name] = make("svg:g")));
    strip[name].append(element);
  }

  /** Draw what lies between two places, and hide the rest. */
  show(left, right) {
    for (const [number, strip] of this.strips) {
      const seen = (number + 2) * STRIP > left && number * STRIP < right;
      if (strip.seen === seen) continue;
      strip.seen = seen;
      for (const part of Object.values(strip)) if (part.style) part.style.display = seen ? "" : "none";
    }
  }
}
