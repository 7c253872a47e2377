"""What each row has, and what must be read for it: pure, no image is touched."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import Property
from polars_imgmeta.column import marker
from polars_imgmeta.column.structs import ERROR, MARKER, restored

# Names that no property can have.
_ENTRIES: Final = "=entries"
_CURRENT: Final = "=current"
_FAILED: Final = "=failed"
_ANEW: Final = "=anew"


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows of a batch have.

    Attributes:
        located: Whether there is an image.
        digest: The digest of its name.
        values: The old values of the requested properties; null where there are none.
        error: The old errors.
        entries: What the old markers list.
        size: The sizes in bytes that the old markers record.
        current: Whether the old struct is there, and is of the image that the row names now.
    """

    located: pl.Series
    digest: pl.Series
    values: pl.DataFrame
    error: pl.Series
    entries: pl.Series
    size: pl.Series
    current: pl.Series


def look(
    located: pl.Series,
    digest: pl.Series,
    old: pl.Series,
    properties: Sequence[Property],
    other_columns: Collection[str],
) -> Rows:
    """Split old structs into columns.

    Args:
        located: Whether a row has an image.
        digest: The digest of its name.
        old: The structs that the rows have.
        properties: The properties that they shall have.
        other_columns: The other columns of the frame. A row that was made from one of them
            is stale.
    """
    before = old.struct.unnest()
    recorded = marker.parse(before[MARKER])
    current = located & old.is_not_null() & (recorded["digest"] == digest).fill_null(value=False)
    current &= ~recorded["locator"].is_in(list(other_columns)).fill_null(value=False)
    values = [
        before.select(restored(pl.col(one.name), before.schema[one.name], one.dtype)).to_series()
        if one.name in before.columns
        else pl.Series(one.name, dtype=one.dtype).extend_constant(None, len(old))
        for one in properties
    ]
    return Rows(
        located=located,
        digest=digest,
        values=pl.DataFrame(values),
        error=before[ERROR].cast(pl.String),
        entries=recorded["entries"].fill_null(""),
        size=recorded["bytes"],
        current=current,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read.

    Attributes:
        needs: For each property a Boolean column: whether the row must be read for it.
        anew: Whether all that the row has is replaced.
    """

    needs: pl.DataFrame
    anew: pl.Series

    @property
    def by_name(self) -> list[tuple[str, pl.Series]]:
        """The name of each property, and which rows must be read for it."""
        return [(one.name, one) for one in self.needs]

    @property
    def read(self) -> pl.Series:
        """Whether a row must be read at all."""
        return self.needs.select(pl.any_horizontal(pl.lit(self.anew), pl.all())).to_series()

    def replacing(self, rows: pl.Series) -> Plan:
        """Return a plan that replaces all that further rows have."""
        return replace(self, needs=self.needs.select(pl.all() | rows), anew=self.anew | rows)


def make_plan(rows: Rows, properties: Sequence[Property], force: pl.Series | None) -> Plan:
    """Decide which rows must be read, and for which properties.

    A row without a struct of its image is read as a whole, and so is one with an error of
    which something is missing or stale.

    Args:
        rows: What the rows have.
        properties: The properties that they shall have.
        force: The rows to read as a whole in any case; None for none.
    """
    outdated = [~_up_to_date(one, listed=(rows.entries != "").any()) for one in properties]
    table = pl.DataFrame(
        [
            *rows.values,
            rows.entries.alias(_ENTRIES),
            rows.current.alias(_CURRENT),
            rows.error.is_not_null().alias(_FAILED),
        ]
    ).select(*outdated, _CURRENT, _FAILED)
    names = [one.name for one in properties]
    lacking = pl.any_horizontal(pl.lit(value=False), *names)
    anew = ~pl.col(_CURRENT) | (pl.col(_FAILED) & lacking)
    table = table.with_columns((rows.located & anew).alias(_ANEW))
    needs = table.select(
        (pl.col(_ANEW) | (pl.col(_CURRENT) & pl.col(name))).alias(name) for name in names
    )
    plan = Plan(needs, table[_ANEW])
    return plan if force is None else plan.replacing(rows.located & force)


def make_forced_plan(rows: Rows, properties: Sequence[Property], force: pl.Series) -> Plan:
    """Read some rows as a whole, and leave all others as they are."""
    none = pl.Series([False]).new_from_index(0, len(rows.located))
    nothing = pl.DataFrame([none.alias(one.name) for one in properties])
    return Plan(nothing, none).replacing(rows.located & force)


def _up_to_date(one: Property, *, listed: bool) -> pl.Expr:
    """Whether a value was computed, by this version of its property, even if it is null."""
    value = pl.col(one.name).is_not_null()
    if not listed:
        return value if one.version == 1 else value & pl.lit(value=False)
    version = marker.version_in(pl.col(_ENTRIES), one.name)
    implied = pl.when(value).then(pl.lit(1))
    return (version.fill_null(implied) == one.version).fill_null(value=False).alias(one.name)
