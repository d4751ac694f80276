"use strict";
/* Pictures: numbers as colours around zero. Every picture tells index and exact number on hover,
 * tap or, once it has the focus, by the arrow keys. */

const HIGHEST_SET = 300; // pixels: a set of small pictures ends here
const WIDEST = 46; // pixels: a cell with its number in it

const PALETTES = {
  light: { ends: [[33, 94, 168], [146, 188, 222], [250, 249, 246], [240, 165, 122], [190, 62, 22]], odd: [214, 0, 190] },
  dark: { ends: [[128, 196, 255], [46, 98, 150], [32, 35, 41], [158, 78, 38], [255, 172, 110]], odd: [255, 90, 235] },
};

/** "dark" or "light", as the page is now. */
function theme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/** The colour of x where `reach` and −reach are the ends of the scale. */
function colour(x, reach) {
  const { ends, odd } = PALETTES[theme()];
  if (Number.isNaN(x) || x === undefined) return odd;
  const at = (Math.max(-1, Math.min(1, x / reach)) + 1) * 2;
  const k = Math.min(3, Math.floor(at)), t = at - k;
  return ends[k].map((c, i) => Math.round(c + (ends[k + 1][i] - c) * t));
}

function css(rgb) {
  return `rgb(${rgb.join(",")})`;
}

/** Paint rows × columns of numbers as cells. */
function paint(pen, { x, y, rows, columns, width, height, at, reach }) {
  const small = new OffscreenCanvas(Math.max(1, columns), Math.max(1, rows));
  const image = new ImageData(Math.max(1, columns), Math.max(1, rows));
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const value = at(r, c);
      image.data.set([...colour(value, reach), value === undefined ? 0 : 255], 4 * (r * columns + c));
    }
  }
  small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, x, y, columns * width, rows * height);
}

/** A canvas that is sharp on any screen, and its pen. */
function sheet(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  return pen;
}

/** The ink of the page, for lines on a canvas. */
function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A picture of Values: tiles of cells, a line that reads them out, and the scale. */
class Picture {
  constructor(values, { weights = false, label = "values" } = {}) {
    this.values = values;
    this.weights = weights;
    this.image = 0;
    this.canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": `${label}: picture of ${values.data.length} numbers; arrow keys read them out` });
    this.readout = make("output", { class: "readout", "aria-live": "polite" }, "Point at a number to read it.");
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
    this.left = make("p", { class: "quiet" });
    this.element = make("figure", { class: "picture" }, this.chooser(), this.canvas, this.readout, legend(values.reach), this.left);
  }

  /** Whether these are images, of which one is shown. */
  get chooses() {
    return this.values.shape.length === 4 && !this.weights;
  }

  /* Which image of the batch is shown. */
  chooser() {
    if (!this.chooses || this.values.axes[0].length < 2) return null;
    const { axes } = this.values;
    const select = make("select", { "aria-label": "image of the batch", onchange: () => {
      this.image = select.selectedIndex;
      this.cursor = null;
      this.draw();
    } }, ...axes[0].map((n) => make("option", {}, `image ${n}`)));
    return make("label", { class: "chooser" }, select);
  }

  /** Draw for the width that there is; called when the picture has its place on the page. */
  draw() {
    const room = Math.max(120, this.element.clientWidth || 300);
    this.tiles = layTiles(this.values, room, this);
    const all = this.values.data.length / (this.chooses ? this.values.axes[0].length : 1);
    const drawn = this.tiles.reduce((n, t) => n + t.rows * t.columns, 0);
    this.left.textContent = drawn < all ? `The first ${this.tiles.length} of ${Math.round((all / drawn) * this.tiles.length)} small pictures are drawn.` : "";
    const height = Math.max(...this.tiles.map((t) => t.y + t.rows * t.height)) + 1;
    const pen = sheet(this.canvas, room, height);
    const { reach } = this.values;
    for (const tile of this.tiles) {
      const at = (r, c) => this.values.at(...tile.index(r, c));
      if (tile.bars) this.drawBars(pen, tile, at);
      else paint(pen, { ...tile, at, reach });
      pen.strokeStyle = ink("--line");
      pen.lineWidth = 1;
      pen.strokeRect(tile.x + 0.5, tile.y + 0.5, tile.columns * tile.width - 1, tile.rows * tile.height - 1);
      if (!tile.bars && tile.width >= 34) this.drawNumbers(pen, tile, at);
    }
    this.drawn = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    this.drawn.getContext("2d").drawImage(this.canvas, 0, 0);
    this.outline();
  }

  drawBars(pen, tile, at) {
    const { reach } = this.values, middle = tile.y + tile.height / 2;
    for (let c = 0; c < tile.columns; c++) {
      const value = at(0, c), part = Number.isNaN(value) ? 1 : Math.min(1, Math.abs(value) / reach);
      const size = part * (tile.height / 2 - 4);
      const gap = tile.width > 5 ? 1 : 0;
      pen.fillStyle = css(colour(Math.sign(value) * (0.45 + 0.55 * part), 1));
      pen.fillRect(tile.x + c * tile.width + gap, value >= 0 ? middle - size : middle, tile.width - 2 * gap, Math.max(1, size));
    }
    pen.fillStyle = ink("--soft");
    pen.fillRect(tile.x, middle, tile.columns * tile.width, 1);
  }

  drawNumbers(pen, tile, at) {
    pen.font = "11px ui-monospace, Menlo, Consolas, monospace";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let r = 0; r < tile.rows; r++) {
      for (let c = 0; c < tile.columns; c++) {
        const value = at(r, c), [red, green, blue] = colour(value, this.values.reach);
        pen.fillStyle = 0.3 * red + 0.6 * green + 0.1 * blue > 140 ? "#16181c" : "#fff";
        pen.fillText(brief(value, 3), tile.x + (c + 0.5) * tile.width, tile.y + (r + 0.5) * tile.height, tile.width - 4);
      }
    }
  }

  /* Mark the cell that is read out, on what is drawn already. */
  outline() {
    if (!this.cursor) return;
    const pen = this.canvas.getContext("2d");
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.drawn, 0, 0);
    pen.restore();
    const { tile, row, column } = this.cursor;
    const t = this.tiles[tile];
    if (!t) return;
    pen.lineWidth = 2;
    pen.strokeStyle = ink("--ink");
    pen.strokeRect(t.x + column * t.width, t.y + row * t.height, t.width, t.height);
  }

  point(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const x = event.clientX - left, y = event.clientY - top;
    const tile = this.tiles.findIndex((t) => x >= t.x && y >= t.y && x < t.x + t.columns * t.width && y < t.y + t.rows * t.height);
    if (tile < 0) return;
    const t = this.tiles[tile];
    this.read({ tile, row: Math.floor((y - t.y) / t.height), column: Math.floor((x - t.x) / t.width) });
  }

  walk(event) {
    const step = arrowStep(event);
    if (!step) return;
    let { tile, row, column } = this.cursor || { tile: 0, row: 0, column: -1 };
    [row, column] = [row + step[0], column + step[1]];
    const t = this.tiles[tile];
    if (column < 0 && tile > 0) [tile, column] = [tile - 1, this.tiles[tile - 1].columns - 1];
    else if (column >= t.columns && tile + 1 < this.tiles.length) [tile, column] = [tile + 1, 0];
    const next = this.tiles[tile];
    this.read({ tile, row: clamp(row, next.rows), column: clamp(column, next.columns) });
  }

  read(cursor) {
    this.cursor = cursor;
    const index = this.tiles[cursor.tile].index(cursor.row, cursor.column);
    const value = this.values.at(...index);
    this.readout.replaceChildren(make("span", { class: "index" }, `[${index.join(", ")}]`), " = ", make("b", {}, this.values.exact(value)));
    this.outline();
  }
}

/** Where an arrow key leads, as [down, right], and then it leads nowhere else; else nothing. */
function arrowStep(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return null;
  event.preventDefault();
  event.stopPropagation();
  return step;
}

function clamp(k, count) {
  return Math.max(0, Math.min(count - 1, k));
}

/** Where each tile stands, how large its cells are, and which index a cell has. */
function layTiles(values, room, { weights, image }) {
  const { axes } = values, last = axes.length - 1;
  if (axes.length === 1) {
    if (axes[0].length * WIDEST <= room) return [{ x: 0, y: 0, rows: 1, columns: axes[0].length, width: WIDEST, height: 28, index: (r, c) => [axes[0][c]] }];
    const columns = axes[0].length, perRow = Math.min(columns, Math.floor(room / 4));
    if (columns <= perRow) {
      const width = Math.min(28, Math.floor(room / columns));
      return [{ x: 0, y: 0, rows: 1, columns, width, height: 84, bars: true, index: (r, c) => [axes[0][c]] }];
    }
    const rows = Math.ceil(columns / perRow);
    return [{ x: 0, y: 0, rows, columns: perRow, width: 4, height: 10, index: (r, c) => [axes[0][r * perRow + c]] }];
  }
  if (axes.length === 2) {
    const index = (r, c) => [axes[0][r], axes[1][c]];
    return [{ x: 0, y: 0, rows: axes[0].length, columns: axes[1].length, ...cell(axes[0].length, axes[1].length, room, 260), index }];
  }
  if (axes.length === 4 && !weights) {
    const [, rows, columns, channels] = axes.map((axis) => axis.length);
    const index = (k) => (r, c) => [axes[0][image], axes[1][r], axes[2][c], axes[3][k]];
    return inRows(channels, rows, columns, room, index);
  }
  const lead = axes.slice(0, last - 1);
  const count = lead.reduce((n, axis) => n * axis.length, 1);
  const index = (k) => (r, c) => {
    const front = [];
    for (let a = lead.length - 1, rest = k; a >= 0; a--) {
      front.unshift(lead[a][rest % lead[a].length]);
      rest = Math.floor(rest / lead[a].length);
    }
    return [...front, axes[last - 1][r], axes[last][c]];
  };
  const across = weights && lead[1].length > 1 ? lead[1].length : undefined;
  return inRows(count, axes[last - 1].length, axes[last].length, room, index, across);
}

/* Cells that fill the room: wide enough for numbers where there are few. */
function cell(rows, columns, width, height) {
  const w = Math.max(1, Math.min(WIDEST, Math.floor(width / columns)));
  const h = Math.max(1, Math.min(28, Math.floor(height / rows)));
  return w >= 34 && h >= 16 ? { width: w, height: h } : { width: Math.min(w, 3 * h), height: Math.min(h, 3 * w) };
}

function inRows(count, rows, columns, room, index, across) {
  const gap = 6;
  const fewest = across || Math.min(count, count > 8 ? 7 : 4);
  const largest = count === 1 ? 200 : 120;
  const size = Math.min(largest, Math.max(Math.min(60, room), Math.floor(room / fewest) - gap));
  const side = Math.max(1, Math.min(40, Math.floor(size / Math.max(rows, columns))));
  const wide = columns * side + gap, high = rows * side + gap;
  const perRow = Math.max(1, Math.min(across || count, Math.floor((room + gap) / wide)));
  const shown = Math.min(count, perRow * Math.max(1, Math.floor(HIGHEST_SET / high)));
  return Array.from({ length: shown }, (_, k) => ({
    x: (k % perRow) * wide, y: Math.floor(k / perRow) * high, rows, columns, width: side, height: side, index: index(k),
  }));
}

/** The scale of the colours. */
function legend(reach) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const pen = sheet(canvas, 96, 8);
  for (let x = 0; x < 96; x++) {
    pen.fillStyle = css(colour((x / 95) * 2 - 1, 1));
    pen.fillRect(x, 0, 1, 8);
  }
  return make("figcaption", { class: "legend" }, make("span", {}, brief(-reach, 3)), canvas, make("span", {}, brief(reach, 3)));
}
