"use strict";
/* Viewport: moving and zooming the graph by wheel, drag, pinch and buttons. */

class Viewport {
  constructor(svg, world) {
    this.svg = svg;
    this.world = world;
    this.x = this.y = 0;
    this.scale = 1;
    this.pointers = new Map();
    svg.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.press(event));
    svg.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, (event) => this.release(event));
  }

  get size() {
    const { width, height } = this.svg.getBoundingClientRect();
    return { width, height };
  }

  apply() {
    this.world.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
    this.svg.classList.toggle("far", this.scale < 0.45);
    if (this.onmove) this.onmove(-this.x / this.scale, (this.size.width - this.x) / this.scale);
  }

  wheel(event) {
    event.preventDefault();
    if (event.shiftKey) {
      this.x -= event.deltaY || event.deltaX;
      return this.apply();
    }
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.x -= event.deltaX;
      return this.apply();
    }
    const step = event.deltaMode === 1 ? 20 : 1;
    this.zoom(Math.exp(-event.deltaY * step * (event.ctrlKey ? 0.01 : 0.0016)), this.inside(event));
  }

  inside(event) {
    const { left, top } = this.svg.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** Zoom by a factor around a point that stays where it is; the middle by default. */
  zoom(factor, around) {
    const { width, height } = this.size;
    const at = around || { x: width / 2, y: height / 2 };
    const scale = Math.min(3, Math.max(0.02, this.scale * factor));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.apply();
  }

  press(event) {
    if (event.button > 0) return;
    this.pointers.set(event.pointerId, this.inside(event));
    this.moved = false;
  }

  drag(event) {
    if (!this.pointers.has(event.pointerId)) return;
    const before = [...this.pointers.values()];
    const last = this.pointers.get(event.pointerId), now = this.inside(event);
    if (!this.moved && this.pointers.size === 1 && Math.hypot(now.x - last.x, now.y - last.y) < 4) return;
    this.moved = true;
    this.svg.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, now);
    const after = [...this.pointers.values()];
    if (after.length === 1) {
      this.x += now.x - last.x;
      this.y += now.y - last.y;
      return this.apply();
    }
    const apart = ([p, q]) => Math.hypot(p.x - q.x, p.y - q.y) || 1;
    const middle = ([p, q]) => ({ x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 });
    this.x += middle(after).x - middle(before).x;
    this.y += middle(after).y - middle(before).y;
    this.zoom(apart(after) / apart(before), middle(after));
  }

  release(event) {
    this.pointers.delete(event.pointerId);
  }

  /** Whether the press that just ended moved the picture, so that it was no click. */
  get dragged() {
    return Boolean(this.moved);
  }

  /** Show all of it, if that can be done at the least scale or above; says whether it could. */
  fit(width, height, least) {
    const room = this.size, margin = 24;
    const scale = Math.min(1.25, (room.width - 2 * margin) / width, (room.height - 2 * margin) / height);
    this.scale = Math.max(least, scale);
    this.x = scale >= least ? (room.width - width * this.scale) / 2 : margin;
    this.y = (room.height - height * this.scale) / 2;
    this.apply();
    return scale >= least;
  }

  /** Bring a box into view, moving no more than is needed; `always` puts it in the middle. */
  show(box, always = false) {
    const { width, height } = this.size, margin = 60;
    const left = box.x * this.scale + this.x, top = box.y * this.scale + this.y;
    const right = left + box.width * this.scale, bottom = top + box.height * this.scale;
    const out = (low, high, size) => low < Math.min(margin, size / 5) || high > size - Math.min(margin, size / 5);
    if (always || out(left, right, width)) this.x += width / 2 - (left + right) / 2;
    if (always || top < 8 || bottom > height - 8) this.y += height / 2 - (top + bottom) / 2;
    this.apply();
  }
}
