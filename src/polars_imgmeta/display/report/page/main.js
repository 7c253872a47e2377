// Builds the page, and draws it again after each change of a filter.

let afterUpdate = null;

function update() {
  for (const histogram of histograms) histogram.update();
  for (const facet of facets) facet.update();
  updateGallery();
  updateSelection();
  scatter.update();
  const then = afterUpdate;
  afterUpdate = null;
  then?.();
}

buildSummary();
buildHistograms();
buildFacets();
buildConstants();
if (!histograms.length && !facets.length && !fields.some(isConstant)) drop("distributions");
buildTicks();
buildGallery();
buildSelection();
scatter.build();
buildCases();
buildIssues();
buildDuplicates();
buildExtremes();
buildDrift();
buildFailures();
byId("footer").textContent = `Written by polars-imgmeta ${data.version}.`;
buildViewer();
buildAddress();
update();
