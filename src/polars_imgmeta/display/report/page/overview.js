// What is read from top to bottom: summary, extremes and failures.

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
    byId("of-sample").textContent = `The counts of values and the purple bars are those of the ${whole(summary.shown)} rows on this page, `
      + `grey bars and medians those of all ${whole(summary.located)}.`;
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
