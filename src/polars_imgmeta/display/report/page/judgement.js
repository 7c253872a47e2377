// Issues and drift: the sections that judge. They follow page.js in the same script, which calls
// them: only functions are known there.

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

function significant(number) {
  return number === null ? "" : number.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function buildDrift() {
  if (!data.drift) {
    drop("drift");
    return;
  }
  const other = ({ name: text, locator, thumbnail }) => element("li", {}, element("figure", {},
    element("div", { class: "frame" }, thumbnail ? element("img", { src: thumbnail, alt: "", loading: "lazy" }) : element("span", { class: "none" }, "no picture")),
    element("figcaption", { title: locator }, isolated(text))));
  const rows = data.drift.map((one) => {
    const field = fields.find((known) => known.auto && known.name === one.property);
    const percent = (share) => `${whole(Math.round(share * 1000) / 10)}%`;
    const range = one.ks === null ? "" : `${one.start === null ? "up to" : `${significant(one.start)} to`} ${significant(one.end)}: ${percent(one.share_a)} of a, ${percent(one.share_b)} of b`;
    const explained = one.verdict === "shifted"
      ? [range, element("ul", { class: "strip" }, ...one.rows.map((row) => figure(row, field)), ...one.others.map(other))] : [];
    return element("tr", { class: one.verdict === "shifted" ? "shifted" : "" },
      element("th", { scope: "row", class: "auto" }, one.property.replaceAll("_", " ")), element("td", {}, one.verdict),
      ...[["KS", "ks"], ["p", "p"], ["PSI", "psi"]].map(([label, key]) => element("td", { "data-label": label }, significant(one[key]))),
      element("td", { "data-label": "moved by" }, [significant(one.wasserstein), one.unit].filter(Boolean).join(" ")), element("td", {}, ...explained));
  });
  byId("drift-list").append(element("table", { class: "judged" }, element("caption", {}, "Properties, those that differ most first"),
    heads("property", "verdict", "KS", "p", "PSI", "moved by", "explained by"), element("tbody", {}, ...rows)));
}
