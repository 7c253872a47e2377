// Columns of few distinct values: a list of values with counts, of which some can be chosen.

const FEW = 12;
const MISSING = -1;

/** The values of one column, as the filter of that column. */
class Facet {
  constructor(field, index) {
    this.field = field;
    // The number of a missing value is the last one.
    this.labels = field.labels;
    this.codes = field.codes.map((code) => code ?? MISSING);
    this.chosen = new Set();
    this.sought = "";
    this.ordered = field.ordered ? null : field.labels.map((_, code) => code).sort((a, b) => collator.compare(this.labels[a], this.labels[b]));
    this.filter = addFilter(() => this.words(), () => choiceExpression(field, this.codesChosen()));
    this.build(`facet-${index}`);
  }

  build(id) {
    const { field } = this;
    this.clear = element("button", { type: "button", class: "clear", "aria-label": `Clear the choice of ${name(field)}` }, "×");
    this.clear.addEventListener("click", () => {
      this.choose([]);
      this.root.querySelector("input")?.focus();
    });
    this.list = element("ul");
    this.more = element("p", { class: "quiet" });
    this.root = element("div", { class: field.auto ? "facet auto" : "facet", role: "group", "aria-labelledby": id },
      element("div", { class: "head" }, element("h3", { id }, isolated(name(field))), ...(field.auto ? [aboutButton(field)] : []), this.clear));
    if (this.labels.length > FEW) {
      const search = element("input", { type: "search", placeholder: `find among ${whole(this.labels.length)}`, "aria-label": `Find a value of ${name(field)}`, autocomplete: "off", spellcheck: "false" });
      search.addEventListener("input", () => {
        this.sought = search.value.toLowerCase();
        this.update();
      });
      this.root.append(search);
    }
    this.root.append(this.list, this.more);
    this.list.addEventListener("change", (event) => {
      const code = Number(event.target.value);
      const chosen = new Set(this.chosen);
      if (event.target.checked) chosen.add(code); else chosen.delete(code);
      this.choose(chosen);
    });
    this.choose([]);
  }

  codesChosen() {
    return [...this.chosen].sort((a, b) => a - b);
  }

  words() {
    const codes = this.codesChosen().map((code, place) => [place ? " or " : " ", this.text(code)]);
    return [isolated(name(this.field)), ...codes.flat()];
  }

  choose(codes) {
    this.chosen = new Set(codes);
    const active = this.chosen.size > 0;
    this.clear.disabled = !active;
    this.filter.set(active ? (row) => this.chosen.has(this.codes[row]) : () => true, active);
    changed();
  }

  /** Count the rows that pass all other filters. */
  update() {
    const counts = new Map();
    for (let row = 0; row < total; row += 1) {
      const code = this.codes[row];
      if (!counts.has(code)) counts.set(code, 0);
      if (this.filter.alone(row)) counts.set(code, counts.get(code) + 1);
    }
    const all = [...(this.ordered ?? this.labels.map((_, code) => code)), ...(counts.has(MISSING) ? [MISSING] : [])];
    let listed = all;
    if (this.labels.length > FEW) {
      // Those of most rows come first, but what is chosen stays in view.
      const found = all.filter((code) => this.label(code).toLowerCase().includes(this.sought));
      const rank = (code) => (this.chosen.has(code) ? Infinity : counts.get(code) ?? 0);
      const kept = this.sought ? found : all;
      listed = [...kept].sort((a, b) => (rank(b) === rank(a) ? 0 : rank(b) - rank(a))).slice(0, Math.max(FEW, this.chosen.size));
      const left = kept.length - listed.length;
      this.more.textContent = !listed.length ? "No value contains this." : left ? `${whole(left)} more` : "";
    }
    const focused = this.list.contains(document.activeElement) ? document.activeElement.value : null;
    this.list.replaceChildren(...listed.map((code) => this.item(code, counts.get(code) ?? 0)));
    if (focused !== null) this.list.querySelector(`[value="${CSS.escape(focused)}"]`)?.focus();
  }

  label(code) {
    return code === MISSING ? "missing" : this.labels[code];
  }

  text(code) {
    if (code === MISSING) return element("i", {}, "missing");
    return this.labels[code] === "" ? element("i", {}, "empty") : isolated(this.labels[code]);
  }

  item(code, count) {
    const box = element("input", { type: "checkbox", value: code });
    box.checked = this.chosen.has(code);
    return element("li", { class: count || box.checked ? "" : "none-left" },
      element("label", {}, box, element("span", { class: "value", title: this.label(code) }, this.text(code)), element("span", { class: "quiet" }, whole(count))));
  }
}

const facets = [];

/** Whether a column has values to choose from. Those of a digest occur once each. */
function hasFacet(field) {
  const { auto, choices } = field;
  if (!choices?.length || isConstant(field)) return false;
  return !auto || choices.length <= Math.max(FEW, total / 2);
}

function buildFacets() {
  const own = fields.filter((field) => !field.auto);
  const auto = fields.filter((field) => field.auto);
  for (const [index, field] of [...own, ...auto].entries()) {
    if (hasFacet(field)) {
      const facet = new Facet(field, index);
      facets.push(facet);
      byId("facets").append(facet.root);
      remember(`only.${name(field)}`, () => (facet.filter.active ? [...facet.chosen].join("_") : null),
        (text) => facet.choose((text ?? "").split("_").filter(Boolean).map(Number).filter((code) => code === MISSING || code in facet.labels)));
    }
  }
}
