// The filters as a Polars expression: Python source text that gives the same rows of the frame.

const BEYOND_GLYPHS = /[\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb]/gu;

/** The Python literal of a text in double quotes, of a Boolean or of a number. */
function literal(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  const escaped = value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r");
  return `"${escaped.replace(BEYOND_GLYPHS, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`)}"`;
}

const literals = (values) => `[${values.map(literal).join(", ")}]`;

/** The condition that a number lies in a range with both ends, or on one side of a bound. */
function rangeExpression({ code, distribution }, range) {
  if (code === null) return null;
  // The ends of a whole number are whole, and no wider than what this page can tell apart.
  const exact = (bound, round) => (bound === null || !distribution.integer ? bound
    : Math.min(Number.MAX_SAFE_INTEGER + 1, Math.max(-Number.MAX_SAFE_INTEGER - 1, round(bound) + 0)));
  const [low, high] = [exact(range[0], Math.ceil), exact(range[1], Math.floor)];
  if (low !== null && high !== null) return `${code}.is_between(${literal(low)}, ${literal(high)})`;
  const bounded = low === null ? `(${code} <= ${literal(high)})` : `(${code} >= ${literal(low)})`;
  // Polars takes NaN for the greatest number; here no range contains it, nor infinities.
  return distribution.finite ? bounded : `${bounded} & ${code}.is_finite()`;
}

function choiceExpression({ code, choices }, codes) {
  const known = codes.filter((one) => one !== MISSING).map((one) => choices[one]);
  const parts = [...(known.length ? [`${code}.is_in(${literals(known)})`] : []), ...(codes.includes(MISSING) ? [`${code}.is_null()`] : [])];
  return parts.length === 1 ? parts[0] : `(${parts.join(" | ")})`;
}

/** The exact path or URL of a row; null where there is none, or where it holds a secret. */
const pathOf = (row) => (data.provenance.path === null ? null : row in data.paths ? data.paths[row] : locators[row]);

function searchExpression(text) {
  if (locators.some((_, row) => pathOf(row) === null)) return null;
  const code = data.provenance.path;
  return `${code}.str.to_lowercase().str.contains(${literal(text)}, literal=True)`;
}

/** The condition for some rows: their paths, or their places in the frame if others have the same path. */
function rowsExpression(passes) {
  const inside = new Set();
  const outside = new Set();
  locators.forEach((_, row) => (passes(row) ? inside : outside).add(pathOf(row)));
  if (data.provenance.path !== null && !inside.has(null) && [...inside].every((path) => !outside.has(path))) {
    return `${data.provenance.path}.is_in(${literals([...inside])})`;
  }
  const places = locators.flatMap((_, row) => (passes(row) ? [data.rows?.[row] ?? row] : []));
  return `pl.int_range(pl.len()).is_in(${literals(places)})`;
}

/** All filters as one expression, or null if there is none. */
function filterExpression() {
  const active = filters.filter((filter) => filter.active);
  if (!active.length) return null;
  const parts = active.map((filter) => filter.expression() ?? rowsExpression((row) => !filter.marks[row]));
  // Rows without an image are not on this page.
  if (summary.rows > summary.located) parts.push(data.provenance.located);
  return parts.join(" & ");
}
