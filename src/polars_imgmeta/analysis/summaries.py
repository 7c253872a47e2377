"""Small summaries of the values of properties, which can be stored, merged and compared.

A summary counts values in buckets, each 0.5 % wider than the one below, as DDSketch does. The
buckets are the same everywhere, so that the merged summaries of parts are exactly the summary
of the whole, and a value is known to 0.25 %.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from polars_imgmeta.analysis.comparables import find_comparable
from polars_imgmeta.analysis.distances import Distribution
from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.exceptions import PropertyError
from polars_imgmeta.typing import Frame

ACCURACY: Final = 0.0025
"""The maximum relative error of a value."""

METADATA_KEY: Final = "imgmeta.summary"
"""The key of a summary in the metadata of a Parquet file."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
# Smaller ones count as 0.
_SMALLEST = 1e-9
_FIRST = math.ceil(math.log(_SMALLEST) / _LOG_GAMMA) - 1
_FORM = 1
_COUNTS, _LEAST, _MOST, _MISSING = "counts", "least", "most", "missing"


@dataclass(frozen=True, slots=True)
class PropertySummary:
    """What a summary knows of one property.

    Attributes:
        version: The version of its definition.
        missing: The number of rows without a finite value.
        minimum: The smallest value, or None without values.
        maximum: The largest value, or None without values.
        buckets: How many values there are in each bucket, by its number.
    """

    version: int
    missing: int
    minimum: float | None
    maximum: float | None
    buckets: Mapping[int, int]

    def distribution(self) -> Distribution:
        """Return the values, each as the middle of its bucket."""
        keys = np.array(sorted(self.buckets), np.int64)
        counts = np.array([self.buckets[int(key)] for key in keys], np.int64)
        outer = np.sign(keys) * np.exp((np.abs(keys) + _FIRST) * _LOG_GAMMA)
        points = outer * 2 / (_GAMMA + 1)
        ends = np.where(keys < 0, outer / _GAMMA, np.where(keys > 0, outer, _SMALLEST))
        return Distribution(points, counts, ends)

    def merged(self, other: PropertySummary) -> PropertySummary:
        """Return the summary of both."""
        least = [one for one in (self.minimum, other.minimum) if one is not None]
        most = [one for one in (self.maximum, other.maximum) if one is not None]
        return PropertySummary(
            self.version,
            self.missing + other.missing,
            min(least, default=None),
            max(most, default=None),
            dict(Counter(self.buckets) + Counter(other.buckets)),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The distribution of each property of a data set, in tens of kilobytes.

    Two summaries are merged with `+`, which gives exactly the summary of the rows of both.

    Attributes:
        properties: What is known of each property.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> im.summarise(df.head(5)) + im.summarise(df.tail(-5)) == im.summarise(df)
        True
    """

    properties: Mapping[str, PropertySummary]

    def __add__(self, other: object) -> Summary:
        """Merge two summaries."""
        if not isinstance(other, Summary):
            return NotImplemented
        merged = dict(self.properties)
        for name, one in other.properties.items():
            known = merged.setdefault(name, one)
            if known.version != one.version:
                msg = (
                    f"summaries of {name!r} must be of one version of its definition, got"
                    f" {known.version} and {one.version}\n\nHint: `extract` the older set again"
                )
                raise PropertyError(msg)
            if known is not one or name in self.properties:
                merged[name] = known.merged(one)
        return Summary(merged)

    def to_json(self) -> str:
        """Return the summary as text.

        Examples:
            >>> summary = im.summarise(pl.DataFrame({"n": [1.0, 2.0]}), "n")
            >>> im.Summary.from_json(summary.to_json()) == summary
            True
        """
        properties = {
            name: {
                "version": one.version,
                "missing": one.missing,
                "minimum": one.minimum,
                "maximum": one.maximum,
                "buckets": sorted(one.buckets.items()),
            }
            for name, one in self.properties.items()
        }
        content = {"form": _FORM, "accuracy": ACCURACY, "properties": properties}
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Return the summary that `to_json` has written.

        Raises:
            PropertyError: If the text is none.
        """
        try:
            content = json.loads(text)
            known = (content["form"], content["accuracy"]) == (_FORM, ACCURACY)
            read = {name: _read_property(one) for name, one in content["properties"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"a summary must be what `to_json` writes, got {text[:40]!r}"
            raise PropertyError(msg) from error
        if not known:
            msg = "the summary is in the form of another release, which this one cannot read"
            raise PropertyError(msg)
        return cls(read)

    @property
    def metadata(self) -> dict[str, str]:
        """The summary as metadata of a Parquet file, for `write_parquet` and `sink_parquet`."""
        return {METADATA_KEY: self.to_json()}

    @classmethod
    def from_parquet(
        cls,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        **options: Any,  # noqa: ANN401 - Polars' own
    ) -> Summary:
        """Return the summary in the metadata of Parquet files, merged, without reading rows.

        Args:
            files: The file or files, as `polars.read_parquet_metadata` takes them.
            options: Options of `polars.read_parquet_metadata`.

        Raises:
            PropertyError: If there is no file, or one without a summary.

        Examples:
            >>> df = im.scan_images("photos").imgmeta.extract("path", "width").collect()
            >>> im.write_parquet(df, "summed.parquet", metadata=im.summarise(df).metadata)
            >>> im.Summary.from_parquet("summed.parquet") == im.summarise(df)
            True
        """
        listed = [files] if isinstance(files, str | os.PathLike) else list(files)
        if not listed:
            msg = "`files` must name at least one Parquet file, got none"
            raise PropertyError(msg)
        total = cls({})
        for file in listed:
            text = pl.read_parquet_metadata(os.fspath(file), **options).get(METADATA_KEY)
            if text is None:
                msg = (
                    f"{os.fspath(file)} has no summary in its metadata\n\nHint: write it with"
                    " `write_parquet(df, file, metadata=summarise(df).metadata)`"
                )
                raise PropertyError(msg)
            total += cls.from_json(text)
        return total

    def table(self) -> pl.DataFrame:
        """Return a row for each property.

        Returns:
            A frame of `property`, `values`, `missing`, `minimum`, `q05`, `median`, `q95` and
            `maximum`. The quantiles are exact to 0.25 %, the other numbers exact.

        Examples:
            >>> im.summarise(pl.DataFrame({"n": [1.0, 2.0, 3.0]}), "n").table().row(0)[:4]
            ('n', 3, 0, 1.0)
        """
        rows = []
        for name, one in self.properties.items():
            values, parts = one.distribution(), (0.05, 0.5, 0.95)
            quantiles: list[float | None] = [None] * len(parts)
            if one.minimum is not None and one.maximum is not None:
                inside = (one.minimum, one.maximum)
                quantiles = [float(np.clip(values.quantile(part), *inside)) for part in parts]
            rows.append((name, values.size, one.missing, one.minimum, *quantiles, one.maximum))
        numbers = ("minimum", "q05", "median", "q95", "maximum")
        schema = {"property": pl.String(), "values": pl.Int64(), "missing": pl.Int64()}
        return pl.DataFrame(
            rows, schema={**schema, **dict.fromkeys(numbers, pl.Float64())}, orient="row"
        )


def summarise(
    frame: Frame,
    properties: str | Iterable[str] | None = None,
    *,
    column: str | None = None,
) -> Summary:
    """Summarise the values of each property in tens of kilobytes, however many rows there are.

    Args:
        frame: The frame. A lazy one is gone through once.
        properties: The properties, or numeric columns of your own; by default all properties
            that are numbers or Booleans.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The summary, in which each value is known to 0.25 %, and to 1e-9.

    Source:
        C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch
        with Relative-Error Guarantees", Proceedings of the VLDB Endowment 12, 2019.

    Raises:
        ColumnError: If the frame lacks a property.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> im.summarise(df, ["width", "brightness"]).table().select("property", "median")
        shape: (2, 2)
        ┌────────────┬────────────┐
        │ property   ┆ median     │
        │ ---        ┆ ---        │
        │ str        ┆ f64        │
        ╞════════════╪════════════╡
        │ width      ┆ 319.740232 │
        │ brightness ┆ 0.500321   │
        └────────────┴────────────┘
    """
    quantities = find_comparable(frame, properties, column)
    found = (
        frame.lazy()
        .select(pl.struct(_summary_of(one)).alias(name) for name, one in quantities.items())
        .collect()
        .row(0, named=True)
    )
    return Summary({name: _summarised(name, found[name]) for name in quantities})


def _summary_of(quantity: Quantity) -> list[pl.Expr]:
    values = quantity.values.cast(pl.Float64)
    finite = values.filter(values.is_finite())
    size = finite.abs()
    number = (size.log() / _LOG_GAMMA).ceil() - _FIRST
    signed = pl.when(finite < 0).then(-number).otherwise(number)
    key = pl.when(size < _SMALLEST).then(0.0).otherwise(signed).cast(pl.Int32)
    return [
        key.alias("key").value_counts().implode().alias(_COUNTS),
        finite.min().alias(_LEAST),
        finite.max().alias(_MOST),
        (pl.len() - finite.len()).alias(_MISSING),
    ]


def _summarised(name: str, found: Mapping[str, Any]) -> PropertySummary:
    known = CATALOGUE.get(name)
    return PropertySummary(
        known.version if known else 1,
        found[_MISSING],
        found[_LEAST],
        found[_MOST],
        {one["key"]: one["count"] for one in found[_COUNTS]},
    )


def _read_property(content: Mapping[str, Any]) -> PropertySummary:
    return PropertySummary(
        int(content["version"]),
        int(content["missing"]),
        content["minimum"],
        content["maximum"],
        {int(key): int(count) for key, count in content["buckets"]},
    )
