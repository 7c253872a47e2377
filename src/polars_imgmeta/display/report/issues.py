"""The images of a report that break the default rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from polars_imgmeta.analysis.issues import issues
from polars_imgmeta.display.report.distinct import ROW, distinct_images
from polars_imgmeta.exceptions import ColumnError

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that images break.

    Attributes:
        rule: The name of the rule.
        property: The property that it judges.
        severity: How bad that is.
        reason: Why an image is an issue.
        count: The number of images.
        rows: The rows of the worst ones.
    """

    rule: str
    property: str
    severity: str
    reason: str
    count: int
    rows: list[int]


def find_broken_rules(structs: pl.Series, images: pl.Series) -> list[BrokenRule] | None:
    """Find the rules that are broken, the most severe first, then those of most images.

    Args:
        structs: The auto-extracted column.
        images: What is equal for rows of the same image, each of which counts once.

    Returns:
        The rules; None if no default rule applies to these properties.
    """
    named = distinct_images(structs, images).with_columns(pl.col(ROW).cast(pl.String))
    try:
        found = issues(named, locator=ROW)
    except ColumnError:
        return None
    rules = found.group_by("rule", maintain_order=True).agg(
        pl.col("property", "severity", "reason").first(),
        count=pl.len(),
        rows=pl.col("locator").cast(pl.Int64).head(_SHOWN),
    )
    ordered = rules.sort("severity", "count", descending=True, maintain_order=True)
    return [
        BrokenRule(**row)
        for row in ordered.with_columns(pl.col("severity").cast(pl.String)).iter_rows(named=True)
    ]
