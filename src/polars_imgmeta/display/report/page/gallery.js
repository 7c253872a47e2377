// The images that match, as cards: sorted, in pages, as small and as detailed as wanted.

const collator = new Intl.Collator("en", { numeric: true });
// How many cards a page has at each width of cards, so that a page is a few screens.
const PAGES = [240, 120, 60, 24, 12, 6];
const USUAL_WIDTH = 3;
const BARE = 1; // up to here, a card is its picture
// The most pixels of a side that a reader wants to see one by one.
const TINY = 64;

const search = addFilter(
  () => ["name contains ", isolated(byId("search").value)],
  () => searchExpression(byId("search").value.toLowerCase()),
);
const lowered = locators.map((locator, row) => (pathOf(row) ?? locator).toLowerCase());
let matches = [];
let page = 0;
let order = []; // all rows, as they are sorted
let onCards = new Set(fields);

const cardsPerPage = () => PAGES[byId("density").value];
const pageCount = () => Math.max(1, Math.ceil(matches.length / cardsPerPage()));

function picture(row) {
  const uri = data.thumbnails?.[row];
  const why = data.errors[row]?.split(":")[0].replaceAll("_", " ");
  const button = element("button", { type: "button", class: "frame", "data-row": row, "aria-label": `Open ${names[row]}`, "aria-haspopup": "dialog" });
  button.append(embedded(uri) ?? element("span", { class: why ? "none failed" : "none" }, why ?? "no picture"));
  return button;
}

/** The picture of a thumbnail, with square pixels if there are few; null if there is none. */
function embedded(uri, alt = "") {
  if (!uri?.startsWith("data:image/webp;base64,")) return null;
  const image = element("img", { alt, loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= TINY));
  image.src = uri;
  return image;
}

// Characters of a value for which a small card has no room, such as those of a digest.
const LONG = 16;

/** The values of a row, of some fields. */
function list(row, auto, some = fields) {
  const rows = some.filter((field) => field.auto === auto).map((field) => {
    const value = shown(field.values[row], field);
    const term = element("dt", { title: aboutField(field) }, isolated(name(field)));
    const about = auto ? { "aria-describedby": describe(field), title: aboutField(field) } : {};
    const kind = value.length > LONG ? { class: "long" } : {};
    return element("div", {}, term, element("dd", { ...about, ...kind }, isolated(value)));
  });
  return element("dl", { class: auto ? "auto" : "own" }, ...rows);
}

function card(row) {
  const made = element("li", { class: "card" }, picture(row), tickBox(row));
  if (byId("density").value <= BARE) return made;
  made.append(element("p", { class: "locator", title: locators[row] }, isolated(names[row])));
  if (data.errors[row]) made.append(element("p", { class: "error" }, isolated(data.errors[row])));
  const wanted = fields.filter((field) => onCards.has(field));
  if (wanted.some((field) => field.auto)) made.append(element("p", { class: "auto origin", title: origin }, "auto-extracted"), list(row, true, wanted));
  if (wanted.some((field) => !field.auto)) made.append(list(row, false, wanted));
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
    const difference = typeof x === "number" ? x - y : collator.compare(x, y);
    return direction * difference || a - b;
  };
}

function sort() {
  order = locators.map((_, row) => row).sort(comparison());
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
  const typed = element("input", { type: "number", min: 1, max: pages, value: current + 1, "aria-label": `Page of ${whole(pages)}` });
  typed.addEventListener("change", () => {
    go(Math.min(pages, Math.max(1, Math.round(typed.valueAsNumber) || 1)) - 1);
    root.querySelector("input").focus();
  });
  root.append(
    button("First", 0, current > 0), button("Previous", current - 1, current > 0),
    element("span", {}, "Page ", typed, ` of ${whole(pages)}`),
    button("Next", current + 1, current < pages - 1), button("Last", pages - 1, current < pages - 1),
  );
}

function turn(target) {
  page = Math.min(target, pageCount() - 1);
  const size = cardsPerPage();
  byId("cards").replaceChildren(...matches.slice(page * size, (page + 1) * size).map(card));
  byId("printed").hidden = matches.length <= size;
  pager(byId("pages"), pageCount(), page, (next) => {
    turn(next);
    byId("gallery").scrollIntoView({ block: "start" });
  });
  keepAddress();
}

function updateGallery() {
  matches = order.filter((row) => !blocked[row]);
  byId("count").textContent = `${whole(matches.length)} of ${counted(total, "row")} match`;
  byId("reset").disabled = !filters.some((filter) => filter.active);
  turn(page);
}

function seek(text) {
  byId("search").value = text;
  const wanted = text.toLowerCase();
  search.set((row) => lowered[row].includes(wanted), wanted !== "");
  changed();
}

/** The choice of values on the cards. */
function buildShown() {
  const boxes = fields.map((field, index) => {
    const box = element("input", { type: "checkbox", value: index });
    box.checked = true;
    return box;
  });
  const show = (chosen) => {
    onCards = new Set(fields.filter((_, index) => chosen(index)));
    boxes.forEach((box, index) => { box.checked = chosen(index); });
    byId("shown-count").textContent = onCards.size === fields.length ? "all" : onCards.size ? `${onCards.size} of ${fields.length}` : "none";
    redraw();
  };
  const all = (text, chosen) => {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => show(() => chosen));
    return button;
  };
  byId("shown-list").append(element("p", {}, all("All", true), " ", all("None", false)),
    ...boxes.map((box, index) => element("label", { class: fields[index].auto ? "auto" : "" }, box, isolated(name(fields[index])))));
  byId("shown-list").addEventListener("change", () => show((index) => boxes[index].checked));
  show(() => true);
  remember("show", () => (onCards.size === fields.length ? null : fields.flatMap((field, index) => (onCards.has(field) ? [index] : [])).join("_")),
    (text) => {
      const chosen = text === null ? null : new Set(text.split("_").filter(Boolean).map(Number));
      show((index) => chosen?.has(index) ?? true);
    });
}

function buildGallery() {
  byId("abouts").append(element("p", { id: "about-origin" }, origin));
  byId("origin").dataset.tip = origin;
  const option = (value, text) => element("option", { value }, text);
  byId("sort").append(option("row", "original order"), option("locator", named(data.provenance.locator)),
    ...fields.map((field, index) => option(index, name(field))));
  for (const [id, usual] of [["sort", "row"], ["order", "1"]]) {
    const resort = () => {
      sort();
      changed();
    };
    byId(id).addEventListener("change", resort);
    remember(id, () => (byId(id).value === usual ? null : byId(id).value), (text) => {
      byId(id).value = text ?? usual;
      if (!byId(id).value) byId(id).value = usual;
      resort();
    });
  }
  const density = byId("density");
  const resize = (width) => {
    const first = page * cardsPerPage();
    density.value = width;
    byId("cards").dataset.width = density.value;
    page = Math.floor(first / cardsPerPage());
    redraw();
  };
  density.max = PAGES.length - 1;
  let before = USUAL_WIDTH;
  density.addEventListener("input", () => {
    const wanted = density.value;
    density.value = before; // so that the first card stays in the page
    resize(wanted);
    before = density.value;
  });
  density.value = USUAL_WIDTH;
  resize(USUAL_WIDTH);
  remember("width", () => (Number(density.value) === USUAL_WIDTH ? null : density.value), (text) => {
    resize(text ?? USUAL_WIDTH);
    before = density.value;
  });
  byId("search").addEventListener("input", () => seek(byId("search").value));
  remember("name", () => byId("search").value || null, (text) => seek(text ?? ""));
  byId("reset").addEventListener("click", () => {
    seek("");
    for (const histogram of histograms) histogram.select([null, null]);
    for (const facet of facets) facet.choose([]);
    onlyTicked(false);
    byId("search").focus();
  });
  buildShown();
  sort();
  remember("page", () => (page ? String(page + 1) : null), (text) => { page = Math.max(0, Math.round(Number(text ?? 1)) - 1 || 0); });
}
