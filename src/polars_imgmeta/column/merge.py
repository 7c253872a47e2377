"""Old and new values put together: pure, no image is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import Property, canonical_order
from polars_imgmeta.column import marker
from polars_imgmeta.column.failures import explaining, without_lines
from polars_imgmeta.column.plan import Plan, Rows
from polars_imgmeta.column.structs import ERROR, MARKER

SIZE: Final = "=size"
"""Beside fresh values: the number of bytes of the image."""

FAILED: Final = "=failed"
"""Beside fresh values: the names of the properties that failed, each between spaces, or null."""


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
        fresh: What was found for each row: values, error, size, and what failed.
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
    error = fresh[ERROR].zip_with(read, rows.error)
    size = rows.size.zip_with(same, nothing.cast(pl.Int64))
    size = fresh[SIZE].zip_with(plan.anew | (read & fresh[SIZE].is_not_null()), size)
    # What failed for another reason than the present one is computed where it is known.
    healed = plan.anew & rows.error.ne_missing(error)
    entries = _entries(rows, plan, values, properties, fresh[FAILED], same=same, healed=healed)
    # An error that explains no failure any more is dropped, and so is the one of another row
    # that has the same locator and was asked for more.
    for one in properties:
        if not one.built_in:
            listed = marker.entry_in(pl.lit(entries), one.name)
            has_failed = pl.select(listed.str.ends_with("!").fill_null(value=False)).to_series()
            others = pl.select(without_lines(pl.lit(error), [one.name])).to_series()
            error = error.zip_with(has_failed, others)
    explained = explaining(pl.lit(error), pl.lit(entries))
    text = marker.compose(locator, rows.digest, size, entries)
    valid = pl.lit(rows.located & (rows.current | read))
    fields = [*map(pl.col, canonical_order(values.columns)), explained.alias(ERROR)]
    structs = pl.struct(*fields, pl.lit(text).alias(MARKER))
    return values.select(pl.when(valid).then(structs)).to_series()


def assemble(
    fresh: pl.DataFrame, digest: pl.Series, properties: Sequence[Property], locator: str
) -> pl.Series:
    """Make structs of images that were read for all properties, as `merge` does.

    Args:
        fresh: As for `merge`.
        digest: The digest of the name of each image.
        properties: The properties.
        locator: The name of the locator column.
    """
    names = [one.name for one in properties]
    entries = None
    if any(one.version != 1 for one in properties) or any(
        fresh[name].has_nulls() for name in names
    ):
        listed = {one.name: _listed(one.name, _entry(one, fresh[FAILED])) for one in properties}
        entries = fresh.select(marker.in_order(marker.entries_of(listed))).to_series()
    text = marker.compose(locator, digest, fresh[SIZE], entries)
    fields = [fresh[name] for name in (*canonical_order(names), ERROR)]
    return pl.DataFrame([*fields, text.alias(MARKER)]).to_struct()


def _entries(
    rows: Rows,
    plan: Plan,
    values: pl.DataFrame,
    properties: Sequence[Property],
    failed: pl.Series,
    *,
    same: pl.Series,
    healed: pl.Series,
) -> pl.Series:
    """Return what the markers list: versions other than 1, and nulls that were computed."""
    names = [one.name for one in properties]
    plain = all(one.version == 1 for one in properties) and not (rows.entries != "").any()
    gaps = values.select(pl.any_horizontal(pl.col(names).is_null())).to_series() & rows.located
    if plain and not gaps.any():
        return pl.Series([""]).new_from_index(0, len(values))
    old = pl.when(pl.lit(same)).then(pl.lit(rows.entries)).otherwise(pl.lit(""))
    old = pl.when(pl.lit(healed)).then(marker.without_failed(old)).otherwise(old)
    listed = {}
    for one in properties:
        before = pl.when(~pl.lit(plan.anew)).then(marker.entry_in(old, one.name))
        needed = pl.lit(plan.needs[one.name])
        entry = pl.when(needed).then(_entry(one, failed)).otherwise(before)
        listed[one.name] = _listed(one.name, entry)
    entries = pl.concat_str(marker.entries_of(listed), marker.without_entries(old, names))
    return values.select(marker.in_order(entries)).to_series()


def _entry(one: Property, failed: pl.Series) -> pl.Expr:
    """Return what a marker says of a property that was computed: its version, and if it failed."""
    has_failed = pl.lit(failed).str.contains(f" {one.name} ", literal=True)
    sign = pl.when(has_failed).then(pl.lit("!")).otherwise(pl.lit(""))
    return pl.format(f"{one.version}{{}}", sign)


def _listed(name: str, entry: pl.Expr) -> pl.Expr:
    """Return an entry where it must be listed: version 1 and a value are implied."""
    return pl.when(pl.col(name).is_null() | (entry != "1")).then(entry)
