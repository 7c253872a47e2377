"""How far a job is: a bar, lines in a log, and a callback."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from polars_imgmeta.execution.progress import ProgressBar

LOGGER: Final = logging.getLogger("polars_imgmeta")
LOG_SECONDS: Final = 30.0
_CALLBACK_SECONDS: Final = 1.0
_ONE_DECIMAL_SECONDS: Final = 9.95


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is.

    Attributes:
        done: The number of rows that this run has computed or checked.
        total: How many there are to do, as far as is known; None where it is not.
        failures: The number of rows among `done` that failed, by the kind of their error.
        seconds: How long the run has taken.
    """

    done: int
    total: int | None
    failures: Mapping[str, int]
    seconds: float

    @property
    def failed(self) -> int:
        """The number of rows that failed."""
        return sum(self.failures.values())

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will take, at the rate so far; None where that is not known."""
        if self.total is None or not self.done:
            return None
        return max(0, self.total - self.done) / self.rate

    def __str__(self) -> str:
        """Say it in one line."""
        of = f" of {self.total:,}" if self.total is not None else ""
        parts = [f"{self.done:,}{of} rows", f"{self.rate:,.0f} a second"]
        if self.failures:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.failures.items())
            parts.append(f"{self.failed:,} failed ({kinds})")
        if (left := self.seconds_left) is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Spell out a duration.

    Examples:
        >>> duration(7.34), duration(192), duration(5000)
        ('7.3 s', '3 min 12 s', '1 h 23 min')
    """
    if seconds < _ONE_DECIMAL_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Monitor:
    """What is told of the progress of a job; an observer of its extractions.

    Args:
        wanted: Whether to show a bar; None for: where it can be seen.
        callback: What else is told, about once a second and at the end.
        pulse: Is called several times a second. What it raises ends the work in flight.
    """

    def __init__(
        self,
        wanted: bool | None,  # noqa: FBT001 - as users write it
        callback: Callable[[JobProgress], object] | None,
        pulse: Callable[[], None],
    ) -> None:
        self._bar = ProgressBar(wanted, unit="rows")
        self._callback = callback
        self._pulse = pulse
        self._failures: Counter[str] = Counter()
        self._done = 0
        self._total: int | None = None
        self._started = self._logged = self._called = time.monotonic()

    @property
    def progress(self) -> JobProgress:
        """How far the job is now."""
        failures = dict(self._failures.most_common())
        return JobProgress(self._done, self._total, failures, time.monotonic() - self._started)

    def start(self, total: int | None) -> None:
        """Begin with the number of rows to do, if it is known."""
        self._total = total
        self._started = self._logged = time.monotonic()
        self._bar.begin(total)

    def add(self, rows: int, failures: Mapping[str, int]) -> None:
        """Count rows that are done."""
        self._done += rows
        self._failures.update(failures)
        self._bar.advance(rows, sum(failures.values()))
        self.pulse()

    def finish(self) -> None:
        """Say the last word."""
        if self._callback:
            self._callback(self.progress)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.end()

    def pulse(self) -> None:
        """Say how far the job is, if it is time."""
        self._pulse()
        now = time.monotonic()
        if now >= self._logged + LOG_SECONDS and not self._bar.shown:
            self._logged = now
            LOGGER.info("%s", self.progress)
        if self._callback and now >= self._called + _CALLBACK_SECONDS:
            self._called = now
            self._callback(self.progress)

    def begin(self, total: int) -> None:
        """See `Observer`."""
        del total

    def advance(self, done: int, failed: int) -> None:
        """See `Observer`: images of a batch whose rows are counted when it is done."""
        del done, failed
        self.pulse()

    def end(self) -> None:
        """See `Observer`."""
