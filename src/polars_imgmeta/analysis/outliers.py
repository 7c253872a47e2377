"""The verb that takes thresholds from the data itself."""

from __future__ import annotations

from collections.abc import Iterable

from polars_imgmeta.analysis.rule_sets import RuleSet
from polars_imgmeta.analysis.rules import OutlierRule
from polars_imgmeta.exceptions import PropertyError
from polars_imgmeta.typing import Frame, OutlierMethod, Side


def outliers(
    frame: Frame,
    properties: str | Iterable[str],
    *,
    method: OutlierMethod = "mad",
    factor: float | None = None,
    side: Side = "both",
    by: str | None = None,
    column: str | None = None,
) -> RuleSet:
    """Make rules whose thresholds are those of the data, by median and deviation or quartiles.

    Args:
        frame: The frame. Of a lazy one only the thresholds are collected.
        properties: The properties or columns of your own to judge.
        method: How thresholds are computed: see [`OutlierRule`][polars_imgmeta.OutlierRule].
        factor: The factor of the method, where its usual one does not fit.
        side: On which side values are issues: `"both"`, `"below"` or `"above"`.
        by: A property or column; each of its values has thresholds of its own.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        A rule for each property, named `<property>_outlier`, with fixed thresholds.

    Raises:
        ColumnError: If the frame lacks a property.
        PropertyError: If there are too few values, or if an argument is invalid.

    Examples:
        >>> df = pl.DataFrame({"width": [320, 321, 322, 323, 324, 325, 326, 327, 4000]})
        >>> rules = im.outliers(df, "width")
        >>> round(rules["width_outlier"].above, 2)
        334.38
        >>> im.issues(df, rules)["value"].to_list()
        [4000.0]
    """
    names = [properties] if isinstance(properties, str) else list(properties)
    if not names:
        msg = "`properties` must name at least one property or column, got none"
        raise PropertyError(msg)
    groups = f" of its {by}" if by else ""
    rules = RuleSet(
        OutlierRule(
            name=f"{name}_outlier",
            property=name,
            reason=f"{name} is far from that of the others{groups}",
            method=method,
            factor=factor,
            side=side,
            by=by,
            source="computed from the data",
        )
        for name in dict.fromkeys(names)
    )
    return rules.fit(frame, column=column)
