// The bar of a selection: what takes the rows that match out of the page.

function updateSelection() {
  const chosen = filters.filter((filter) => filter.active);
  const active = chosen.length > 0;
  byId("selection").hidden = !active && !ticked.size;
  document.body.classList.toggle("selecting", !byId("selection").hidden);
  byId("selected").textContent = `${whole(matches.length)} of ${counted(total, "image")}${summary.sampled ? " of the sample" : ""}`;
  byId("ticks").hidden = !ticked.size;
  byId("ticked-count").textContent = `only ticked (${whole(ticked.size)})`;
  byId("copy-filter").disabled = !active;
  // On paper, in place of the controls.
  byId("printed-selection").hidden = !active;
  const words = chosen.flatMap((filter, place) => [place ? "; " : "", ...filter.words()]);
  byId("printed-selection").replaceChildren(`Selected, ${byId("selected").textContent}: `, ...words, ".");
}

/** A value in a table, in quotes where it needs them; a missing one is empty, an empty text is not. */
function cell(value) {
  if (value === null) return "";
  const text = String(value);
  return text === "" || /[",\r\n]/.test(text) || /^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table(rows) {
  const columns = [
    [named(data.provenance.locator), (row) => pathOf(row) ?? locators[row]],
    ...fields.map((field) => [name(field), (row) => (field.choices ? (field.codes[row] === null ? null : field.choices[field.codes[row]]) : field.values[row])]),
    ["error", (row) => data.errors[row]],
  ];
  const lines = rows.map((row) => columns.map(([, value]) => value(row)));
  // A spreadsheet takes such a text for a formula. It stays as it is, for programs that read it.
  const formulas = lines.flat().filter((value) => typeof value === "string" && value !== "-inf" && /^[=+\-@\t\r]/.test(value)).length;
  const text = [columns.map(([title]) => title), ...lines].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
  return { text, formulas };
}

function download(text, file) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function announce(text) {
  byId("announced").textContent = text;
}

/** Copy a text; where the browser refuses, show it selected in a dialog. */
async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`Copied ${what}.`);
  } catch {
    byId("copied-what").textContent = `Copy ${what}`;
    byId("copied").value = text;
    byId("copying").showModal();
    byId("copied").select();
  }
}

function buildSelection() {
  byId("copy-filter").addEventListener("click", () => copy(filterExpression(), "the filter"));
  byId("copy-paths").addEventListener("click", () => {
    copy(matches.map((row) => pathOf(row) ?? locators[row]).join("\n"), counted(matches.length, "path"));
  });
  byId("copy-link").addEventListener("click", () => {
    writeAddress();
    copy(location.href, "the link");
  });
  byId("download").addEventListener("click", () => {
    const { text, formulas } = table(matches);
    download(text, `${data.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "report"}.csv`);
    announce(`Saved ${counted(matches.length, "row")}.`
      + (formulas ? ` ${counted(formulas, "value")} may run as a formula in a spreadsheet: import the column as text.` : ""));
  });
  byId("close-copying").addEventListener("click", () => byId("copying").close());
}
