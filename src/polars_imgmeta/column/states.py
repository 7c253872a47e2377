"""The state of each row: what is missing, stale, failed, or has changed at its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, get_args

import polars as pl

from polars_imgmeta.catalogue.registry import GROUPS, Property
from polars_imgmeta.column import deduplication, marker, structs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.column.plan import Rows, look, make_plan
from polars_imgmeta.column.structs import StructColumn, column
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.probing import probe_all
from polars_imgmeta.typing import Frame, State

STATES: Final = pl.Enum(get_args(State))


@dataclass(frozen=True, slots=True)
class Check:
    """What judges rows; called with locators and structs.

    Attributes:
        column: The struct column.
        locator: The locator column.
        properties: The properties of the column that are known here.
        other_columns: The other columns of the frame.
        reading: How sources are reached.
        check_sources: Whether they are looked at.
        ignore: Facts of the source that do not count.
    """

    column: str
    locator: str
    properties: tuple[Property, ...]
    other_columns: tuple[str, ...]
    reading: Reading
    check_sources: bool = False
    ignore: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        frame: Frame,
        existing: StructColumn,
        locator: str,
        reading: Reading,
        *,
        check_sources: bool,
        ignore: Sequence[str] = (),
    ) -> Self:
        """Make a check of a column of a frame."""
        catalogue = reading.catalogue
        known = tuple(catalogue[one] for one in existing.properties if one in catalogue)
        others = tuple(
            name for name in structs.schema_of(frame) if name not in {existing.name, locator}
        )
        return cls(
            existing.name, locator, known, others, reading.portable, check_sources, tuple(ignore)
        )

    def expression(self) -> pl.Expr:
        """Return the states, as an Enum."""
        return pl.map_batches(
            [column(self.locator), column(self.column)],
            self,
            return_dtype=STATES,
            is_elementwise=True,
        )

    def __call__(
        self, batch: Sequence[pl.Series], *, return_dtype: pl.DataType | None = None
    ) -> pl.Series:
        """Judge one batch."""
        del return_dtype
        locators, old = (one.alias("values") for one in batch)  # no name like a pattern
        deduplication.require_locator_dtype(locators.dtype, self.locator)
        parts = deduplication.parts_of(locators)
        digest = marker.digests(parts)
        located = digest.is_not_null()
        rows = look(located, digest, old, self.properties, self.other_columns)
        plan = make_plan(rows, self.properties, None)
        filled = old.struct.field(structs.MARKER).is_not_null()
        entries = pl.lit(rows.entries)
        lacking = [
            one.is_null() & marker.version_in(entries, one.name).is_null() for one in rows.values
        ]
        gaps = pl.select(pl.any_horizontal(pl.lit(value=False), *lacking)).to_series()
        states: dict[State, pl.Series] = {
            "missing": ~filled | (rows.current & gaps),
            "stale": ~rows.current | plan.read,
        }
        if self.check_sources:
            states |= self._at_the_source(parts, rows, old, rows.current & ~plan.read)
        states["failed"] = rows.error.is_not_null()
        state = pl.lit("ok")
        for name, where in reversed(states.items()):
            state = pl.when(pl.lit(where)).then(pl.lit(name)).otherwise(state)
        judged = pl.when(pl.lit(located)).then(state).cast(STATES)
        return located.to_frame("state").select(judged.alias("state")).to_series()

    def _at_the_source(
        self, parts: pl.DataFrame, rows: Rows, old: pl.Series, asked: pl.Series
    ) -> dict[State, pl.Series]:
        """Ask what is there now, and compare."""
        images = Images(parts.filter(asked))
        found = probe_all(images, images.remote, self.reading.storage)
        places = pl.Series(dtype=pl.UInt32).extend_constant(None, len(asked))
        table = found.select(pl.all().gather(places.scatter(asked.arg_true(), images.numbers)))
        fields = old.struct.unnest()
        differs = [pl.lit(value=False)]
        for name in GROUPS["source"]:
            if name in self.ignore:
                continue
            if name == "file_size":
                differs.append((pl.lit(rows.size) != pl.col(name)).fill_null(value=False))
            elif name in fields.columns:
                before = fields.select(
                    structs.restored(pl.col(name), fields.schema[name], found.schema[name])
                ).to_series()
                differs.append((pl.lit(before) != pl.col(name)).fill_null(value=False))
        # What is recorded as missing has changed once it is there.
        absent = rows.error.str.starts_with("not_found").fill_null(value=False)
        gone = pl.col("gone").fill_null(value=False)
        judged = table.select(
            gone=gone & ~absent,
            changed=pl.any_horizontal(differs) | (absent & pl.col("found").fill_null(value=False)),
        )
        return {"gone": judged["gone"], "changed": judged["changed"]}
