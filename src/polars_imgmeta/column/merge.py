"""Old and new values put together: pure, no image is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import Property, canonical_order
from polars_imgmeta.column import marker
from polars_imgmeta.column.plan import Plan, Rows
from polars_imgmeta.column.structs import ERROR, MARKER

SIZE: Final = "=size"
"""Beside fresh values: the number of bytes of the image."""


def contradicted(rows: Rows, plan: Plan, fresh: pl.DataFrame, facts: Sequence[str]) -> pl.Series:
    """Return which rows have values of another image than the one that was read.

    Args:
        rows: What the rows have.
        plan: What was read.
        fresh: What was found for each row.
        facts: The properties that were read for comparison.
    """
    differs = [(rows.values[name] != fresh[name]).fill_null(value=False) for name in facts]
    # Without a size, the image could not be opened then.
    differs.append((rows.size.ne_missing(fresh[SIZE]) & fresh[SIZE].is_not_null()).alias(SIZE))
    found = pl.DataFrame(differs).select(pl.any_horizontal(pl.all())).to_series()
    return found & rows.current & plan.read


def merge(
    rows: Rows,
    plan: Plan,
    fresh: pl.DataFrame,
    *,
    properties: Sequence[Property],
    locator: str,
    unknown: pl.DataFrame,
    same: pl.Series,
) -> pl.Series:
    """Put old and new values together.

    Args:
        rows: What the rows have.
        plan: Which of the new values count.
        fresh: What was found for each row: values, error, and size.
        properties: The properties of the result that are known here.
        locator: The name of the locator column.
        unknown: The values of properties that are not known here. They pass through.
        same: Whether what a row had is of the image that it names now.

    Returns:
        The structs: a field for each property, the error, and the marker.
    """
    read = plan.read
    nothing = pl.Series([None], dtype=pl.Null).new_from_index(0, len(read))
    values = pl.DataFrame(
        [
            *(fresh[name].zip_with(needed, rows.values[name]) for name, needed in plan.by_name),
            *(one.zip_with(same, nothing.cast(one.dtype)) for one in unknown),
        ]
    )
    # An error that explains no null any more is dropped, and so is the one of another row
    # that has the same locator and was asked for more.
    required = [one.name for one in properties if not one.nullable] + unknown.columns
    incomplete = values.select(pl.any_horizontal(pl.col(required).is_null())).to_series()
    error = fresh[ERROR].zip_with(read, rows.error)
    size = rows.size.zip_with(same, nothing.cast(pl.Int64))
    size = fresh[SIZE].zip_with(plan.anew | (read & fresh[SIZE].is_not_null()), size)
    # Nulls that only the error before explained are to be computed where they are known.
    healed = plan.anew & rows.error.is_not_null() & rows.error.ne_missing(error)
    unexplained = unknown.select(pl.all().is_null() & pl.lit(healed)) if unknown.width else unknown
    entries = _entries(rows, plan, values, properties, same=same, unexplained=unexplained)
    text = marker.compose(locator, rows.digest, size, entries)
    table = values.select(canonical_order(values.columns)).with_columns(
        error.zip_with(incomplete, nothing.cast(pl.String)).alias(ERROR), text.alias(MARKER)
    )
    valid = pl.lit(rows.located & (rows.current | read))
    return table.select(pl.when(valid).then(pl.struct(pl.all()))).to_series()


def _entries(
    rows: Rows,
    plan: Plan,
    values: pl.DataFrame,
    properties: Sequence[Property],
    *,
    same: pl.Series,
    unexplained: pl.DataFrame,
) -> pl.Series:
    """Return what the markers list: versions other than 1, and nulls that were computed."""
    names = [one.name for one in properties]
    plain = all(one.version == 1 for one in properties) and not (rows.entries != "").any()
    gaps = values.select(pl.any_horizontal(pl.col(names).is_null())).to_series() & rows.located
    if plain and not gaps.any():
        return pl.Series([""]).new_from_index(0, len(values))
    old = pl.when(pl.lit(same)).then(pl.lit(rows.entries)).otherwise(pl.lit(""))
    for where in unexplained:
        rest = marker.without_entries(old, [where.name])
        old = pl.when(pl.lit(where)).then(rest).otherwise(old)
    versions = {}
    for one in properties:
        null = pl.col(one.name).is_null()
        before = pl.when(~pl.lit(plan.anew)).then(marker.version_in(old, one.name))
        version = pl.when(pl.lit(plan.needs[one.name])).then(one.version).otherwise(before)
        versions[one.name] = pl.when(null | (version != 1)).then(version)
    listed = pl.concat_str(marker.entries_of(versions), marker.without_entries(old, names))
    return values.select(marker.in_order(listed)).to_series()
