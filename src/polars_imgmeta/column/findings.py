"""What was found for images, as the columns of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.column.merge import FAILED, SIZE
from polars_imgmeta.column.structs import ERROR
from polars_imgmeta.exceptions import ImageError
from polars_imgmeta.measuring.measurement import Measurement

# As Python objects, measurements take several times as much memory as in a table.
_CHUNK: Final = 4096


class Findings:
    """Collects measurements, in any order, into a table in the order of the images.

    Args:
        properties: The columns.
        wanted: The properties to compute of each image.

    Attributes:
        failure: The first image that failed so far, and why; None where none has.
        new_failures: How many have failed since this was last cleared, by the kind of the error.
    """

    def __init__(self, properties: Sequence[Property], wanted: Sequence[PropertySet]) -> None:
        self.failure: tuple[int, ImageError] | None = None
        self.new_failures: Counter[str] = Counter()
        self._properties = properties
        self._wanted = wanted
        self._waiting: dict[int, Measurement] = {}
        self._counts: Counter[int] = Counter()  # by the chunk
        self._tables: dict[int, pl.DataFrame] = {}

    def add(self, found: Sequence[tuple[int, Measurement]]) -> None:
        """Take the measurements of some images; each has one."""
        for number, error in [(number, one.error) for number, one in found if one.error]:
            self.new_failures[error.kind] += 1
            if self.failure is None or number < self.failure[0]:
                self.failure = number, error
        self._waiting.update(found)
        new = Counter([number // _CHUNK for number, _ in found])
        self._counts.update(new)
        for chunk in new:
            wanted = self._wanted[chunk * _CHUNK : (chunk + 1) * _CHUNK]
            if self._counts[chunk] == len(wanted):
                begin = chunk * _CHUNK
                numbers = range(begin, begin + len(wanted))
                self._tables[chunk] = self._tabulate([*map(self._waiting.pop, numbers)], wanted)

    def table(self) -> pl.DataFrame:
        """Return a row for each image, when all have been measured."""
        if not self._tables:
            return self._tabulate([], [])
        tables = [self._tables.pop(chunk) for chunk in sorted(self._tables)]
        return tables[0] if len(tables) == 1 else pl.concat(tables, rechunk=True)

    def _tabulate(self, found: list[Measurement], wanted: Sequence[PropertySet]) -> pl.DataFrame:
        values = [
            pl.Series(one.name, [m.values.get(one.name) for m in found], one.dtype)
            for one in self._properties
        ]
        messages = [m.error and f"{m.error.kind}: {m.error}" for m in found]
        gaps = [
            m.error and f" {' '.join(name for name in need.names if name not in m.values)} "
            for m, need in zip(found, wanted, strict=True)
        ]
        return pl.DataFrame(
            [
                *values,
                pl.Series(ERROR, messages, pl.String),
                pl.Series(SIZE, [m.size for m in found], pl.Int64),
                pl.Series(FAILED, gaps, pl.String),
            ]
        )
