// Two properties against each other. Its axes are those of their histograms, whose ranges a
// rectangle selects.

const NEAR = 10; // px from a point that a click may be off

const scatter = {
  x: null,
  y: null,

  build() {
    if (histograms.length < 2) {
      drop("scatter");
      return;
    }
    this.canvas = byId("points");
    for (const [axis, usual] of [["x", 0], ["y", 1]]) {
      const select = byId(`scatter-${axis}`);
      select.append(...histograms.map((histogram, number) => element("option", { value: number }, name(histogram.field))));
      const choose = (number) => {
        this[axis] = histograms[number] ?? histograms[usual];
        select.value = histograms.indexOf(this[axis]);
        this.name(axis);
        redraw();
      };
      select.addEventListener("change", () => choose(select.value));
      // Brightness against contrast tells more than width against height.
      const first = Math.max(0, histograms.findIndex(({ field }) => field.auto && field.name === { x: "brightness", y: "contrast" }[axis]));
      const start = first || usual;
      choose(start);
      byId(`range-${axis}`).addEventListener("click", () => this[axis].inputs[0].focus());
      remember(axis, () => (histograms.indexOf(this[axis]) === start ? null : String(histograms.indexOf(this[axis]))), (text) => choose(text ?? start));
    }
    const details = byId("scatter");
    details.addEventListener("toggle", redraw);
    remember("scatter", () => (details.open ? "open" : null), (text) => { details.open = text === "open"; });
    this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
    new ResizeObserver(redraw).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  },

  /** The place of a row in the drawing, from 0 to 1; null without both values. */
  at(row) {
    const [x, y] = [this.x.field.values[row], this.y.field.values[row]];
    if (typeof x !== "number" || typeof y !== "number") return null;
    return [this.x.place(x) / this.x.bins, 1 - this.y.place(y) / this.y.bins];
  },

  drag(event) {
    if (event.button) return;
    event.preventDefault();
    const box = this.canvas.getBoundingClientRect();
    const bounded = (part) => Math.min(1, Math.max(0, part));
    const at = (e) => [bounded((e.clientX - box.left) / box.width), bounded((e.clientY - box.top) / box.height)];
    const start = at(event);
    let moved = false;
    const move = (e) => {
      const end = at(e);
      const ranges = [
        this.x.rangeBetween(start[0] * this.x.bins, end[0] * this.x.bins),
        this.y.rangeBetween((1 - start[1]) * this.y.bins, (1 - end[1]) * this.y.bins),
      ];
      if (ranges.includes(null)) return;
      moved = true;
      this.x.select(ranges[0]);
      if (this.y !== this.x) this.y.select(ranges[1]);
    };
    follow(this.canvas, event, move, (e) => {
      move(e);
      if (moved) return;
      const near = this.nearest(start, box);
      if (near !== null) view(near);
      else for (const axis of [this.x, this.y]) axis.select([null, null]);
    });
  },

  nearest([x, y], box) {
    let [best, least] = [null, NEAR ** 2];
    for (let row = 0; row < total; row += 1) {
      const place = blocked[row] ? null : this.at(row);
      const distance = place ? ((place[0] - x) * box.width) ** 2 + ((place[1] - y) * box.height) ** 2 : Infinity;
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  },

  update() {
    if (!byId("scatter")?.open) return;
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width) return;
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const { fill: match, stroke: other } = getComputedStyle(this.canvas);
    const size = total > 20_000 ? 1.5 : total > 3_000 ? 2.5 : 4;
    const draw = (wanted) => {
      let drawn = 0;
      for (let row = 0; row < total; row += 1) {
        const place = !blocked[row] === wanted ? this.at(row) : null;
        if (!place) continue;
        context.fillRect(place[0] * (width - size), place[1] * (height - size), size, size);
        drawn += 1;
      }
      return drawn;
    };
    const [left, right] = this.x.span.map((bin) => bin / this.x.bins * width);
    const [bottom, top] = this.y.span.map((bin) => (1 - bin / this.y.bins) * height);
    if (this.x.filter.active || this.y.filter.active) {
      context.globalAlpha = 0.12;
      context.fillStyle = match;
      context.fillRect(left, top, right - left, bottom - top);
      context.globalAlpha = 1;
      context.strokeStyle = match;
      context.strokeRect(left + 0.5, top + 0.5, right - left - 1, bottom - top - 1);
    }
    context.fillStyle = other;
    const outside = draw(false);
    context.fillStyle = match;
    context.globalAlpha = total > 3_000 ? 0.6 : 0.85;
    const inside = draw(true);
    this.canvas.setAttribute("aria-label", `Scatter plot of ${name(this.x.field)} and ${name(this.y.field)}: `
      + `${whole(inside)} of ${counted(inside + outside, "image")} match`);
  },

  /** Name an axis and its ends. */
  name(axis) {
    const { field, distribution } = this[axis];
    const [low, high] = [distribution.edges[0], distribution.edges.at(-1)].map((edge) => brief(edge, field));
    byId(`${axis}-low`).textContent = low;
    byId(`${axis}-high`).textContent = high;
    byId(`${axis}-name`).replaceChildren(isolated(name(field)));
    byId(`${axis}-name`).className = field.auto ? "auto" : "";
    byId(`range-${axis}`).replaceChildren("Type a range of ", isolated(name(field)));
  },
};
