"""The verb that says what has changed between two data sets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeAlias, get_args

import polars as pl

from polars_imgmeta.analysis.comparables import find_comparable
from polars_imgmeta.analysis.distances import Distance, Distribution, distance
from polars_imgmeta.analysis.naming import names_of_images
from polars_imgmeta.analysis.summaries import Summary, summarise
from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.typing import Drift, Frame

Comparable: TypeAlias = Frame | Summary
"""A data set, or a summary of one."""

_FEWEST: Final = 20
_SIGNIFICANCE: Final = 0.05
_STABLE: Final = 0.1
_IMAGES: Final = 5
_IMAGE: Final = "\0image"  # a name that no property has
_NUMBERS: Final = (
    *("ks", "p", "wasserstein", "psi", "psi_by_chance", "overlap", "overlap_by_chance"),
    *("start", "end", "share_a", "share_b"),
)
_SCHEMA: Final = pl.Schema(
    {
        "property": pl.String(),
        "unit": pl.String(),
        "verdict": pl.Enum(get_args(Drift)),
        "values_a": pl.Int64(),
        "values_b": pl.Int64(),
        **dict.fromkeys(_NUMBERS, pl.Float64()),
        "images": pl.List(pl.String()),
    }
)


def compare(
    frame: Comparable,
    other: Comparable,
    *,
    properties: str | Iterable[str] | None = None,
    column: str | None = None,
    locator: str | None = None,
) -> pl.DataFrame:
    """Compare the properties of two data sets, and find the images that explain a difference.

    Either may be a frame or a [`Summary`][polars_imgmeta.Summary]; with a summary no row is
    needed. Of a lazy frame the values are collected once.

    Args:
        frame: The first data set, a.
        other: The second data set, b.
        properties: The properties, or numeric columns of your own; by default all that are
            numbers or Booleans in both.
        column: The auto-extracted column of both; may be left out where there is one.
        locator: The locator column of both; may be left out where the column or its rows
            name it.

    Returns:
        A row for each property, those that differ most first:

        - `property`, `unit`
        - `verdict`: `"shifted"` if chance explains the difference in fewer than 5 % of cases,
          corrected for the number of properties by Holm's method, and `psi` is at least 0.1;
          otherwise `"alike"`; `"too few"` where a set has fewer than 20 values
        - `values_a`, `values_b`: the number of values
        - `ks`: the statistic of Kolmogorov and Smirnov, the largest difference of the
          cumulative distributions, 0 to 1, and `p`, how likely chance alone gives as much
        - `wasserstein`: by how much values moved on average, in their unit
        - `psi`: the population stability index; customarily, below 0.1 is stable, and above
          0.25 a large change. `psi_by_chance` is what two random samples of these sizes from
          both together have on average
        - `overlap`: the share that both have in common, and `overlap_by_chance`, what two
          such samples have in common on average
        - `start`, `end`: the range in which shares differ most, of ten with as many values
          each; `share_a` and `share_b` of the values are above `start` up to `end`
        - `images`: up to 5 in that range, of the set that has more there, the furthest from
          the median of the other one first; null where that is a summary, or where no share
          differs. Where images are bytes, such as `row 7`

    Raises:
        ColumnError: If a property is missing in one of them, or if none is in both.

    Examples:
        >>> day = pl.DataFrame({"brightness": [0.5, 0.6, 0.7, 0.8] * 10})
        >>> night = pl.DataFrame({"brightness": [0.1, 0.6, 0.1, 0.2] * 10})
        >>> im.compare(day, night, properties="brightness").row(0)[:7]
        ('brightness', 'fraction', 'shifted', 40, 40, 0.75, 7.7...e-11)
    """
    if properties is not None and not isinstance(properties, str):
        properties = list(properties)
    summarised = isinstance(frame, Summary) or isinstance(other, Summary)
    a, b = (
        _Side.of(one, properties, column, locator, summarised=summarised) for one in (frame, other)
    )
    names = [name for name in a.names if name in b.names]
    if not names:
        msg = (
            "the data sets must have a property in common, got"
            f" {', '.join(map(repr, a.names))} in one and {', '.join(map(repr, b.names))} in the"
            " other"
        )
        raise ColumnError(msg)
    rows = [_row(name, a, b) for name in names]
    _judge(rows)
    order = sorted(rows, key=lambda row: (-row.get("ks", -1), row["property"]))
    return pl.DataFrame(order, schema=_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two data sets.

    Attributes:
        summary: Its summary, where one is compared.
        table: The values by property, and what names each image; None of a summary.
    """

    summary: Summary | None
    table: pl.DataFrame | None

    @classmethod
    def of(
        cls,
        given: object,
        properties: str | Iterable[str] | None,
        column: str | None,
        locator: str | None,
        *,
        summarised: bool,
    ) -> Self:
        """Collect what is needed of a data set, in one pass."""
        if isinstance(given, Summary):
            return cls(_chosen(given, properties), None)
        if not isinstance(given, pl.DataFrame | pl.LazyFrame):
            msg = (
                f"a DataFrame, a LazyFrame or a Summary can be compared, got {type(given).__name__}"
            )
            raise TypeError(msg)
        quantities = find_comparable(given, properties, column)
        names = names_of_images(given, column, locator)
        values = {name: one.values.cast(pl.Float64) for name, one in quantities.items()}
        table = given.lazy().select(**values, **{_IMAGE: names}).collect()
        return cls(summarise(table, list(values)) if summarised else None, table)

    @property
    def names(self) -> list[str]:
        """The properties."""
        if self.summary is not None:
            return list(self.summary.properties)
        return [] if self.table is None else [one for one in self.table.columns if one != _IMAGE]

    def distribution(self, name: str) -> Distribution:
        """Return how often each value of a property occurs."""
        if self.summary is not None:
            return self.summary.properties[name].distribution()
        assert self.table is not None  # noqa: S101 - there is one of them
        return Distribution.of(_finite(self.table[name]).to_numpy())

    def images(self, name: str, gap: Distance, centre: float) -> list[str] | None:
        """Return images in the range that differs most, the furthest from a value first."""
        if self.table is None:
            return None
        value = pl.col(name)
        inside = self.table.filter(value.is_finite() & (value > gap.start) & (value <= gap.end))
        ordered = inside.sort((value - centre).abs(), _IMAGE, descending=[True, False])
        return ordered[_IMAGE].unique(maintain_order=True).head(_IMAGES).to_list()


def _chosen(summary: Summary, properties: str | Iterable[str] | None) -> Summary:
    if properties is None:
        return summary
    names = [properties] if isinstance(properties, str) else list(properties)
    if lacking := [name for name in names if name not in summary.properties]:
        msg = (
            f"the summary must have the properties that are compared, got no {lacking[0]!r}"
            f"\n\nProperties: {structs.listing(summary.properties)}"
        )
        raise ColumnError(msg)
    return Summary({name: summary.properties[name] for name in names})


def _row(name: str, a: _Side, b: _Side) -> dict[str, Any]:
    known = CATALOGUE.get(name)
    in_a, in_b = a.distribution(name), b.distribution(name)
    row = {
        "property": name,
        "unit": known.unit if known else "",
        "values_a": in_a.size,
        "values_b": in_b.size,
    }
    if not (in_a.size and in_b.size):
        return row
    gap = distance(in_a, in_b)
    richer, other = (a, in_b) if gap.share_a >= gap.share_b else (b, in_a)
    differs = gap.share_a != gap.share_b
    images = richer.images(name, gap, other.quantile(0.5)) if differs else None
    start = gap.start if math.isfinite(gap.start) else None
    return {**row, **asdict(gap), "start": start, "images": images}


def _judge(rows: list[dict[str, Any]]) -> None:
    """Add the verdicts; p is corrected for the number of properties by Holm's method."""
    enough = [row for row in rows if min(row["values_a"], row["values_b"]) >= _FEWEST]
    corrected = 0.0
    for place, row in enumerate(sorted(enough, key=lambda row: float(row["p"]))):
        corrected = max(corrected, row["p"] * (len(enough) - place))
        shifted = corrected < _SIGNIFICANCE and row["psi"] >= _STABLE
        row["verdict"] = "shifted" if shifted else "alike"
    for row in rows:
        row.setdefault("verdict", "too few")


def _finite(values: pl.Series) -> pl.Series:
    return values.filter(values.is_finite())
