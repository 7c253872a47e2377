"""How much of a job is computed at once, and how much is written at once."""

from __future__ import annotations

import time
from typing import Final

import polars as pl

from polars_imgmeta.column.pacing import Pace

# A part is done when it has so many rows or bytes, or after so much work: what a kill costs.
_PART_ROWS: Final = 50_000
_PART_BYTES: Final = 1 << 28
_PART_SECONDS: Final = 60.0
# A batch is as large as what is done in so much time, for its threads not to wait at its end.
_BATCH_SECONDS: Final = 4.0
_FIRST_BATCH, _SMALLEST_BATCH, _LARGEST_BATCH = 200, 8, 20_000


class UnfinishedPart:
    """Rows that will be a part."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._since = time.monotonic()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(map(len, self._frames))

    @property
    def is_large(self) -> bool:
        """Whether it is time to write it."""
        return (
            self.rows >= _PART_ROWS
            or time.monotonic() > self._since + _PART_SECONDS
            or sum(one.estimated_size() for one in self._frames) >= _PART_BYTES
        )

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        self._frames.append(frame)

    def take(self) -> pl.DataFrame:
        """Return all rows, and begin anew."""
        joined = pl.concat(self._frames)
        self._begin()
        return joined


def make_pace() -> Pace:
    """Return what decides how many rows are computed at once."""
    return Pace(_BATCH_SECONDS, _FIRST_BATCH, _SMALLEST_BATCH, _LARGEST_BATCH)
