"use strict";
/* Timeline: which step is shown; playing, stepping, the link to a step. */

class Timeline {
  constructor(trace, onstep) {
    this.steps = trace.steps;
    this.onstep = onstep;
    this.now = -1;
    this.turn = Math.max(0, this.steps.findIndex((step) => step.kind === "seed"));
    this.slider = find("slider");
    this.slider.max = this.steps.length;
    this.slider.style.setProperty("--turn", `${(100 * this.turn) / Math.max(1, this.steps.length - 1)}%`);
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value) - 1));
    this.slider.addEventListener("change", () => this.remember(true));
    const actions = { first: () => this.jump(0), back: () => this.step(-1), play: () => this.toggle(), next: () => this.step(1), last: () => this.jump(this.steps.length - 1), turn: () => this.jump(this.turn) };
    for (const [id, action] of Object.entries(actions)) find(id).addEventListener("click", action);
    document.addEventListener("click", (event) => this.follow(event));
    addEventListener("hashchange", () => this.read());
    addEventListener("popstate", () => this.read());
  }

  /** Show the step that the address names, or the first. */
  read() {
    const named = /^#step=(\d+)$/.exec(location.hash);
    this.go(named ? Number(named[1]) - 1 : Math.max(0, this.now));
    if (!named) this.remember(false);
  }

  go(index) {
    const at = clamp(index, this.steps.length);
    if (at === this.now) return;
    this.now = at;
    const step = this.steps[at], number = at + 1;
    this.slider.value = number;
    const said = `step ${number} of ${this.steps.length}, ${step.kind === "seed" ? "backward begins" : step.kind}`;
    this.slider.setAttribute("aria-valuetext", said);
    find("spoken").textContent = this.timer ? "" : said;
    find("count").replaceChildren(make("b", {}, String(number)), ` / ${this.steps.length}`);
    find("count").setAttribute("href", `#step=${number}`);
    this.onstep(step, number);
  }

  /** One step on or back: it takes the present step's place in the history. */
  step(by) {
    this.stop();
    this.go(this.now + by);
    this.remember(false);
  }

  /** To a far step: the browser's back button leads here again. */
  jump(index) {
    this.stop();
    this.go(index);
    this.remember(true);
  }

  /* In a notebook's frame a link that is only a # would lead away, so the page follows it itself. */
  follow(event) {
    const link = event.target.closest("a[href^='#step=']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.jump(Number(link.getAttribute("href").slice(6)) - 1);
  }

  remember(anew) {
    if (location.protocol === "about:") return; // a notebook's frame has no address of its own
    const hash = `#step=${this.now + 1}`;
    if (location.hash === hash) return;
    if (anew) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  }

  toggle() {
    if (this.timer) return this.stop();
    if (this.now === this.steps.length - 1) this.go(0);
    find("play").classList.add("playing");
    find("play").setAttribute("aria-label", "pause");
    const tick = () => {
      this.go(this.now + 1);
      this.remember(false);
      if (this.now === this.steps.length - 1) this.stop();
      else this.timer = setTimeout(tick, 1000 / Number(find("speed").value));
    };
    this.timer = setTimeout(tick, 250);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    find("play").classList.remove("playing");
    find("play").setAttribute("aria-label", "play");
  }
}
