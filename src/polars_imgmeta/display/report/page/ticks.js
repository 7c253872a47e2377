// Images that are ticked one by one, and the filter that leaves only them.

const ticked = new Set();
const tickFilter = addFilter(() => [`${whole(ticked.size)} ticked`]);

function tickBox(row, text = "") {
  const box = element("input", { type: "checkbox", "aria-label": `Tick ${names[row]}`, "data-tick": row });
  box.checked = ticked.has(row);
  return element("label", { class: "tick" }, box, text);
}

function tick(row, wanted) {
  if (wanted) ticked.add(row); else ticked.delete(row);
  for (const box of document.querySelectorAll(`[data-tick="${row}"]`)) box.checked = wanted;
  if (!byId("only-ticked").checked) {
    updateSelection();
    keepAddress();
    return;
  }
  const boxes = [...byId("cards").querySelectorAll("[data-tick]")];
  const place = boxes.indexOf(document.activeElement);
  onlyTicked(ticked.size > 0);
  if (place < 0) return;
  // The card goes away: the next one takes its place.
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const left = byId("cards").querySelectorAll("[data-tick]");
    (left[Math.min(place, left.length - 1)] ?? byId("search")).focus();
  }));
}

function onlyTicked(wanted) {
  byId("only-ticked").checked = wanted;
  tickFilter.set((row) => !wanted || ticked.has(row), wanted);
  changed();
}

function untick() {
  ticked.clear();
  for (const box of document.querySelectorAll("[data-tick]")) box.checked = false;
  onlyTicked(false);
}

function buildTicks() {
  document.addEventListener("change", (event) => {
    const row = event.target.dataset?.tick;
    if (row !== undefined) tick(Number(row), event.target.checked);
  });
  byId("only-ticked").addEventListener("change", () => onlyTicked(byId("only-ticked").checked));
  byId("untick").addEventListener("click", () => {
    untick();
    byId("gallery").focus({ preventScroll: true });
  });
  remember("ticked", () => (ticked.size ? [...ticked].sort((a, b) => a - b).join("_") : null), (text) => {
    ticked.clear();
    for (const row of (text ?? "").split("_").filter(Boolean).map(Number)) if (row in locators) ticked.add(row);
  });
  remember("only", () => (tickFilter.active ? "ticked" : null), (text) => onlyTicked(text === "ticked" && ticked.size > 0));
}
