"use strict";
/* Search: ops, modules, tensors and expressions by name. */

class Search {
  constructor(trace, graph, { onop, onleaf, onclose }) {
    this.entries = entriesOf(trace, graph);
    this.graph = graph;
    this.actions = { onop, onleaf, onclose };
    this.input = find("search");
    this.list = find("found");
    this.input.addEventListener("input", () => this.look());
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("focus", () => this.input.value && this.look());
    this.input.addEventListener("blur", () => setTimeout(() => (this.list.hidden = true), 150));
  }

  look() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length ? this.entries.filter((e) => words.every((word) => e.text.includes(word))) : [];
    this.hits = found.slice(0, 50);
    this.chosen = 0;
    this.graph.match(found.map((e) => e.id));
    this.list.hidden = !words.length;
    this.list.replaceChildren(...this.hits.map((e, k) => make("li", {
      role: "option", id: `hit${k}`, onpointerdown: (event) => { event.preventDefault(); this.take(e); },
    }, make("b", {}, e.title), make("span", {}, e.detail))));
    if (words.length && !found.length) this.list.append(make("li", { class: "quiet" }, "Nothing has this name."));
    if (found.length > 50) this.list.append(make("li", { class: "quiet" }, `and ${found.length - 50} more`));
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.choose(0);
  }

  choose(k) {
    this.chosen = clamp(k, this.hits.length);
    [...this.list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.chosen && i < this.hits.length)));
    this.input.setAttribute("aria-activedescendant", this.hits.length ? `hit${this.chosen}` : "");
    if (this.hits.length) this.list.children[this.chosen].scrollIntoView({ block: "nearest" });
  }

  key(event) {
    event.stopPropagation();
    if (event.key === "Escape") this.clear();
    else if (event.key === "ArrowDown" && this.hits) this.choose(this.chosen + 1);
    else if (event.key === "ArrowUp" && this.hits) this.choose(this.chosen - 1);
    else if (event.key === "Enter" && this.hits && this.hits.length) this.take(this.hits[this.chosen]);
    else return;
    event.preventDefault();
  }

  clear() {
    this.input.value = "";
    this.look();
    this.input.blur();
    this.actions.onclose();
  }

  async take(entry) {
    this.list.hidden = true;
    this.input.blur();
    await this.graph.reveal(entry.id);
    const box = this.graph.boxes.get(entry.id);
    if (box.node !== undefined) this.actions.onop(box.node);
    else if (box.tensor !== undefined) this.actions.onleaf(box.tensor);
    else this.actions.onop(box.first);
    this.graph.match([entry.id]);
  }
}

/* Everything that can be found, with the text it is found by. */
function entriesOf(trace, graph) {
  return [...graph.boxes.values()].map((box) => {
    let title, detail;
    if (box.children) [title, detail] = [box.title, `module ${box.kind}`];
    else if (box.tensor !== undefined) [title, detail] = [trace.tensors[box.tensor].name || trace.tensors[box.tensor].role, `${trace.tensors[box.tensor].role} ${tensorShape(trace, box.tensor)}`];
    else {
      const node = trace.nodes[box.node], module = trace.modules[node.module ?? 0];
      [title, detail] = [plainName(node.op), [module.name, node.expression || tensorShape(trace, node.output)].filter(Boolean).join("  ")];
    }
    return { id: box.id, title, detail, text: `${title} ${detail}`.toLowerCase() };
  });
}
