"""How many rows are computed at once, and how many are written at once: by their cost."""

from __future__ import annotations

import time
from typing import Final

import polars as pl

# A part is done when it has so many rows or bytes, or after so much work: what a kill costs.
_PART_ROWS: Final = 50_000
_PART_BYTES: Final = 1 << 28
_PART_SECONDS: Final = 60.0
# A batch is as large as what is done in so much time, for its threads not to wait at its end.
_BATCH_SECONDS: Final = 4.0
_FIRST_BATCH, _SMALLEST_BATCH, _LARGEST_BATCH = 200, 8, 20_000
_BATCH_BYTES: Final = 1 << 26
_MAX_GROWTH: Final = 8


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


class Pace:
    """How many rows make a batch, learned from what the last one cost."""

    def __init__(self) -> None:
        self._rows = _FIRST_BATCH

    def rows(self, waiting: pl.DataFrame) -> int:
        """Return the number of rows of the next batch, which is smaller if they are large."""
        size = waiting.estimated_size() / max(1, len(waiting))
        return max(1, min(self._rows, int(_BATCH_BYTES / max(size, 1))))

    def learn(self, rows: int, seconds: float) -> None:
        """Adapt to the time that a batch took."""
        affordable = int(rows * _BATCH_SECONDS / max(seconds, 1e-3))
        most = min(_LARGEST_BATCH, self._rows * _MAX_GROWTH)
        self._rows = max(_SMALLEST_BATCH, min(affordable, most))
