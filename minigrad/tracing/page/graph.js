"use strict";
/* Graph: the boxes and edges as SVG, what is lit, what is folded. */

class Graph {
  constructor(trace, { onpick, onleaf }) {
    this.trace = trace;
    this.onpick = onpick;
    this.onleaf = onleaf;
    this.root = buildGroups(trace);
    this.boxes = new Map(); // every op, leaf and group by id
    everyBox(this.root, (box) => this.boxes.set(box.id, box));
    this.open = openByDefault(this.root);
    this.svg = find("graph");
    this.world = this.svg.querySelector(".world");
    this.viewport = new Viewport(this.svg, this.world);
    this.pen = document.createElement("canvas").getContext("2d");
    this.family = getComputedStyle(document.body).fontFamily;
    this.layout = new Layout();
    this.elements = new Map();
    this.lit = [];
  }

  /** Lay out and draw again; `keep` is the id of a box that shall stay where it is on the screen. */
  async redraw(keep) {
    const seen = visibleGraph(this.trace, this.root, this.open);
    const edges = [...seen.edges.values()];
    const before = keep && this.place && this.boxAt(keep);
    const placed = await this.layout.run(this.sized(this.root), edges);
    if (!placed) return; // a newer layout is on its way
    this.standsFor = seen.standsFor;
    this.place = { ...placed.boxes, ...placed.groups };
    this.extent = placed;
    this.routes = new Map([...seen.edges.keys()].map((key, i) => [key, placed.routes[i]]));
    this.draw(placed);
    if (before) {
      const after = this.boxAt(keep), { viewport } = this;
      viewport.x += (before.x - after.x) * viewport.scale;
      viewport.y += (before.y - after.y) * viewport.scale;
      viewport.apply();
    }
  }

  /* Groups and boxes with the sizes that their texts need. */
  sized(group) {
    const children = group.children.map((child) => {
      if (child.children && this.open.has(child.id)) return this.sized(child);
      const [first, second] = this.texts(child);
      const width = Math.max(this.width(first, 600, 13), this.width(second, 400, 11)) + (child.children ? 44 : 24);
      return { id: child.id, width: Math.max(child.tensor === undefined ? 72 : 40, width), height: second ? 42 : 26 };
    });
    if (group === this.root) return { id: group.id, children };
    return { id: group.id, children, header: 24, minWidth: this.width(groupTitle(group), 500, 12) + 48 };
  }

  width(text, weight, size) {
    if (!text) return 0;
    this.pen.font = `${weight} ${size}px ${this.family}`;
    return Math.ceil(this.pen.measureText(text).width);
  }

  texts(box) {
    const { trace } = this;
    if (box.children) return [shorten(groupTitle(box), 28), numberOf(countOps(box), "op")];
    if (box.tensor !== undefined) {
      const one = scalarOf(trace, box.tensor), name = shorten(leafName(trace, box.tensor), 18);
      return [one === null ? name : `${name} ${one}`, ""];
    }
    const node = trace.nodes[box.node];
    return [shorten(plainName(node.op), 24), scalarOf(trace, node.output) ?? tensorShape(trace, node.output)];
  }

  draw(placed) {
    this.elements.clear();
    this.lit = [];
    const layers = new Layers(this.world, ["groups", "edges", "boxes"]);
    for (const [id, at] of Object.entries(placed.groups)) layers.add("groups", this.drawGroup(this.boxes.get(id), at), at.x, at.x + at.width);
    this.paths = new Map();
    for (const [key, d] of Object.entries(placed.segments)) {
      const ends = key.split("|")[3] in placed.boxes; // not at the border of an open group
      const element = make("svg:path", { d, class: ends ? "edge ends" : "edge" });
      this.paths.set(key, element);
      layers.add("edges", element, ...span(d));
    }
    for (const [id, at] of Object.entries(placed.boxes)) layers.add("boxes", this.drawBox(this.boxes.get(id), at), at.x, at.x + at.width);
    this.viewport.onmove = (left, right) => layers.show(left, right);
    this.viewport.apply();
    if (this.current) this.light(...this.current);
    if (this.onredraw) this.onredraw();
  }

  drawGroup(group, at) {
    const toggle = () => !this.viewport.dragged && this.toggle(group.id);
    const head = make("svg:g", {
      class: "head", tabindex: "0", role: "button", "aria-expanded": "true", "aria-label": `fold ${groupTitle(group)}`,
      onclick: toggle, onkeydown: (event) => event.key === "Enter" && toggle(),
    }, make("svg:rect", { x: 0, y: 0, width: at.width, height: 24, rx: 8 }),
    make("svg:text", { x: 10, y: 16 }, groupTitle(group)),
    make("svg:text", { x: at.width - 18, y: 16, class: "fold" }, "−"));
    const element = make("svg:g", { class: "group", transform: `translate(${at.x} ${at.y})`, "data-id": group.id },
      make("svg:rect", { class: "frame", width: at.width, height: at.height, rx: 8 }), head);
    this.elements.set(group.id, element);
    return element;
  }

  drawBox(box, at) {
    const [first, second] = this.texts(box);
    const kind = box.children ? "folded" : box.tensor !== undefined ? `leaf ${this.trace.tensors[box.tensor].role}` : "op";
    const element = make("svg:g", { class: kind, transform: `translate(${at.x} ${at.y})`, "data-id": box.id, onclick: () => this.pick(box) });
    if (box.children) {
      element.append(make("svg:rect", { x: 4, y: 4, width: at.width, height: at.height, rx: 8, class: "behind" }));
      const attributes = { tabindex: "0", role: "button", "aria-expanded": "false", "aria-label": `open ${groupTitle(box)}` };
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.addEventListener("keydown", (event) => event.key === "Enter" && this.pick(box));
    }
    element.append(
      make("svg:title", {}, this.tip(box)),
      make("svg:rect", { width: at.width, height: at.height, rx: box.tensor !== undefined ? at.height / 2 : 7 }),
      make("svg:text", { x: at.width / 2 - (box.children ? 8 : 0), y: second ? 18 : at.height / 2 + 4, class: "name" }, first));
    if (second) element.append(make("svg:text", { x: at.width / 2 - (box.children ? 8 : 0), y: 34, class: "shape" }, second));
    if (box.children) element.append(make("svg:text", { x: at.width - 18, y: 26, class: "fold" }, "+"));
    this.elements.set(box.id, element);
    return element;
  }

  tip(box) {
    if (box.children) return `${groupTitle(box)}: click to open`;
    if (box.tensor !== undefined) return `${leafName(this.trace, box.tensor)} ${tensorShape(this.trace, box.tensor)}`;
    const { expression, line } = this.trace.nodes[box.node];
    return `${expression || plainName(this.trace.nodes[box.node].op)}${line ? `  (${line.file}:${line.number})` : ""}`;
  }

  pick(box) {
    if (this.viewport.dragged) return;
    if (box.children) this.toggle(box.id);
    else if (box.tensor !== undefined) this.onleaf(box.tensor);
    else this.onpick(box.node);
  }

  async toggle(id) {
    if (!this.open.delete(id)) this.open.add(id);
    await this.redraw(id);
  }

  async setAll(open) {
    this.open = new Set([this.root.id]);
    if (open) everyBox(this.root, (box) => box.children && this.open.add(box.id));
    await this.redraw();
    this.fit();
  }

  /** The first view: the whole graph, or its beginning in a size that can be read. */
  begin() {
    const { width, height } = this.extent;
    const readable = Math.min(1, Math.max(0.6, (this.viewport.size.height - 48) / height));
    this.viewport.fit(width, height, readable);
  }

  /** The whole graph; where that is too long to be seen, the part around the present step. */
  fit() {
    const { width, height } = this.extent;
    const whole = this.viewport.fit(width, height, 0.08);
    if (!whole && this.centre) this.viewport.show(this.boxAt(this.centre), true);
  }

  /** Open whatever hides this op, leaf or group, and bring it to the middle. */
  async reveal(id) {
    let hidden = false;
    for (let group = this.boxes.get(id).parent; group; group = group.parent) {
      hidden = hidden || !this.open.has(group.id);
      this.open.add(group.id);
    }
    if (hidden) await this.redraw();
    this.viewport.show(this.boxAt(id), true);
  }

  boxAt(id) {
    return this.place[id] || this.place[this.standsFor.get(id)];
  }

  /** Light what a step uses: the op's box, its inputs, and the edges between. */
  light(step, phase) {
    this.current = [step, phase];
    for (const element of this.lit) element.classList.remove("now", "near", "forward", "backward");
    this.lit = [];
    const mark = (element, ...names) => {
      if (!element) return;
      element.classList.add(...names, phase);
      this.lit.push(element);
    };
    const at = step.kind === "seed" ? sourceOf(this.trace, step.tensor) : `n${step.node}`;
    const to = this.standsFor.get(at);
    this.centre = at;
    if (step.kind !== "seed") {
      for (const t of this.trace.nodes[step.node].inputs) {
        if (t === null || t === undefined) continue;
        const from = this.standsFor.get(sourceOf(this.trace, t));
        if (step.kind === "backward" && !step.passed.some((p) => p.tensor === t)) continue;
        mark(this.elements.get(from), "near");
        for (const key of this.routes.get(`${from}>${to}`) || []) mark(this.paths.get(key), "now");
      }
    }
    mark(this.elements.get(to), "now");
    for (const path of this.lit) if (path.tagName === "path") path.parentNode.append(path);
  }

  /** Which ops have had their turn: `turns` has the steps of each op, there and back. */
  progress(now, turns) {
    for (const [id, element] of this.elements) {
      const box = this.boxes.get(id);
      if (box.tensor !== undefined) continue;
      element.classList.toggle("done", turns[box.node ?? box.last].forward <= now);
      element.classList.toggle("back", turns[box.node ?? box.first].backward <= now);
    }
  }

  /** The numbers of ops and leaves that a search found. */
  match(ids) {
    const shown = new Set([...ids].map((id) => this.standsFor.get(id)));
    for (const [id, element] of this.elements) element.classList.toggle("match", shown.has(id));
  }
}

/** Asks the worker for layouts; the newest one wins. Without a worker it computes them here. */
class Layout {
  constructor() {
    this.job = 0;
    try {
      const source = find("layout").textContent;
      this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    } catch {
      this.worker = null;
    }
  }

  run(root, edges) {
    const job = ++this.job, begun = performance.now();
    if (!this.worker) return Promise.resolve(layoutGraph(root, edges));
    document.body.classList.add("busy");
    return new Promise((resolve, reject) => {
      const answer = ({ data }) => {
        if (data.job !== job) return;
        this.worker.removeEventListener("message", answer);
        if (job === this.job) document.body.classList.remove("busy");
        this.milliseconds = performance.now() - begun;
        if (data.error) reject(new Error(data.error));
        else resolve(job === this.job ? data.placed : null);
      };
      this.worker.addEventListener("message", answer);
      this.worker.onerror = () => {
        document.body.classList.remove("busy");
        this.worker = null;
        resolve(layoutGraph(root, edges));
      };
      this.worker.postMessage({ job, root, edges });
    });
  }
}

/* From where to where a path leads: it begins with M x y, and ends at an x y, or at an x. */
function span(d) {
  const numbers = d.match(/-?[\d.]+/g).map(Number);
  const end = /H[-\d.]+$/.test(d) ? numbers.at(-1) : numbers.at(-2);
  return [numbers[0], end];
}

function groupTitle(group) {
  return moduleTitle(shortenPath(group.title, 40), shorten(group.kind, 40), " · ");
}

function numberOf(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

function leafName(trace, t) {
  const { name, role } = trace.tensors[t];
  return name ? name.split(".").pop() : role;
}

/** A tensor of one number as that number, or null. */
function scalarOf(trace, t) {
  const { value } = trace.tensors[t];
  return value && value.shape.length === 0 ? `= ${brief(Values.of(value).data[0])}` : null;
}

function tensorShape(trace, t) {
  const tensor = trace.tensors[t];
  const shape = tensor.shape || (tensor.value && tensor.value.shape);
  return shape ? shapeText(shape) : "";
}

/** A module's name and what it is, where the name does not say that already: Linear2. */
function moduleTitle(name, kind, between) {
  const called = name.replace(/ \(call \d+\)$/, "").split(".").pop();
  return !kind || (called.startsWith(kind) && /^\d*$/.test(called.slice(kind.length))) ? name : name + between + kind;
}

/** A path that is too long without its beginning, which the boxes around it tell. */
function shortenPath(path, length) {
  if (path.length <= length) return path;
  const parts = path.split(".");
  while (parts.length > 1 && parts.join(".").length + 1 > length) parts.shift();
  return parts.length > 1 ? `…${parts.join(".")}` : shorten(parts[0], length);
}

function shorten(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
