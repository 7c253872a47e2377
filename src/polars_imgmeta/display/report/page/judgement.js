// Issues, duplicates and drift: the sections that judge.

function heads(...words) {
  return element("thead", {}, element("tr", {}, ...words.map((word) => element("th", { scope: "col" }, word))));
}

function buildIssues() {
  if (!data.issues) {
    drop("issues");
    return;
  }
  const root = byId("issue-list");
  if (!data.issues.length) {
    root.append(element("p", { class: "quiet" }, summary.images ? "No image breaks a default rule." : "No images."));
    return;
  }
  root.append(element("table", { class: "judged" }, element("caption", {}, "Rules that images break, each image once; the worst are shown"),
    heads("rule", "severity", "images", "worst"),
    element("tbody", {}, ...data.issues.map((issue) => {
      const field = fields.find((one) => one.auto && one.name === issue.property);
      return element("tr", {},
        element("th", { scope: "row" }, issue.rule.replaceAll("_", " "), element("span", { class: "quiet" }, issue.reason)),
        element("td", { "data-label": "severity" }, issue.severity), element("td", { "data-label": "images" }, whole(issue.count)),
        element("td", {}, element("ul", { class: "strip" }, ...issue.rows.map((row) => figure(row, field)))));
    }))));
}

/** An image that is not in this data set. */
function stranger({ name: text, locator, thumbnail }, ...words) {
  const image = thumbnail ? element("img", { src: thumbnail, alt: "", loading: "lazy" }) : element("span", { class: "none" }, "no picture");
  return element("figure", {}, element("div", { class: "frame" }, image), element("figcaption", { title: locator }, ...words, isolated(text)));
}

/** Groups of images that match, side by side: what to keep is marked, and a copy says why it is one. */
function buildDuplicates() {
  if (!data.duplicates) {
    drop("duplicates");
    return;
  }
  const { column, groups, copies, largest } = data.duplicates;
  const root = byId("duplicate-list");
  const by = column === null ? "" : ` As the column “${column}” says.`;
  const some = groups > largest.length ? ` The largest ${whole(largest.length)} are shown.` : "";
  root.append(element("p", { class: "quiet" }, groups
    ? `${counted(groups, "group")}, in which ${counted(copies, "image")} can go.${some}${by}` : `No image is like another.${by}`));
  const property = (known) => fields.find((field) => field.auto && field.name === known);
  const sides = ["width", "height"].map(property);
  // Columns of few values tell the images of a group apart, as the split does that each belongs to.
  const kinds = fields.filter((field) => !field.auto && new Set(field.values).size <= Math.min(12, total / 3));
  root.append(element("div", { class: "contrasts" }, ...largest.map(({ images, copies: spare, rows, reasons, distances, originals }) => {
    const differing = kinds.filter(({ values }) => new Set(rows.map((row) => values[row])).size > 1);
    const twin = (row, place) => {
      const near = reasons[place] === "similar" ? `, ${counted(distances[place], "bit")}` : "";
      return element("li", { class: reasons[place] ? "" : "kept" }, element("figure", {}, picture(row),
        element("figcaption", { title: locators[row] },
          element("b", {}, reasons[place] ? reasons[place] + near : "keep"), isolated(names[row]),
          ...(sides.every(Boolean) ? [element("span", {}, sides.map((field) => shown(field.values[row], field)).join(" × "))] : []),
          ...differing.map((field) => element("span", {}, isolated(`${name(field)}: ${shown(field.values[row], field)}`))))));
    };
    const part = images > rows.length ? `, of which ${whole(rows.length)} are shown` : "";
    return element("div", { class: "contrast" }, element("h3", {}, `${counted(images, "image")}${part}; ${whole(spare)} can go`),
      element("ul", { class: "twins" },
        ...originals.map((one) => element("li", { class: "kept" }, stranger(one, element("b", {}, "keep, not in this data set")))),
        ...rows.map(twin)));
  })));
}

/** A number of three digits, however small or large it is. */
function significant(number) {
  if (number === null) return "";
  const size = Math.abs(number);
  if (size > 0 && size < 1e-4) return number.toExponential(2);
  return size < 1e6 ? number.toLocaleString("en", { maximumSignificantDigits: 3 }) : compact(number, 3);
}

function buildDrift() {
  if (!data.drift) {
    drop("drift");
    return;
  }
  const rows = data.drift.map((one) => {
    const field = fields.find((known) => known.auto && known.name === one.property);
    const percent = (share) => `${whole(Math.round(share * 1000) / 10)}%`;
    const range = one.ks === null ? "" : `${one.start === null ? "up to" : `${significant(one.start)} to`} ${significant(one.end)}: ${percent(one.share_a)} of a, ${percent(one.share_b)} of b`;
    const explained = one.verdict === "shifted"
      ? [range, element("ul", { class: "strip" }, ...one.rows.map((row) => figure(row, field)), ...one.others.map((other) => element("li", {}, stranger(other))))] : [];
    return element("tr", { class: one.verdict === "shifted" ? "shifted" : "" },
      element("th", { scope: "row", class: "auto" }, one.property.replaceAll("_", " ")), element("td", {}, one.verdict),
      ...[["KS", "ks"], ["p", "p"], ["PSI", "psi"]].map(([label, key]) => element("td", { "data-label": label }, significant(one[key]))),
      element("td", { "data-label": "moved by" }, [significant(one.wasserstein), one.unit].filter(Boolean).join(" ")), element("td", {}, ...explained));
  });
  byId("drift-list").append(element("table", { class: "judged" }, element("caption", {}, "Properties, those that differ most first"),
    heads("property", "verdict", "KS", "p", "PSI", "moved by", "explained by"), element("tbody", {}, ...rows)));
}
