"""Progress, and how it is shown: by a bar, lines in the log, or calls of a function."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeAlias

from tqdm.std import tqdm

from polars_imgmeta.execution.forking import after_fork_in_child

LOGGER: Final = logging.getLogger("polars_imgmeta")
LOG_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 1.0
_ONE_DECIMAL_SECONDS: Final = 9.95
# Shorter work needs no bar, unless it is asked for.
_PATIENCE_SECONDS = 1.0
# What a stream that is closed, missing or replaced may raise: no reason to end the work.
_UNSHOWABLE = (AttributeError, OSError, ValueError)
_USUAL_SHAPE = {"ncols": 80, "nrows": 24}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an extraction or a job is.

    Attributes:
        done: How many rows or images are done: images where a data frame is read, each once;
            rows in a lazy frame and in a job.
        total: How many there are to do, as far as is known; None where it is not.
        failures: How many of `done` failed, by the kind of their error.
        seconds: How long it has taken.
        unit: What is counted.
    """

    done: int
    total: int | None
    failures: Mapping[str, int]
    seconds: float
    unit: str = "rows"

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(self.failures.values())

    @property
    def rate(self) -> float:
        """How many are done in a second."""
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
        parts = [f"{self.done:,}{of} {self.unit}", f"{self.rate:,.0f} a second"]
        if self.failures:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.failures.items())
            parts.append(f"{self.failed:,} failed ({kinds})")
        if (left := self.seconds_left) is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)


Wanted: TypeAlias = bool | Callable[[Progress], object] | None
"""Whether to show a bar, None for where it can be seen; or a function that is called instead."""


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


class Observer(Protocol):
    """What counts the images of an extraction; called in the thread of the caller."""

    def begin(self, total: int) -> None:
        """Images are about to be read, `total` of them."""

    def advance(self, done: int, failures: Mapping[str, int]) -> None:
        """`done` more images have been read; some of them failed, by the kind of the error."""

    def end(self) -> None:
        """Nothing more is read, because all is done or something was raised."""


class Announcer:
    """Tells how far work is; an observer of an extraction.

    There is a bar where it is wanted and can be seen; otherwise the log gets a line each half
    minute. A function is called about once a second and at the end, and replaces the bar. What
    it raises is logged, and it is called no more: it must not end the work.

    `count` may be called by any thread, all others by one only.

    Args:
        wanted: Whether to show a bar, or the function.
        unit: What is counted.
    """

    def __init__(self, wanted: Wanted = None, unit: str = "images") -> None:
        self._function = wanted if callable(wanted) else None
        self._bar = _ProgressBar(None if callable(wanted) else wanted, unit)
        self._unit = unit
        self._lock = threading.Lock()
        self._reset(None)

    def _reset(self, total: int | None) -> None:
        self._done, self._total = 0, total
        self._failures: Counter[str] = Counter()
        self._started = self._logged = self._called = time.monotonic()

    @property
    def progress(self) -> Progress:
        """How far the work is now."""
        with self._lock:
            failures = dict(self._failures.most_common())
            seconds = time.monotonic() - self._started
            return Progress(self._done, self._total, failures, seconds, self._unit)

    @property
    def is_heard(self) -> bool:
        """Whether progress is shown anywhere."""
        function = self._function is not None
        return function or self._bar.is_seen or LOGGER.isEnabledFor(logging.INFO)

    @property
    def shows_bar(self) -> bool:
        """Whether there is a bar, or will be if the work is not short."""
        return self._bar.shown

    def begin(self, total: int | None) -> None:
        """See `Observer`; None for an unknown total."""
        _OPEN.add(self)
        with self._lock:
            self._reset(total)
        if self._function is None:
            self._bar.begin(total)

    def count(self, done: int, failures: Mapping[str, int]) -> None:
        """Count what is done, and show it later."""
        with self._lock:
            self._done += done
            self._failures.update(failures)

    def advance(self, done: int, failures: Mapping[str, int]) -> None:
        """See `Observer`."""
        self.count(done, failures)
        self.tell()

    def tell(self) -> None:
        """Say how far the work is, as far as it is time; nothing where there is none."""
        if self._total == 0:
            return
        self._bar.show(self._done, sum(self._failures.values()))
        now = time.monotonic()
        if now >= self._logged + LOG_SECONDS and not self._bar.shown:
            self._logged = now
            LOGGER.info("%s", self.progress)
        if now >= self._called + _CALL_SECONDS:
            self._called = now
            self._call()

    def finish(self) -> None:
        """Say the last word."""
        self._call()

    def close(self) -> None:
        """Leave the bar as it is."""
        _OPEN.discard(self)
        self._bar.show(self._done, sum(self._failures.values()))
        self._bar.end()

    def end(self) -> None:
        """See `Observer`."""
        self.close()
        if self._total != 0:
            self.finish()

    def _call(self) -> None:
        if self._function is not None:
            try:
                self._function(self.progress)
            except Exception:
                LOGGER.exception("the function `progress` raised, and is called no more")
                self._function = None


_OPEN: Final[weakref.WeakSet[Announcer]] = weakref.WeakSet()
after_fork_in_child(_OPEN.clear)


class _ProgressBar:
    """Shows how many are done and failed, and the time left.

    Args:
        wanted: Whether to show it; None for: on a terminal or in a notebook, once the work
            has taken longer than a second.
        unit: What is counted.
    """

    def __init__(self, wanted: bool | None, unit: str) -> None:  # noqa: FBT001 - as users write it
        self._wanted = wanted
        self._unit = unit
        self._bar: Any = None
        self._failed = 0

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    @property
    def is_seen(self) -> bool:
        """Whether it is wanted, and there is a place for it."""
        return bool(self._wanted or (self._wanted is None and (_in_notebook() or _on_terminal())))

    def begin(self, total: int | None) -> None:
        """Show the bar, where it is wanted and can be seen; None for an unknown total."""
        if total != 0 and self.is_seen and _is_writable():
            self._failed = 0
            with suppress(*_UNSHOWABLE):
                self._bar = _kind(notebook=_in_notebook())(
                    total=total,
                    unit=f" {self._unit}",
                    delay=0.0 if self._wanted else _PATIENCE_SECONDS,
                    mininterval=0,
                    **_shape(),
                )

    def show(self, done: int, failed: int) -> None:
        """Move the bar."""
        with suppress(*_UNSHOWABLE):
            if self._bar is not None and (done, failed) != (self._bar.n, self._failed):
                self._failed = failed
                if failed:
                    self._bar.set_postfix(failed=failed, refresh=False)
                self._bar.update(done - self._bar.n)

    def end(self) -> None:
        """Leave the bar as it is."""
        with suppress(*_UNSHOWABLE):
            if self._bar is not None:
                self._bar.close()


_OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Have one observer for all extractions of this thread, rather than a bar for each."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


class Observing:
    """Makes observers of extractions.

    It stays in its process, as progress is not shown in others: pickled, it is None.

    Args:
        wanted: Whether to show a bar, or the function.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._watching = _OBSERVER.get()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become None."""
        return type(None), ()

    def observer(self) -> Observer:
        """Return the observer of the images of a call: a bar, unless a job watches."""
        return self._watching or Announcer(self._wanted)

    def announcer(self) -> Announcer | None:
        """Return what shows the rows of a run, if it is shown anywhere.

        Unless it was wanted, this is not so while other progress is shown: a plan may be the
        source of a job, or of another plan. Polars plans such sources in threads of its own.
        """
        if _OPEN and not self._wanted:
            return None
        announcer = Announcer(self._wanted, unit="rows")
        return announcer if announcer.is_heard else None


class _Bar(tqdm):  # type: ignore[misc]  # it has no types
    """A bar on the terminal, without a monitoring thread of its own."""

    monitor_interval = 0


def _kind(*, notebook: bool) -> Any:  # noqa: ANN401 - tqdm has no types
    if notebook and find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as widget  # noqa: PLC0415 - warns without ipywidgets

        return widget
    return _Bar


def _is_writable() -> bool:
    try:
        sys.stderr.write("")
    except _UNSHOWABLE:
        return False
    return True


def _on_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except _UNSHOWABLE:
        return False


def _shape() -> dict[str, int]:
    """Return columns and rows where the terminal does not know its own size."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except _UNSHOWABLE:  # no terminal
        return {}
    return {} if columns else _USUAL_SHAPE


def _in_notebook() -> bool:
    """Whether this process serves a notebook, in Jupyter or a relative of it."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return shell is not None and getattr(shell, "kernel", None) is not None
