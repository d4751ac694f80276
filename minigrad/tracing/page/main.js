"use strict";
/* Main: puts the rooms together. */

async function main() {
  const trace = resolve(await unpack(find("data").textContent));
  find("title").textContent = trace.title;
  find("version").textContent = `minigrad ${trace.minigrad}`;
  const turns = turnsOf(trace);
  const graph = new Graph(trace, { onpick: (node) => timeline.jump(turnNear(node)), onleaf: (t) => showLeaf(t) });
  const panel = new Panel(trace, turns, (node) => graph.reveal(`n${node}`));
  const showLeaf = (t) => {
    timeline.stop();
    panel.leaf(t);
    graph.match([`t${t}`]);
  };
  let ready = false, present = null;
  const show = (step, number) => {
    present = [step, number];
    panel.show(step, number);
    if (ready) lightUp();
  };
  const lightUp = () => {
    const [step] = present;
    graph.light(step, step.kind === "forward" ? "forward" : "backward");
    graph.progress(timeline.now, turns);
    const id = step.kind === "seed" ? sourceOf(trace, step.tensor) : `n${step.node}`;
    graph.viewport.show(graph.boxAt(id));
  };
  const timeline = new Timeline(trace, show);
  const turnNear = (node) => (timeline.now < timeline.turn || turns[node].backward === Infinity ? turns[node].forward : turns[node].backward);
  graph.onredraw = () => ready && graph.progress(timeline.now, turns);
  const search = new Search(trace, graph, {
    onop: (node) => timeline.jump(turnNear(node)), onleaf: showLeaf, onclose: () => graph.match([]),
  });
  setUpTheme(() => panel.again());
  setUpButtons(graph);
  setUpKeys({ timeline, graph, search });
  timeline.read();
  await graph.redraw();
  ready = true;
  graph.begin();
  lightUp();
  document.body.dataset.ready = "yes";
  window.minigradTrace = { trace, graph, timeline, panel }; // for the curious, in the console
}

/* For each op the steps at which it has its turn, there and back; Infinity where it has none. */
function turnsOf(trace) {
  const turns = trace.nodes.map(() => ({ forward: Infinity, backward: Infinity }));
  let seeded = false;
  trace.steps.forEach((step, at) => {
    if (step.kind === "seed") seeded = true;
    else {
      const turn = turns[step.node];
      if (step.kind === "forward" && seeded) step.again = true;
      turn[step.kind] = Math.min(turn[step.kind], at);
    }
  });
  return turns;
}

function setUpTheme(onchange) {
  const root = document.documentElement;
  find("theme").addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    onchange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onchange);
}

function setUpButtons(graph) {
  const actions = {
    closer: () => graph.viewport.zoom(1.3), farther: () => graph.viewport.zoom(1 / 1.3),
    fit: () => graph.fit(),
    unfold: () => graph.setAll(true), fold: () => graph.setAll(false),
    about: () => find("help-box").showModal(),
  };
  for (const [id, action] of Object.entries(actions)) find(id).addEventListener("click", action);
  find("help-box").addEventListener("click", (event) => event.target === event.currentTarget && event.target.close());
}

function setUpKeys({ timeline, graph, search }) {
  const keys = {
    ArrowRight: () => timeline.step(1), ArrowLeft: () => timeline.step(-1), " ": () => timeline.toggle(),
    Home: () => timeline.jump(0), End: () => timeline.jump(timeline.steps.length - 1), b: () => timeline.jump(timeline.turn),
    "/": () => search.input.focus(), "?": () => find("help-box").showModal(),
    "+": () => graph.viewport.zoom(1.3), "-": () => graph.viewport.zoom(1 / 1.3),
    f: () => find("fit").click(), t: () => find("theme").click(),
    Escape: () => { timeline.stop(); search.clear(); },
  };
  addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || find("help-box").open) return;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    if (event.key === " " && target.matches("button, a, [role=button]")) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

main().catch((error) => {
  find("panel").replaceChildren(make("p", { class: "alarm" }, `This page could not be shown: ${error.message}`));
  throw error;
});
