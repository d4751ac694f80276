"use strict";
/* Groups: ops inside the modules that called them, as boxes inside boxes.
 *
 * One group is one stretch of ops that one module made. A module that is called twice has two
 * groups, so that no edge ever leads back to the left.
 */

const CROWD = 120; // more boxes than this are not opened by themselves

/** The tree: {id, module, title, kind, children, parent, first, last}; ops and leaves at its ends. */
function buildGroups(trace) {
  const root = { id: "g0", module: 0, children: [], parent: null, title: trace.title, kind: "" };
  const calls = new Map();
  let open = [root], serial = 0;
  const start = (module, parent, first) => {
    calls.set(module, (calls.get(module) || 0) + 1);
    const { name, type } = trace.modules[module];
    const call = calls.get(module) > 1 ? ` (call ${calls.get(module)})` : "";
    const group = { id: `g${++serial}`, module, parent, children: [], title: name + call, kind: type, first };
    parent.children.push(group);
    return group;
  };
  trace.nodes.forEach((node, k) => {
    const path = modulePath(trace, node.module);
    let depth = 1;
    while (depth < open.length && depth < path.length && open[depth].module === path[depth]) depth++;
    open = open.slice(0, depth);
    for (; depth < path.length; depth++) open.push(start(path[depth], open[depth - 1], k));
    for (const group of open) group.last = k;
    open[depth - 1].children.push({ id: `n${k}`, node: k, first: k, parent: open[depth - 1] });
  });
  serial = splitCrowds(root, serial);
  const home = new Map(); // op -> its group
  everyBox(root, (box) => box.node !== undefined && home.set(box.node, box.parent));
  addLeaves(trace, home);
  return root;
}

function modulePath(trace, module) {
  const path = [];
  for (let m = module ?? 0; m !== null && m !== undefined; m = trace.modules[m].parent) path.unshift(m);
  return path[0] === 0 ? path : [0, ...path];
}

function everyBox(group, visit) {
  for (const child of group.children) {
    visit(child);
    if (child.children) everyBox(child, visit);
  }
}

/* A long row of ops without modules becomes stretches that can be folded. */
function splitCrowds(group, serial) {
  for (const child of group.children) if (child.children) serial = splitCrowds(child, serial);
  if (group.children.length <= CROWD) return serial;
  const size = Math.max(40, Math.ceil(group.children.length / 60));
  const stretches = [];
  for (let i = 0; i < group.children.length; i += size) {
    const part = group.children.slice(i, i + size);
    const stretch = { id: `g${++serial}`, module: group.module, parent: group, children: part, first: part[0].first, kind: "" };
    stretch.last = part.at(-1).last ?? part.at(-1).node;
    stretch.title = `part ${stretches.length + 1}`;
    for (const child of part) child.parent = stretch;
    stretches.push(stretch);
  }
  group.children = stretches;
  return serial;
}

/* Inputs, parameters and constants stand in the innermost group that holds all who use them. */
function addLeaves(trace, home) {
  const users = new Map();
  trace.nodes.forEach((node, k) => {
    for (const t of node.inputs) {
      if (t === null || t === undefined || isMade(trace, t)) continue;
      if (!users.has(t)) users.set(t, []);
      users.get(t).push(k);
    }
  });
  const touched = new Set();
  for (const [t, ops] of users) {
    let group = home.get(ops[0]);
    for (const k of ops) while (!holds(group, home.get(k))) group = group.parent;
    if (trace.tensors[t].role === "input") while (group.parent) group = group.parent;
    group.children.push({ id: `t${t}`, tensor: t, first: ops[0] - 0.5, parent: group });
    touched.add(group);
  }
  for (const group of touched) group.children.sort((a, b) => a.first - b.first);
}

function isMade(trace, t) {
  const { node } = trace.tensors[t];
  return node !== null && node !== undefined;
}

function holds(group, inner) {
  for (let g = inner; g; g = g.parent) if (g === group) return true;
  return false;
}

function countOps(group) {
  let count = 0;
  everyBox(group, (box) => (count += box.node !== undefined));
  return count;
}

/** Open groups from the outside in, as long as the picture does not get crowded. */
function openByDefault(root) {
  const open = new Set();
  const queue = [root];
  let shown = 0;
  while (queue.length) {
    const group = queue.shift();
    if (shown + group.children.length > CROWD && group !== root) continue;
    open.add(group.id);
    shown += group.children.length - 1;
    queue.push(...group.children.filter((child) => child.children));
  }
  return open;
}

/** What is seen: for each op and leaf the box that stands for it, and the edges between boxes. */
function visibleGraph(trace, root, open) {
  const standsFor = new Map();
  (function visit(group, closed) {
    for (const child of group.children) {
      standsFor.set(child.id, closed || child.id);
      if (child.children) visit(child, closed || (open.has(child.id) ? null : child.id));
    }
  })(root, null);
  const edges = new Map();
  trace.nodes.forEach((node, k) => {
    const to = standsFor.get(`n${k}`);
    for (const t of node.inputs) {
      if (t === null || t === undefined) continue;
      const from = standsFor.get(sourceOf(trace, t));
      if (from && from !== to) edges.set(`${from}>${to}`, { from, to });
    }
  });
  return { standsFor, edges };
}

/** The id of the op or leaf that a tensor comes from. */
function sourceOf(trace, t) {
  return isMade(trace, t) ? `n${trace.tensors[t].node}` : `t${t}`;
}
