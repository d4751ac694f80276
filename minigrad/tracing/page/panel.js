"use strict";
/* Panel: what happens at the current step, in words, code and pictures. */

class Panel {
  constructor(trace, turns, onmodule) {
    this.trace = trace;
    this.turns = turns;
    this.onmodule = onmodule;
    this.again = () => {}; // fills the panel as it is, in the colours of the day
    this.element = find("panel");
    this.width = 0;
    new ResizeObserver(() => this.element.clientWidth !== this.width && this.drawAll()).observe(this.element);
  }

  show(step, number) {
    this.again = () => this.show(step, number);
    const parts = step.kind === "seed" ? this.seed(step) : step.kind === "forward" ? this.forward(step) : this.backward(step);
    this.fill(parts, number);
  }

  fill(parts, number) {
    const story = make("div", { class: "story" }, ...parts.story.filter(Boolean));
    const [into, out] = [parts.into, parts.out].map(({ title, cards }) =>
      make("div", { class: "side" }, make("h3", {}, title), ...cards.map((c) => c.element)));
    this.cards = [...parts.into.cards, ...parts.out.cards, ...(parts.wide || [])];
    const key = `${number}`;
    this.element.replaceChildren(story, ...(parts.wide || []).map((w) => w.element), into, out);
    if (this.key !== key) this.element.scrollTop = 0;
    this.key = key;
    this.drawAll();
  }

  drawAll() {
    this.width = this.element.clientWidth;
    for (const card of this.cards || []) card.draw();
  }

  forward(step) {
    const { trace } = this, node = trace.nodes[step.node];
    const cards = node.inputs.map((t, position) => this.inputCard(node, t, position)).filter(Boolean);
    const out = this.tensorCard(node.output, "output", node);
    return {
      story: [...this.head(node, step.again ? "forward, once more" : "forward"),
        make("p", { class: "lesson" }, sentenceFor(node, false)),
        step.again && make("p", { class: "quiet" }, "A checkpoint let this value go; backward needs it, so it is computed again."),
        this.rule("The op as it stands in the source", node.value_rule && [{ text: node.value_rule }], "forward"),
        this.config(node), this.code(node), this.link("Its turn in backward", step.node, "backward")],
      into: { title: cards.length === 1 ? "What goes in" : `What goes in: ${numberWord(cards.length)} inputs`, cards },
      out: { title: "What comes out", cards: [out] },
      wide: this.convolution(node),
    };
  }

  backward(step) {
    const { trace } = this, node = trace.nodes[step.node];
    const arrives = card(step.g, { title: "g", tags: ["gradient"], shape: trace.tensors[node.output].shape });
    const cards = step.passed.map((passed) => this.passedCard(node, passed));
    return {
      story: [...this.head(node, "backward"),
        make("p", { class: "lesson" }, sentenceFor(node, true)),
        this.rule(node.rules.length > 1 ? "The rules as they stand in the source" : "The rule as it stands in the source", node.rules),
        this.code(node), this.link("Its turn in forward", step.node, "forward")],
      into: { title: "The gradient that arrives", cards: [arrives] },
      out: { title: cards.length === 1 ? "What is passed on" : `What is passed on: ${numberWord(cards.length)} gradients`, cards },
    };
  }

  seed(step) {
    const { trace } = this, tensor = trace.tensors[step.tensor];
    const value = this.tensorCard(step.tensor, tensor.name || "loss");
    const one = card(tensor.grad, { title: "its own gradient", tags: ["gradient"] });
    const start = tensor.grad ? one : { element: make("section", { class: "card" }, make("p", { class: "number" }, "1")), draw() {} };
    return {
      story: [make("p", { class: "kicker backward" }, "the turn"), make("h2", {}, "Backward begins"), make("p", { class: "lesson" }, SEED_SENTENCE),
        make("p", {}, "From here each op is visited once, the newest first: when its turn comes, every gradient that it will ever get has arrived.")],
      into: { title: "The loss", cards: [value] },
      out: { title: "Where the chain rule starts", cards: [start] },
    };
  }

  /** An input, parameter or constant: what it holds, and the gradient that it ends up with. */
  leaf(t) {
    this.again = () => this.leaf(t);
    const { trace } = this, tensor = trace.tensors[t];
    const users = trace.nodes.filter((node) => node.inputs.includes(t));
    const weights = users.some((node) => isWeights(trace, t, node, node.inputs.indexOf(t)));
    const what = { parameter: "A parameter: training changes it, against its gradient.", input: "An input: it is given, not computed.", constant: "A constant: no gradient flows to it." };
    this.fill({
      story: [make("p", { class: "kicker" }, tensor.role), make("h2", {}, tensor.name || tensor.role), make("p", { class: "lesson" }, what[tensor.role] || ""),
        make("p", {}, `Used by ${users.map((node) => plainName(node.op)).join(", ")}.`), make("p", { class: "quiet" }, "Step on to go back to the timeline.")],
      into: { title: "Its value", cards: [this.tensorCard(t, tensor.name || tensor.role, null, weights)] },
      out: { title: "Its gradient, when backward is done", cards: tensor.grad ? [card(tensor.grad, { title: ".grad", tags: ["gradient"], weights })] : [] },
    }, `t${t}`);
  }

  head(node, phase) {
    const path = modulePath(this.trace, node.module).slice(1);
    const crumbs = path.length ? make("nav", { class: "crumbs", "aria-label": "modules" }, ...path.map((m) => {
      const { name, type } = this.trace.modules[m];
      return make("button", { type: "button", onclick: () => this.onmodule(this.trace.nodes.indexOf(node)) }, moduleTitle(shorten(name.split(".").pop(), 30), shorten(type, 30), " "));
    })) : null;
    return [make("p", { class: `kicker ${phase.split(",")[0]}` }, phase), make("h2", {}, plainName(node.op)), crumbs].filter(Boolean);
  }

  inputCard(node, t, position) {
    if (t === null || t === undefined) return null;
    return this.tensorCard(t, inputTitle(this.trace, node, position), node, isWeights(this.trace, t, node, position));
  }

  tensorCard(t, title, node = null, weights = false) {
    const { role, value, shape } = this.trace.tensors[t];
    return card(value, { title, weights, shape, tags: role === "value" ? [] : [role] });
  }

  passedCard(node, passed) {
    const { trace } = this, { input, tensor: t } = passed;
    const name = input === null || input === undefined ? leafName(trace, t) : inputTitle(trace, node, input);
    const weights = input !== null && input !== undefined && isWeights(trace, t, node, input);
    const rule = node.rules.find((r) => r.input === node.names[input]);
    const note = make("div", { class: "passed" }, rule && make("code", {}, rule.text), this.arrival(passed), this.onward(t));
    const one = card(passed.gradient, { title: `to ${name}`, note, weights, tags: ["gradient"], shape: trace.tensors[t].shape });
    if (passed.of === 1 || passed.arrived === 1) return one;
    const total = card(passed.total, { title: passed.arrived === passed.of ? `total at ${name}` : `total at ${name} so far`, weights, tags: ["sum"] });
    one.element.append(total.element);
    return { element: one.element, draw() { one.draw(); total.draw(); } };
  }

  /** Where a gradient goes from here. */
  onward(t) {
    const { node, role } = this.trace.tensors[t];
    if (isMade(this.trace, t)) return this.link("It goes on at", node, "backward");
    return role === "parameter" ? make("p", { class: "onward" }, "It stays here: backward adds it to .grad.") : null;
  }

  /** A link to an op's turn, where it has one. */
  link(text, node, phase) {
    const turn = this.turns[node][phase];
    if (turn === Infinity) return null;
    return make("p", { class: "onward" }, `${text} `, make("a", { href: `#step=${turn + 1}` }, `step ${turn + 1}: ${plainName(this.trace.nodes[node].op)}`));
  }

  arrival(passed) {
    const dots = Array.from({ length: Math.min(passed.of, 12) }, (_, k) => make("i", { class: k < passed.arrived ? "full" : "" }));
    return make("p", { class: "arrival" }, passed.of > 1 && make("span", { class: "dots", "aria-hidden": "true" }, ...dots),
      passed.of > 1 && make("b", {}, `${passed.arrived} of ${passed.of} arrived`), ` ${arrivalSentence(passed)}`);
  }

  rule(title, rules, phase = "backward") {
    if (!rules || !rules.length) return null;
    const once = (list) => [...new Set(list.filter(Boolean))];
    return make("div", {}, make("h5", {}, title),
      ...once(rules.map((r) => r.text)).map((text) => make("pre", { class: `rule ${phase}` }, text)),
      ...once(rules.map((r) => r.joint)).map((text) =>
        make("details", {}, make("summary", {}, "One rule for all of them: its source"), make("pre", { class: "source", tabindex: "0" }, text))),
      ...once(rules.map((r) => r.source)).map((text) => make("p", { class: "quiet" }, text)));
  }

  config(node) {
    const entries = Object.entries(node.config || {});
    if (!entries.length) return null;
    return make("p", { class: "config" }, ...entries.map(([key, value]) => make("code", {}, `${key}=${value}`)));
  }

  /** The source around the line that made the node. */
  code(node) {
    const { line, expression } = node, file = line && this.trace.files[line.file];
    if (!file) return expression ? make("div", {}, make("h5", {}, "Called as"), make("pre", { class: "rule" }, expression)) : null;
    const at = line.number - file.first;
    const from = Math.max(0, at - 3);
    const rows = file.lines.slice(from, at + 4).map((text, k) =>
      make("span", { class: from + k === at ? "row here" : "row" }, make("i", {}, String(file.first + from + k)), ...(from + k === at ? underlined(text, expression) : [text]), "\n"));
    return make("div", {}, make("h5", {}, `Called at ${line.file}, line ${line.number}`), make("pre", { class: "source", tabindex: "0", "aria-label": `source of ${line.file}` }, ...rows));
  }

  convolution(node) {
    if (!node.convolution || !node.names.includes("w")) return [];
    const convolution = new Convolution(this.trace, node);
    if (convolution.missing) return [{ element: make("section", { class: "gemm wide" }, make("p", { class: "quiet" }, convolution.missing)), draw() {} }];
    return [convolution.pointwise ? new Gemm(convolution) : new Taps(convolution)];
  }
}

/* A line of code with the expression that made the op marked, if it is there once. */
function underlined(text, expression) {
  const parts = expression ? text.split(expression) : [];
  return parts.length === 2 ? [parts[0], make("mark", {}, expression), parts[1]] : [text];
}
