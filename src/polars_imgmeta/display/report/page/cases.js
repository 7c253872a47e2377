// Test cases: where a metric differs between ranges of properties.

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
    "Each property is cut into quarters; those in which it differs most come first. A line is the 95% confidence interval of a case, a tick the mean of all other rows. ",
    `Of ${counted(judged, "case")} that ${judged === 1 ? "is" : "are"} large enough to be judged, about ${significant(Math.ceil(judged / 20))} would differ by chance alone.`);
  const choose = caseFilter(suites);
  const [least, most, x] = sharedScale(suites.flatMap((suite) => suite.cases));
  for (const [place, suite] of suites.entries()) {
    const rows = suite.cases.map((one, number) => {
      const label = caseLabel(suite, one);
      const show = element("button", { type: "button", class: "chooses", "aria-label": `Show ${label} in the gallery` }, "show in gallery");
      show.addEventListener("click", () => choose(place, number));
      const [verdict, by] = judgement(one);
      return element("tr", { class: `case ${one.verdict.replaceAll(" ", "-")}` },
        element("th", { scope: "row" }, isolated(one.name), show),
        element("td", { "data-label": "images" }, whole(one.images), element("span", { class: "quiet" }, `${significant(100 * one.share)}%`)),
        element("td", { "data-label": "mean" }, one.value === null ? "–" : significant(one.value),
          element("span", { class: "quiet" }, interval(one.low, one.high))),
        element("td", { class: "scale" }, whisker(one, x)),
        element("td", { "data-label": "verdict" }, verdict, element("span", { class: "quiet" }, by)),
        element("td", {}, element("ul", { class: "strip" }, ...one.rows.map((row, rank) => element("li", {}, element("figure", {}, picture(row),
          element("figcaption", { title: locators[row] }, words ? String(one.values[rank] === 1) : significant(one.values[rank]),
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
function caseFilter(suites) {
  let chosen = null;
  const label = () => caseLabel(suites[chosen[0]], suites[chosen[0]].cases[chosen[1]]);
  const filter = addFilter(() => ["test case ", isolated(label())]);
  const choose = (suite, number) => {
    byId("chosen-case")?.remove();
    chosen = number in (suites[suite]?.cases ?? []) ? [suite, number] : null;
    filter.set((row) => !chosen || suites[suite].case_of[row] === number, chosen !== null);
    if (chosen) {
      const button = element("button", { type: "button", id: "chosen-case", "aria-label": `Clear the test case ${label()}` }, isolated(label()), " ×");
      button.addEventListener("click", () => {
        choose();
        byId("search").focus();
      });
      byId("reset").before(button);
    }
    changed();
  };
  byId("reset").addEventListener("click", () => choose());
  remember("case", () => chosen && chosen.join("_"), (text) => choose(...(text ?? "").split("_").filter(Boolean).map(Number)));
  return (suite, number) => {
    choose(suite, number);
    byId("gallery").scrollIntoView({ block: "start" });
    byId("gallery").focus({ preventScroll: true });
  };
}

function caseLabel(suite, one) {
  return suite.auto ? `${suite.name.replaceAll("_", " ")} ${one.name}` : one.name;
}
