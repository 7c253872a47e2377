// Test cases, issues, duplicates and drift: the sections that judge. They follow page.js in the same script,
// which calls them: only functions are known there.

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

function significant(number) {
  return number === null ? "" : number.toLocaleString("en", { maximumSignificantDigits: 3 });
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

/** The test cases in which a metric differs, with its intervals on one scale, and the lowest images of each. */
function buildCases() {
  if (!data.cases) {
    drop("test-cases");
    return;
  }
  const { metric, words, rated, value, judged, suites, others } = data.cases;
  const root = byId("case-list");
  const say = (...text) => root.append(element("p", { class: "quiet" }, ...text));
  if (!rated) {
    say("No image has a value of ", isolated(metric), ".");
    return;
  }
  say("The mean of ", element("b", {}, isolated(metric)), ` is ${significant(value)} over ${counted(rated, "row")}. `,
    "Each property is cut into quarters; those that tell most come first. A line is the 95 % confidence interval of a case, a tick the mean of all other rows. ",
    `Of ${counted(judged, "case")} that ${judged === 1 ? "is" : "are"} large enough to be judged, about ${significant(Math.ceil(judged / 20))} would differ by chance alone.`);
  const filter = caseFilter();
  const [least, most, x] = sharedScale(suites.flatMap((suite) => suite.cases));
  for (const suite of suites) {
    const rows = suite.cases.map((one, number) => {
      const label = suite.auto ? `${suite.name.replaceAll("_", " ")} ${one.name}` : one.name;
      const show = element("button", { type: "button", class: "chooses", "aria-label": `Show ${label} in the gallery` }, "show in gallery");
      show.addEventListener("click", () => filter.choose(label, (row) => suite.case_of[row] === number));
      const [verdict, by] = judgement(one);
      return element("tr", { class: `case ${one.verdict.replaceAll(" ", "-")}` },
        element("th", { scope: "row" }, isolated(one.name), show),
        element("td", { "data-label": "images" }, whole(one.images), element("span", { class: "quiet" }, `${significant(100 * one.share)} %`)),
        element("td", { "data-label": "mean" }, one.value === null ? "–" : significant(one.value),
          element("span", { class: "quiet" }, interval(one.low, one.high))),
        element("td", { class: "scale" }, whisker(one, x)),
        element("td", { "data-label": "verdict" }, verdict, element("span", { class: "quiet" }, by)),
        element("td", {}, element("ul", { class: "strip" }, ...one.rows.map((row, place) => element("li", {}, element("figure", {}, picture(row),
          element("figcaption", { title: locators[row] }, words ? String(one.values[place] === 1) : significant(one.values[place]),
            ...(data.thumbnails ? [] : [" ", isolated(names[row])]))))))));
    });
    const part = suite.count > suite.cases.length ? `, the ${whole(suite.cases.length)} of ${whole(suite.count)} cases that differ most` : "";
    root.append(element("table", { class: "judged cases" },
      element("caption", { class: suite.auto ? "auto" : "" }, isolated(suite.auto ? suite.name.replaceAll("_", " ") : named(suite.name)), part),
      heads("case", "images", "mean", `${significant(least)} to ${significant(most)}`, "against the rest", words ? "false first" : "lowest first"),
      element("tbody", {}, ...rows)));
  }
  if (!suites.length) say("No property cuts the images into several cases.");
  if (others.length) say(`Properties by which it differs less: ${others.map((one) => one.replaceAll("_", " ")).join(", ")}.`);
}

/** The ends of a scale on which all cases fit that are judged, and the position of a number on it. */
function sharedScale(cases) {
  const filled = cases.filter((one) => one.value !== null);
  const judged = filled.filter((one) => one.verdict !== "too small");
  const ends = (judged.length ? judged : filled).flatMap((one) => [one.low, one.high, one.value, one.value - one.difference])
    .filter((number) => typeof number === "number");
  const [least, most] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
  const place = (number) => Math.min(1, Math.max(0, (number - least) / (most - least || 1)));
  return [least, most, (number) => `${4 + 92 * place(number)}%`];
}

function interval(low, high) {
  return low === null ? "" : `${significant(low)} to ${significant(high)}`;
}

/** The words for a verdict, and for the interval of the difference. */
function judgement({ verdict, rated, difference, difference_low: low, difference_high: high }) {
  if (verdict === "too small") return ["too few to judge", `${whole(rated)} rated`];
  if (verdict === "no difference") return [verdict, `${significant(low)} to ${significant(high)}`];
  const ends = [low, high].map(Math.abs).sort((a, b) => a - b);
  return [`${verdict} by ${significant(Math.abs(difference))}`, interval(...ends)];
}

/** A point with its confidence interval, and a tick for the rest. */
function whisker({ value, low, high, difference }, x) {
  if (value === null) return "";
  const rest = difference === null ? [] : [drawing("line", { class: "rest", x1: x(value - difference), x2: x(value - difference), y1: "10%", y2: "90%" })];
  const range = low === null ? [] : [drawing("line", { class: "interval", x1: x(low), x2: x(high), y1: "50%", y2: "50%" })];
  const others = difference === null ? "" : `, all others ${significant(value - difference)}`;
  return drawing("svg", { role: "img", "aria-label": `${significant(value)}, interval ${interval(low, high)}${others}` },
    ...rest, ...range, drawing("circle", { cx: x(value), cy: "50%", r: 4 }));
}

/** The filter of the gallery by a test case, which a button beside the others names and clears. */
function caseFilter() {
  const filter = addFilter();
  const clear = () => {
    byId("chosen-case")?.remove();
    filter.set(() => true);
    changed();
  };
  byId("reset").addEventListener("click", clear);
  return {
    choose(label, passes) {
      clear();
      const chosen = element("button", { type: "button", id: "chosen-case", "aria-label": `Clear the test case ${label}` }, isolated(label), " ×");
      chosen.addEventListener("click", () => {
        clear();
        byId("search").focus();
      });
      byId("reset").before(chosen);
      filter.set(passes);
      byId("gallery").scrollIntoView({ block: "start" });
      byId("gallery").focus({ preventScroll: true });
    },
  };
}
