// One image large, with all its values; arrow keys walk through what matches.

let viewed = null;

/** The address of the image itself, where a page may link to it; null elsewhere. */
function sourceOf(row) {
  const path = pathOf(row);
  if (!path) return null;
  if (/^(https?|file):\/\//i.test(path)) return URL.canParse(path) ? new URL(path).href : null;
  const encoded = (text) => text.split("/").map(encodeURIComponent).join("/");
  if (/^[a-z]:[\\/]/i.test(path)) return `file:///${path.slice(0, 2)}${encoded(path.slice(2).replaceAll("\\", "/"))}`;
  if (path.startsWith("/")) return `file://${encoded(path)}`;
  // A relative path is one of the folder in which the report was made.
  if (data.base === null || /^[~]|^[a-z][a-z0-9+.-]*:|^\\\\/i.test(path)) return null;
  return `./${encoded(data.base)}/${encoded(path)}`;
}

/** A link to the image itself, or what it would say where a page may not link to it. */
function linked(row, text) {
  const source = sourceOf(row);
  return source === null ? text : element("a", { href: source, target: "_blank", rel: "noopener noreferrer" }, text);
}

/** What the picture is: all pixels of the image, or a smaller copy of it. */
function sizeOf(image, row) {
  const [width, height] = ["width", "height"].map((side) => fields.find((field) => field.auto && field.name === side)?.values[row]);
  const pixels = (...sides) => `${sides.map(whole).join(" × ")} pixels`;
  const own = pixels(image.naturalWidth, image.naturalHeight);
  if (width === image.naturalWidth && height === image.naturalHeight) return [`All ${own} of the image`];
  const original = width && height ? ["; the original has ", linked(row, pixels(width, height))] : [" of ", linked(row, "the original")];
  return [`A preview of ${own}`, ...original];
}

function view(row) {
  viewed = row;
  const place = matches.indexOf(row);
  byId("viewer-name").replaceChildren(isolated(names[row]));
  byId("viewer-place").textContent = place < 0 ? "not among the images that match" : `${whole(place + 1)} of ${whole(matches.length)}`;
  byId("viewer-previous").disabled = place < 1;
  byId("viewer-next").disabled = place < 0 ? !matches.length : place === matches.length - 1;
  const image = embedded(data.thumbnails?.[row], `Picture ${names[row]}`);
  byId("viewer-picture").replaceChildren(image ?? element("span", { class: "none" }, "no picture"));
  byId("viewer-size").textContent = "";
  image?.addEventListener("load", () => { if (viewed === row) byId("viewer-size").replaceChildren(...sizeOf(image, row)); });
  const values = [element("p", { class: "viewer-locator" }, linked(row, isolated(locators[row]))),
  element("p", {}, tickBox(row, " ticked"))];
  if (data.errors[row]) values.push(element("p", { class: "error" }, isolated(data.errors[row])));
  if (fields.some((field) => field.auto)) values.push(element("h3", { class: "auto", title: origin }, "auto-extracted"), list(row, true));
  if (fields.some((field) => !field.auto)) values.push(element("h3", {}, "your own columns"), list(row, false));
  byId("viewer-values").replaceChildren(...values);
  if (!byId("viewer").open) byId("viewer").showModal();
  keepAddress();
}

function walk(step) {
  const place = matches.indexOf(viewed);
  const target = place < 0 ? 0 : place + step;
  if (target < 0 || target >= matches.length) return;
  view(matches[target]);
}

/** Turn the gallery to the image that was seen last, and give it the focus. */
function closeViewer() {
  const row = viewed;
  viewed = null;
  keepAddress();
  const place = matches.indexOf(row);
  if (row === null || place < 0 || document.activeElement?.dataset.row === String(row)) return;
  const wanted = Math.floor(place / cardsPerPage());
  if (wanted !== page) turn(wanted);
  byId("cards").querySelector(`.frame[data-row="${row}"]`)?.focus();
}

function buildViewer() {
  const viewer = byId("viewer");
  document.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]")?.dataset.row;
    if (row !== undefined) view(Number(row));
  });
  viewer.addEventListener("close", closeViewer);
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  byId("viewer-close").addEventListener("click", () => viewer.close());
  byId("viewer-previous").addEventListener("click", () => walk(-1));
  byId("viewer-next").addEventListener("click", () => walk(1));
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    walk(step);
  });
  // Once what matches is known.
  remember("open", () => (viewed === null ? null : String(viewed)), (text) => {
    const row = text === null ? NaN : Number(text);
    if (row in locators) afterUpdate = () => view(row);
    else if (viewer.open) viewer.close();
  });
}
