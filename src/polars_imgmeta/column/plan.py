"""Which rows must be read, and for which properties: pure, no image is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.typing import PropertyName


@dataclass(frozen=True, slots=True)
class Plan:
    """What an extraction does with each row.

    Attributes:
        needs: For each property a Boolean column: whether the row must be read for it.
        read: Whether the row must be read at all.
        valid: Whether the row has a struct in the end, rather than a null.
    """

    needs: pl.DataFrame
    read: pl.Series
    valid: pl.Series


def make_plan(
    located: pl.Series,
    old: pl.Series,
    properties: Sequence[PropertyName],
    present: Sequence[PropertyName],
    *,
    retry: bool,
) -> Plan:
    """Compare what rows have with what they shall have.

    Args:
        located: Whether a row has an image.
        old: The structs that the rows have.
        properties: The properties that they shall have.
        present: The properties for which the old structs have fields.
        retry: Whether to read the rows that have an error, and no others.
    """
    missing = len(present) < len(properties)
    absent = old.is_null()
    failed = old.struct.field(structs.ERROR).is_not_null()
    if retry:
        needs = pl.DataFrame(dict.fromkeys(properties, located & failed))
    else:
        # A failed row is left alone, unless something new is asked of it.
        whole = located & (absent | failed if missing else absent)
        some = located & ~absent & ~failed
        # Frames of different properties leave gaps when they are concatenated.
        before = old.struct.unnest()
        needs = pl.DataFrame(
            {
                name: whole | (some & before[name].is_null() if name in present else some)
                for name in properties
            }
        )
    read = needs.select(pl.any_horizontal(pl.all())).to_series()
    # Nothing can be added to a row without an image.
    keeps = ~absent & located if missing else ~absent
    return Plan(needs, read, read | keeps)
