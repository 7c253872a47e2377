"""The progress of a job: it counts rows, and observes the extractions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polars_imgmeta.execution.progress import Announcer, Wanted


class Monitor:
    """Counts the rows of a job and shows its progress; an observer of its extractions.

    Args:
        wanted: Whether to show a bar, or a function that is called instead.
        pulse: Is called several times a second. What it raises ends the work in flight.
    """

    def __init__(self, wanted: Wanted, pulse: Callable[[], None]) -> None:
        self._announcer = Announcer(wanted, unit="rows")
        self._pulse = pulse

    def start(self, total: int | None) -> None:
        """Begin with the number of rows to do, if it is known."""
        self._announcer.begin(total)

    def add(self, rows: int, failures: Mapping[str, int]) -> None:
        """Count rows that are done."""
        self._announcer.count(rows, failures)
        self.pulse()

    def finish(self) -> None:
        """Say the last word."""
        self._announcer.finish()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._announcer.close()

    def pulse(self) -> None:
        """Say how far the job is, if it is time."""
        self._pulse()
        self._announcer.tell()

    def begin(self, total: int) -> None:
        """See `Observer`: images of a batch whose rows are counted when it is done."""

    def advance(self, done: int, failures: Mapping[str, int]) -> None:
        """See `Observer`."""
        del done, failures
        self.pulse()

    def end(self) -> None:
        """See `Observer`."""
