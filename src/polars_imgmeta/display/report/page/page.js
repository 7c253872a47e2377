"use strict";

// The data are untrusted. They become text nodes and values of attributes that are not
// executed, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { summary, fields, locators, names } = data;
const total = locators.length;
const PAGE = 24;
const FAILURES_PAGE = 25;
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);

/** Complete an element. Strings among the children become text. */
function build(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const element = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
const drawing = (name, attributes = {}, ...children) => build(document.createElementNS(SVG, name), attributes, children);

/** Text that does not change the direction of its surroundings. */
const isolated = (text) => element("bdi", {}, text);

const whole = (number) => number.toLocaleString("en");
const counted = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

/** The number of significant digits of a value: four, or more in a narrow range. */
function digits(value, { distribution }) {
  const spread = distribution.maximum - distribution.minimum || 1;
  const magnitude = (number) => Math.floor(Math.log10(Math.abs(number)));
  return Math.min(17, Math.max(4, magnitude(value) - magnitude(spread) + 4));
}

/** Format a value. Values of a property have the same number of decimals. */
function shown(value, field) {
  if (value === null) return "–";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  const decimal = field.auto && !field.distribution?.integer;
  if (Number.isSafeInteger(value) && !decimal) return whole(value);
  if (size > Number.MAX_SAFE_INTEGER) return value.toExponential(digits(value, field) - 1);
  if (size > 0 && size < 1e-3) return decimal ? value.toPrecision(2) : String(Number(value.toPrecision(digits(value, field))));
  return value.toLocaleString("en", decimal
    ? { minimumFractionDigits: 3, maximumFractionDigits: 3 } : { maximumSignificantDigits: digits(value, field) });
}

/** Format a value for little space, where a few digits distinguish values. */
const brief = (value, field) => (Math.abs(value) >= 1e6 && digits(value, field) <= 6
  ? value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: digits(value, field) }) : shown(value, field));

const title = (field) => field.name.replaceAll("_", " ");
const named = (text) => text || "(no name)";
const taken = new Set(fields.filter((field) => field.auto).map(title));
/** The label of a field: a column of the user may have the name of a property, or none. */
const name = (field) => (field.auto ? title(field) : named(field.name) + (taken.has(title(field)) ? " (own column)" : ""));

const origin = `Auto-extracted from the images in “${data.provenance.locator}” into “${data.provenance.column}”.`;
const aboutField = (field) => (field.auto
  ? `${field.about}${field.unit && ` (${field.unit})`}. ${origin}`
  : "A column of your own.");

// ---- Filters -------------------------------------------------------------------------

// Each filter marks the rows that it blocks, and `blocked` counts the marks of a row: a
// change of one filter takes one pass, and a row passes all other filters where `blocked`
// equals its own mark.
const blocked = new Uint16Array(total);

function addFilter() {
  const marks = new Uint8Array(total);
  return {
    marks,
    set(passes) {
      for (let row = 0; row < total; row += 1) {
        const mark = passes(row) ? 0 : 1;
        blocked[row] += mark - marks[row];
        marks[row] = mark;
      }
    },
  };
}

let pending = 0;
function changed() {
  pending ||= requestAnimationFrame(() => { pending = 0; update(); });
}

// ---- Histograms ----------------------------------------------------------------------

/** A histogram with a brush and two inputs: the filter of one property or column. */
class Histogram {
  constructor(field, index) {
    this.field = field;
    this.distribution = field.distribution;
    this.filter = addFilter();
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
      const [low, high] = [start, at(e)].sort((a, b) => a - b);
      // At the end of the axis there is no bound; a click without a drag clears the range.
      const slack = this.bins / 100;
      if (high - low < slack) this.select([null, null]);
      else this.select([low < slack ? null : this.valueAt(low), high > this.bins - slack ? null : this.valueAt(high)]);
    };
    const ended = new AbortController();
    const listen = (kind, listener) => this.svg.addEventListener(kind, listener, { signal: ended.signal });
    this.svg.setPointerCapture(event.pointerId);
    listen("pointermove", move);
    listen("pointerup", (e) => { move(e); ended.abort(); });
    listen("pointercancel", () => ended.abort());
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
      : () => true);
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
    const { marks } = this.filter;
    for (let row = 0; row < total; row += 1) {
      if (this.binOf[row] >= 0 && blocked[row] === marks[row]) counts[this.binOf[row]] += 1;
    }
    this.outside.setAttribute("d", this.bars(counts));
    this.inside.setAttribute("d", this.bars(counts, ...this.span));
  }
}

const histograms = [];

// ---- Provenance ----------------------------------------------------------------------

/** A button whose tooltip describes the origin of a property. */
function aboutButton(field) {
  const button = element("button", {
    type: "button", class: "about sign", "aria-label": `About ${name(field)}`, "aria-describedby": describe(field),
  }, "i");
  button.dataset.tip = aboutField(field);
  return button;
}

/** The ID of the description of a field for assistive technology, once in the page. */
function describe(field) {
  const id = `about-${fields.indexOf(field)}`;
  if (!byId(id)) byId("abouts").append(element("p", { id }, aboutField(field)));
  return id;
}

// Escape closes a tooltip until the next hover or focus.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.body.classList.add("no-tips");
});
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, () => document.body.classList.remove("no-tips"));
}

// ---- Gallery -------------------------------------------------------------------------

const collator = new Intl.Collator("en", { numeric: true });
const search = addFilter();
const lowered = locators.map((locator) => locator.toLowerCase());
let matches = [];
let page = 0;

function picture(row) {
  const uri = data.thumbnails?.[row];
  const why = data.errors[row]?.split(":")[0].replaceAll("_", " ");
  return element("div", { class: "frame" }, uri?.startsWith("data:image/webp;base64,")
    ? element("img", { src: uri, alt: `Picture ${names[row]}`, loading: "lazy", decoding: "async" })
    : element("span", { class: why ? "none failed" : "none" }, why ?? "no picture"));
}

function list(row, auto) {
  const rows = fields.filter((field) => field.auto === auto).map((field) => {
    const value = field.values[row];
    const term = element("dt", { title: aboutField(field) }, isolated(name(field)));
    const about = auto ? { "aria-describedby": describe(field), title: aboutField(field) } : {};
    return element("div", {}, term, element("dd", about, isolated(shown(value, field))));
  });
  return element("dl", { class: auto ? "auto" : "own" }, ...rows);
}

function card(row) {
  const made = element("li", { class: "card" }, picture(row),
    element("p", { class: "locator", title: locators[row] }, isolated(names[row])));
  if (data.errors[row]) made.append(element("p", { class: "error" }, isolated(data.errors[row])));
  if (fields.some((field) => field.auto)) {
    made.append(element("p", { class: "auto origin", title: origin }, "auto-extracted"), list(row, true));
  }
  if (fields.some((field) => !field.auto)) made.append(list(row, false));
  return made;
}

/** Compare rows by a field: numbers and ranks by value, text by natural order, nulls last. */
function comparison() {
  const chosen = byId("sort").value;
  const direction = Number(byId("order").value);
  if (chosen === "row") return (a, b) => direction * (a - b);
  const field = fields[Number(chosen)];
  const values = chosen === "locator" ? locators : field.order ?? field.values;
  const missing = (value) => value === null || (field?.distribution !== undefined && typeof value !== "number");
  return (a, b) => {
    const [x, y] = [values[a], values[b]];
    if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
    const order = typeof x === "number" ? x - y : collator.compare(x, y);
    return direction * order || a - b;
  };
}

function pager(root, pages, current, go) {
  const button = (text, target, enabled) => {
    const made = element("button", { type: "button" }, text);
    made.disabled = !enabled;
    made.addEventListener("click", () => {
      go(target);
      // The buttons were replaced, and this one may be disabled.
      const buttons = [...root.querySelectorAll("button")];
      (buttons.find((other) => other.textContent === text && !other.disabled) ?? buttons.find((other) => !other.disabled))?.focus();
    });
    return made;
  };
  root.replaceChildren();
  if (pages < 2) return;
  root.append(
    button("First", 0, current > 0), button("Previous", current - 1, current > 0),
    element("span", {}, `Page ${whole(current + 1)} of ${whole(pages)}`),
    button("Next", current + 1, current < pages - 1), button("Last", pages - 1, current < pages - 1),
  );
}

function turn(target) {
  page = target;
  byId("cards").replaceChildren(...matches.slice(page * PAGE, (page + 1) * PAGE).map(card));
  byId("printed").hidden = matches.length <= PAGE;
  pager(byId("pages"), Math.ceil(matches.length / PAGE), page, (next) => {
    turn(next);
    byId("gallery").scrollIntoView({ block: "start" });
  });
}

function update() {
  for (const histogram of histograms) histogram.update();
  matches = [];
  for (let row = 0; row < total; row += 1) if (!blocked[row]) matches.push(row);
  matches.sort(comparison());
  byId("count").textContent = `${whole(matches.length)} of ${counted(total, "row")} match`;
  const filtered = histograms.some((histogram) => histogram.root.classList.contains("active")) || byId("search").value !== "" || byId("chosen-case") !== null;
  byId("reset").disabled = !filtered;
  turn(0);
}

function buildGallery() {
  byId("abouts").append(element("p", { id: "about-origin" }, origin));
  byId("origin").dataset.tip = origin;
  const option = (value, text) => element("option", { value }, text);
  byId("sort").append(option("row", "original order"), option("locator", named(data.provenance.locator)),
    ...fields.map((field, index) => option(index, name(field))));
  for (const id of ["sort", "order"]) byId(id).addEventListener("change", changed);
  byId("search").addEventListener("input", () => {
    const wanted = byId("search").value.toLowerCase();
    search.set((row) => lowered[row].includes(wanted));
    changed();
  });
  byId("reset").addEventListener("click", () => {
    byId("search").value = "";
    search.set(() => true);
    for (const histogram of histograms) histogram.select([null, null]);
    byId("search").focus();
  });
}

// ---- Summary, extremes, failures -----------------------------------------------------

const note = (text) => byId("notes").append(element("p", { class: "note" }, text));

function buildSummary() {
  document.title = data.title;
  byId("title").textContent = data.title;
  byId("made").textContent = `polars-imgmeta ${data.version}, ${data.made}`;
  const tile = (term, value, kind = "") => byId("tiles").append(
    element("div", { class: kind }, element("dt", {}, term), element("dd", {}, isolated(value))));
  tile("rows", whole(summary.rows));
  tile("images", whole(summary.images));
  tile("failed", whole(summary.failed), summary.failed ? "failed" : "");
  if (summary.rows > summary.located) tile("rows without a locator", whole(summary.rows - summary.located));
  if (summary.uncomputed) tile("rows not yet computed", whole(summary.uncomputed));
  tile("properties", whole(fields.filter((field) => field.auto).length), "auto");
  byId("notes").append(element("p", { class: "quiet" },
    element("span", { class: "auto" }, "Purple"), " is auto-extracted, from the images in ",
    element("code", {}, isolated(data.provenance.locator)), " into ", element("code", {}, isolated(data.provenance.column)),
    ". Other columns are your own."));
  if (summary.sampled) {
    note(`The gallery and the filters contain a random sample of ${counted(summary.sample, "row")} out of ${whole(summary.located)}, `
      + `and the images that the sections below name: ${whole(summary.shown)} rows. Everything else, including the grey histograms, covers all rows.`);
  }
  if (summary.left_out.length) {
    const kept = fields.filter((field) => !field.auto).length;
    note(`The first ${kept} of your own columns are shown; ${counted(summary.left_out.length, "column")} left out.`);
  }
}

const figure = (row, field) => element("li", {},
  element("figure", {}, picture(row),
    element("figcaption", { title: locators[row] }, element("span", { class: "auto" }, brief(field.values[row], field)),
      ...(data.thumbnails ? [] : [" ", isolated(names[row])]))));

function buildExtremes() {
  byId("extremes-note").textContent = !summary.images ? "No images." : summary.sampled ? "From all rows, each image once." : "Each image once.";
  for (const field of fields.filter((one) => one.words && summary.images)) {
    const root = element("div", { class: "contrast" }, element("h3", { class: "auto" }, title(field)));
    const sides = data.extremes[field.name];
    const equal = field.distribution
      ? `All images have the same value: ${shown(field.distribution.minimum, field)}.` : "No image has a value.";
    root.append(sides[0].length
      ? element("div", { class: "sides" }, ...sides.map((rows, end) => element("div", {},
        element("h4", {}, field.words[end]), element("ul", {}, ...rows.map((row) => figure(row, field))))))
      : element("p", { class: "quiet" }, equal));
    byId("contrasts").append(root);
  }
}

function drop(section) {
  byId(section).remove();
  document.querySelector(`nav a[href="#${section}"]`).remove();
}

function buildFailures() {
  const { kinds, rows, left_out: left } = data.failures;
  const root = byId("failure-list");
  if (!kinds.length) {
    root.append(element("p", { class: "quiet" }, summary.images ? "All images were read." : "No images."));
    return;
  }
  const select = element("select", {}, element("option", { value: "" }, `all kinds (${whole(summary.failed)})`),
    ...kinds.map(([kind, count]) => element("option", { value: kind }, `${kind} (${whole(count)})`)));
  const body = element("tbody");
  const pages = element("nav", { class: "pages", "aria-label": "Pages of the failures" });
  const show = (current) => {
    const chosen = rows.filter(([, kind]) => !select.value || kind === select.value);
    body.replaceChildren(...chosen.slice(current * FAILURES_PAGE, (current + 1) * FAILURES_PAGE).map(
      ([locator, kind, message]) => element("tr", {},
        element("th", { scope: "row" }, isolated(locator)), element("td", {}, kind), element("td", {}, isolated(message)))));
    pager(pages, Math.ceil(chosen.length / FAILURES_PAGE), current, show);
  };
  select.addEventListener("change", () => show(0));
  const most = Math.max(...kinds.map(([, count]) => count));
  const bars = kinds.map(([kind, count]) => {
    const bar = drawing("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" },
      drawing("rect", { width: 100 * count / most, height: 1 }));
    return element("tr", {}, element("th", { scope: "row" }, kind), element("td", {}, whole(count)), element("td", { class: "bar" }, bar));
  });
  root.append(
    element("table", { class: "kinds" }, element("caption", {}, "By kind"),
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "kind"), element("th", { scope: "col" }, "rows"),
        element("td", {}))),
      element("tbody", {}, ...bars)),
    element("div", { class: "controls" }, element("label", {}, "Kind ", select)),
    element("table", { class: "failed-rows" }, element("caption", {}, left ? `The first ${whole(rows.length)} failed rows` : "Failed rows"),
      element("thead", {}, element("tr", {}, ...["locator", "kind", "message"].map((word) => element("th", { scope: "col" }, word)))),
      body),
    pages);
  show(0);
}

buildSummary();
buildGallery();
fields.forEach((field, index) => {
  if (!field.distribution) return;
  const histogram = new Histogram(field, index);
  histograms.push(histogram);
  byId("histograms").append(histogram.root);
});
if (!histograms.length) {
  drop("distributions");
}
buildCases();
buildIssues();
buildDuplicates();
buildExtremes();
buildDrift();
buildFailures();
byId("footer").textContent = `Written by polars-imgmeta ${data.version}.`;
update();
