"use strict";
/* Layout: where each box stands, left to right. Runs in a worker; knows nothing of the page.
 *
 * dagre lays out one group at a time, the innermost first, and a finished group is one box in the
 * group around it. So the time grows with the number of boxes, where dagre's own nested groups took
 * 49 s for 645 boxes in 216 groups. An edge that crosses a border does so at a port: one for each
 * source, at the left border coming in, at the right going out.
 *
 * A group is {id, children, header: height, minWidth}; a box is {id, width, height}; an edge is
 * {from, to}, ids of boxes. Children stand in an order in which no edge leads back.
 */

const SPACE = { between: 14, columns: 40, inside: 14 };

function layoutGraph(root, edges) {
  const index = new Map(); // id -> {box, chain: the groups around it, outermost first}
  (function visit(group, chain) {
    for (const child of group.children) {
      index.set(child.id, { box: child, chain: [...chain, group] });
      if (child.children) visit(child, [...chain, group]);
    }
  })(root, []);
  const segments = cutAtBorders(index, edges);
  arrange(root, segments);
  const placed = { boxes: {}, groups: {}, segments: {}, width: root.width, height: root.height };
  place(root, 0, 0, segments, placed);
  placed.routes = edges.map((edge) => edge.segments);
  return placed;
}

/* Each edge as pieces that stay within one group; pieces from one source are shared. */
function cutAtBorders(index, edges) {
  const byGroup = new Map(); // group -> Map of key -> segment
  for (const edge of edges) {
    const from = index.get(edge.from), to = index.get(edge.to);
    const up = from.chain, down = to.chain;
    let common = 0;
    while (common + 1 < Math.min(up.length, down.length) && up[common + 1] === down[common + 1]) common++;
    edge.segments = [];
    const add = (group, a, b) => {
      const key = `${group.id}|${edge.from}|${a}|${b}`;
      if (!byGroup.has(group)) byGroup.set(group, new Map());
      const known = byGroup.get(group);
      if (!known.has(key)) known.set(key, { key, a, b, source: edge.from });
      edge.segments.push(key);
    };
    let last = from.box;
    for (let i = up.length - 1; i > common; i--) {
      add(up[i], last.id, `out:${edge.from}`);
      last = up[i];
    }
    const first = common + 1 < down.length ? down[common + 1] : to.box;
    add(up[common], last.id, first.id);
    for (let i = common + 1; i < down.length; i++) {
      add(down[i], `in:${edge.from}`, (down[i + 1] || to.box).id);
    }
  }
  return byGroup;
}

/* Lay out what is inside, then the group itself; its ports' heights are kept for its parent. */
function arrange(group, byGroup) {
  for (const child of group.children) if (child.children) arrange(child, byGroup);
  const segments = [...(byGroup.get(group) || new Map()).values()];
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({
    rankdir: "LR", nodesep: SPACE.between, edgesep: 10, ranksep: SPACE.columns,
    ranker: group.children.length > 200 ? "longest-path" : "network-simplex",
  });
  for (const child of group.children) graph.setNode(child.id, { width: child.width, height: child.height });
  const rank = ranks(group, segments);
  const last = Math.max(0, ...rank.values()) + 1;
  for (const { a, b, source } of segments) {
    let least = 1;
    if (a.startsWith("in:")) {
      graph.setNode(a, { width: 1, height: 1 });
      least = rank.get(b) + 1; // so that ports stand in the first column,
    }
    if (b.startsWith("out:")) {
      graph.setNode(b, { width: 1, height: 1 });
      least = last - rank.get(a); // or in the last
    }
    graph.setEdge(a, b, { minlen: least, weight: a.startsWith("in:") ? 1 : 2 }, source);
  }
  dagre.layout(graph);
  const size = graph.graph();
  const margin = group.header === undefined ? 0 : SPACE.inside;
  const header = group.header || 0;
  group.width = Math.max(group.minWidth || 0, (size.width || 0) + 2 * margin);
  group.height = (size.height || 0) + 2 * margin + header;
  const shift = (group.width - (size.width || 0)) / 2;
  group.at = new Map();
  const columns = new Map();
  for (const id of graph.nodes()) {
    const { x, y, width } = graph.node(id);
    group.at.set(id, { x: x + shift, y: y + margin + header });
    if (!/^(in|out):/.test(id)) {
      const key = Math.round(x + shift);
      columns.set(key, Math.max(columns.get(key) || 0, width));
    }
  }
  for (const segment of segments) {
    const points = graph.edge({ v: segment.a, w: segment.b, name: segment.source }).points.slice(1, -1);
    segment.through = points.map((p) => ({ x: p.x + shift, y: p.y + margin + header }));
  }
  group.columns = columns;
}

/* The longest way to each child from the left, counted in edges. */
function ranks(group, segments) {
  const rank = new Map(group.children.map((child) => [child.id, 0]));
  const into = new Map();
  for (const s of segments) {
    if (!rank.has(s.a) || !rank.has(s.b)) continue;
    if (!into.has(s.b)) into.set(s.b, []);
    into.get(s.b).push(s.a);
  }
  for (const child of group.children) {
    for (const a of into.get(child.id) || []) rank.set(child.id, Math.max(rank.get(child.id), rank.get(a) + 1));
  }
  return rank;
}

/* Absolute positions, from the outermost group to the innermost. */
function place(group, x, y, byGroup, placed) {
  const corner = new Map();
  for (const child of group.children) {
    const at = group.at.get(child.id);
    const box = { x: x + at.x - child.width / 2, y: y + at.y - child.height / 2, width: child.width, height: child.height };
    corner.set(child.id, { child, box });
    (child.children ? placed.groups : placed.boxes)[child.id] = box;
    if (child.children) place(child, box.x, box.y, byGroup, placed);
  }
  const segments = [...(byGroup.get(group) || new Map()).values()];
  const entries = spread(segments, corner, "b", (s) => (s.through.length ? s.through[s.through.length - 1].y : group.at.get(s.a).y));
  for (const s of segments) {
    const start = s.a.startsWith("in:") ? { x, y: y + group.at.get(s.a).y } : leaving(corner.get(s.a), s.source);
    const end = s.b.startsWith("out:") ? { x: x + group.width, y: y + group.at.get(s.b).y } : entering(corner.get(s.b), s, entries);
    placed.segments[s.key] = path(start, end, s, group, x, y);
  }
}

function leaving({ child, box }, source) {
  const port = child.at && child.at.get(`out:${source}`);
  return { x: box.x + box.width, y: box.y + (port ? port.y : box.height / 2) };
}

function entering({ child, box }, segment, entries) {
  const port = child.at && child.at.get(`in:${segment.source}`);
  return { x: box.x, y: box.y + (port ? port.y : box.height * entries.get(segment)) };
}

/* Several edges into one box enter it at several heights, in the order in which they come. */
function spread(segments, corner, end, height) {
  const by = new Map();
  for (const s of segments) {
    if (!corner.has(s[end])) continue;
    if (!by.has(s[end])) by.set(s[end], []);
    by.get(s[end]).push(s);
  }
  const share = new Map();
  for (const list of by.values()) {
    list.sort((p, q) => height(p) - height(q));
    list.forEach((s, i) => share.set(s, (i + 1) / (list.length + 1)));
  }
  return share;
}

/* A smooth line that changes height only between columns, so that it crosses no box. */
function path(start, end, segment, group, x, y) {
  const points = [start];
  const column = (id) => (group.at.has(id) ? group.columns.get(Math.round(group.at.get(id).x)) : undefined);
  const run = (cx, cy, width) => points.push({ x: cx - width / 2, y: cy }, { x: cx + width / 2, y: cy });
  if (column(segment.a)) points.push({ x: x + group.at.get(segment.a).x + column(segment.a) / 2, y: start.y });
  for (const p of segment.through) {
    const width = group.columns.get(Math.round(p.x));
    if (width) run(x + p.x, y + p.y, width);
  }
  if (column(segment.b)) points.push({ x: x + group.at.get(segment.b).x - column(segment.b) / 2, y: end.y });
  points.push(end);
  let d = `M${round(start.x)} ${round(start.y)}`;
  for (let i = 1; i < points.length; i++) {
    const p = points[i - 1], q = points[i];
    if (q.x <= p.x && q.y === p.y) continue;
    const bend = (q.x - p.x) / 2;
    d += p.y === q.y ? `H${round(q.x)}` : `C${round(p.x + bend)} ${round(p.y)} ${round(q.x - bend)} ${round(q.y)} ${round(q.x)} ${round(q.y)}`;
  }
  return d;
}

function round(v) {
  return Math.round(v * 10) / 10;
}

if (typeof WorkerGlobalScope !== "undefined") {
  onmessage = ({ data: { job, root, edges } }) => {
    try {
      postMessage({ job, placed: layoutGraph(root, edges) });
    } catch (error) {
      postMessage({ job, error: String(error) });
    }
  };
}
