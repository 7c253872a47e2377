"""How many rows are computed at once: by their cost."""

from __future__ import annotations

import threading

import polars as pl

_BATCH_BYTES = 1 << 26
_PATIENCE_SECONDS = 0.2


class Pace:
    """How many rows make a batch, learned from what the last one cost.

    Args:
        seconds: A batch is as large as what is done in so much time.
        first: How many rows make the first batch.
        smallest: How many make a batch at least, if they are not large.
        largest: How many make one at most.
        growth: How many times as large as all that are done a batch is at most.
    """

    def __init__(
        self, seconds: float, first: int, smallest: int, largest: int, growth: int = 1
    ) -> None:
        self._seconds = seconds
        self._rows = first
        self._done = 0
        self._smallest = smallest
        self._largest = largest
        self._growth = growth
        self._ahead = threading.Semaphore(1)
        self._is_settled = False

    def rows(self, waiting: pl.DataFrame) -> int:
        """Return the number of rows of the next batch, which is smaller if they are large."""
        size = waiting.estimated_size() / max(1, len(waiting))
        return max(1, min(self._rows, int(_BATCH_BYTES / max(size, 1))))

    def learn(self, rows: int, seconds: float) -> None:
        """Adapt to the time that the rows of a batch took."""
        affordable = int(rows * self._seconds / max(seconds, 1e-3))
        self._done += rows
        # Polars takes several short batches before it hears that a `head` has enough.
        most = min(self._largest, self._done * self._growth)
        self._is_settled |= affordable <= most
        self._rows = max(self._smallest, min(affordable, most))
        self._ahead.release()

    def wait(self) -> None:
        """Wait until small batches have shown what they cost, as many small ones cost more.

        One batch more than that may be under way, so that workers never pause between two. Not
        for long: a batch may be slow, or not be computed before others are there.
        """
        if not self._is_settled:
            self._is_settled = not self._ahead.acquire(timeout=_PATIENCE_SECONDS)
