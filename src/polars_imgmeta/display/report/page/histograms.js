// Distributions of numbers, each with a range that filters everything else.

/** A histogram with a brush and two inputs: the filter of one property or column. */
class Histogram {
  constructor(field, index) {
    this.field = field;
    this.distribution = field.distribution;
    this.filter = addFilter(() => this.words(), () => rangeExpression(field, this.range));
    this.range = [null, null];
    this.bins = this.distribution.counts.length;
    this.binOf = Int16Array.from(field.values, (value) => this.bin(value));
    this.build(`histogram-${index}`);
  }

  bin(value) {
    const { edges } = this.distribution;
    if (typeof value !== "number") return -1;
    let low = 0;
    let high = this.bins - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (edges[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  }

  build(id) {
    const { field, distribution } = this;
    const heading = element("h3", { id }, isolated(name(field)));
    const median = `median ${brief(distribution.median, field)}`;
    const missing = distribution.missing ? `, ${whole(distribution.missing)} null` : "";
    this.svg = drawing("svg", {
      viewBox: `0 0 ${this.bins} 1`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Histogram of ${name(field)}: from ${shown(distribution.minimum, field)} to ${shown(distribution.maximum, field)}, `
        + `mean ${shown(distribution.mean, field)}, ${median}${missing}`,
    });
    const all = drawing("path", { class: "all" });
    this.outside = drawing("path", { class: "outside" });
    this.inside = drawing("path", { class: "inside" });
    this.brush = drawing("rect", { class: "brush", y: 0, height: 1, width: 0 });
    this.svg.append(all, this.outside, this.inside, this.brush);
    this.svg.addEventListener("pointerdown", (event) => this.drag(event));
    this.inputs = ["from", "to"].map((word, end) => {
      const input = element("input", {
        type: "number", step: distribution.integer ? 1 : "any", "aria-label": `${name(field)} ${word}`,
        placeholder: brief(end ? distribution.maximum : distribution.minimum, field),
      });
      input.addEventListener("input", () => {
        this.range[end] = Number.isNaN(input.valueAsNumber) ? null : input.valueAsNumber;
        this.apply();
      });
      return input;
    });
    this.clear = element("button", { type: "button", class: "clear", "aria-label": `Clear the range of ${name(field)}` }, "×");
    this.clear.addEventListener("click", () => {
      this.select([null, null]);
      this.inputs[0].focus();
    });
    this.scale = Math.max(...distribution.counts);
    all.setAttribute("d", this.bars(distribution.counts));
    // The bars of a sample are scaled to those of all rows.
    const values = distribution.counts.reduce((sum, count) => sum + count, 0);
    const here = this.binOf.reduce((sum, bin) => sum + (bin >= 0), 0);
    if (summary.sampled) this.scale = Math.max(this.scale * here / values, 1e-9);
    if (distribution.logarithmic) this.svg.append(drawing("title", {}, "Logarithmic scale"));
    this.root = element("div", { class: field.auto ? "histogram auto" : "histogram", role: "group", "aria-labelledby": id },
      element("div", { class: "head" }, heading, ...(field.auto ? [aboutButton(field)] : []),
        element("span", { class: "quiet" }, median + missing)),
      this.svg,
      element("div", { class: "range" }, this.inputs[0], element("span", { "aria-hidden": "true" }, "–"), this.inputs[1], this.clear));
    this.apply();
  }

  /** The outline of bars with gaps between them. */
  bars(counts, first = 0, last = this.bins) {
    let path = "";
    for (let bin = 0; bin < this.bins; bin += 1) {
      const left = Math.max(bin + 0.06, first);
      const right = Math.min(bin + 0.94, last);
      if (!counts[bin] || left >= right) continue;
      // A single image among thousands stays visible.
      const height = Math.min(1, Math.max(counts[bin] / this.scale, 0.02));
      path += `M${left} 1V${1 - height}H${right}V1Z`;
    }
    return path;
  }

  /** The position of a value on the axis, in bins. */
  place(value) {
    const { edges } = this.distribution;
    if (value <= edges[0]) return 0;
    if (value >= edges[this.bins]) return this.bins;
    const bin = this.bin(value);
    return bin + (value - edges[bin]) / (edges[bin + 1] - edges[bin] || 1);
  }

  valueAt(place) {
    const { edges, integer } = this.distribution;
    const bin = Math.min(Math.floor(place), this.bins - 1);
    const width = edges[bin + 1] - edges[bin];
    const value = edges[bin] + (place - bin) * width;
    if (integer) return Math.floor(value);
    // Rounded to a hundredth of the bin, relative to its width.
    const decimals = 2 - Math.floor(Math.log10(width));
    if (!(decimals <= 100)) return value;
    return decimals > 0 ? Number(value.toFixed(decimals)) : Number(`${Math.round(value / 10 ** -decimals)}e${-decimals}`);
  }

  drag(event) {
    if (event.button) return;
    event.preventDefault();
    const box = this.svg.getBoundingClientRect();
    const at = (e) => Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)) * this.bins;
    const start = at(event);
    const move = (e) => {
      this.select(this.rangeBetween(start, at(e)) ?? [null, null]);
    };
    follow(this.svg, event, move, move);
  }

  /** The range between two places on the axis, without a bound at its ends; null for a click. */
  rangeBetween(...places) {
    const [low, high] = places.sort((a, b) => a - b);
    const slack = this.bins / 100;
    if (high - low < slack) return null;
    return [low < slack ? null : this.valueAt(low), high > this.bins - slack ? null : this.valueAt(high)];
  }

  /** The range for readers, with the bounds as they were typed. */
  words() {
    const [low, high] = this.range;
    const range = low === null ? `up to ${high}` : high === null ? `from ${low}` : `${low} to ${high}`;
    return [isolated(name(this.field)), ` ${range}`];
  }

  select(range) {
    this.range = range;
    this.inputs.forEach((input, end) => { input.value = range[end] ?? ""; });
    this.apply();
  }

  apply() {
    const [low, high] = this.range;
    const active = low !== null || high !== null;
    const { values } = this.field;
    this.filter.set(active
      ? (row) => typeof values[row] === "number" && (low === null || values[row] >= low) && (high === null || values[row] <= high)
      : () => true, active);
    const impossible = low !== null && high !== null && low > high;
    for (const input of this.inputs) input.setAttribute("aria-invalid", impossible);
    this.root.classList.toggle("active", active);
    this.clear.disabled = !active;
    const first = low === null ? 0 : this.place(low);
    // The bin of an integer ends at the next one.
    const last = high === null ? this.bins : this.place(this.distribution.integer ? high + 1 : high);
    this.brush.setAttribute("x", first);
    this.brush.setAttribute("width", active ? Math.max(0, last - first) : 0);
    this.span = [first, last];
    changed();
  }

  /** Draw the rows that pass all other filters. */
  update() {
    const counts = new Uint32Array(this.bins);
    for (let row = 0; row < total; row += 1) {
      if (this.binOf[row] >= 0 && this.filter.alone(row)) counts[this.binOf[row]] += 1;
    }
    this.outside.setAttribute("d", this.bars(counts));
    this.inside.setAttribute("d", this.bars(counts, ...this.span));
  }
}

/** Follow a pointer from where it went down until it is released. */
function follow(target, event, move, end) {
  const ended = new AbortController();
  const listen = (kind, listener) => target.addEventListener(kind, listener, { signal: ended.signal });
  target.setPointerCapture(event.pointerId);
  listen("pointermove", move);
  listen("pointerup", (e) => { ended.abort(); end(e); });
  listen("pointercancel", () => ended.abort());
}

const histograms = [];

function buildHistograms() {
  for (const [index, field] of fields.entries()) {
    if (field.distribution && !isConstant(field)) {
      const histogram = new Histogram(field, index);
      histograms.push(histogram);
      byId("histograms").append(histogram.root);
      remember(`range.${name(field)}`, () => (histogram.filter.active ? histogram.range.map((bound) => bound ?? "").join("_") : null),
        (text) => histogram.select((text ?? "_").split("_").map((bound) => (bound === "" || Number.isNaN(Number(bound)) ? null : Number(bound)))));
    }
  }
}

/** Name the properties that no histogram or facet can tell apart, in one line. */
function buildConstants() {
  const constant = fields.filter(isConstant);
  if (!constant.length) return;
  const value = (field) => shown(field.distribution?.minimum ?? field.labels[0], field);
  const listed = constant.flatMap((field, number) => [number ? ", " : "",
    element("span", { class: field.auto ? "auto" : "" }, isolated(name(field))), " ", isolated(value(field))]);
  byId("constants").append("Constant: ", ...listed, ".");
}
