// The properties and columns: how they are named, described and formatted.

// A column of few distinct values arrives as these, and the number of the value of each row.
for (const field of fields) {
  if (field.choices) {
    const text = (code) => (code === null ? null : field.texts[code] ?? String(field.choices[code]));
    field.labels = field.choices.map((_, code) => text(code));
    field.values = field.codes.map(text);
    if (field.ordered) field.order = field.codes;
  }
}

/** Whether all rows have one value, which no filter can tell apart. */
function isConstant({ distribution, choices, codes, values }) {
  if (distribution) return distribution.minimum === distribution.maximum && distribution.finite;
  return choices !== undefined && !summary.sampled && choices.length === 1 && !codes.includes(null) && values.length > 1;
}

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

const compact = (value, most) => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: most, useGrouping: "always" });

/** Format a value for little space, where a few digits distinguish values. */
const brief = (value, field) => (Math.abs(value) >= 1e6 && digits(value, field) <= 6
  ? compact(value, digits(value, field)) : shown(value, field));

const title = (field) => field.name.replaceAll("_", " ");
const named = (text) => text || "(no name)";
const taken = new Set(fields.filter((field) => field.auto).map(title));
/** The label of a field: a column of the user may have the name of a property, or none. */
const name = (field) => (field.auto ? title(field) : named(field.name) + (taken.has(title(field)) ? " (own column)" : ""));

const origin = `Auto-extracted from the images in “${data.provenance.locator}” into “${data.provenance.column}”.`;
const aboutField = (field) => (field.auto
  ? `${field.about}${field.unit && ` (${field.unit})`}. ${origin}`
  : "A column of your own.");

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
