"""The runs of plans, in each of which an image that several batches name is read once.

A plan reads anew in each of its runs, but a function of Polars is not informed when a run begins or
ends. It is known of a job, and of a run whose rows come through `batches`.
Elsewhere, such as in an expression, calls that follow each other closely count as one run, and
what was read of a file counts only while the file is older than its reading.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import Final

import polars as pl

from polars_imgmeta.column.pacing import Pace
from polars_imgmeta.exceptions import ImageError
from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.interrupts import check_interrupt
from polars_imgmeta.execution.watching import Watch
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.locators import is_remote, local_path

# The time between two calls after which no other one is expected, where the end is not known.
_GAP_SECONDS: Final = 0.05
_MARKED_GAP_SECONDS: Final = 60.0
# The clock of a file system advances in steps.
_TICK_SECONDS: Final = 0.05
_INTERRUPT_SECONDS: Final = 0.02
# Two generations of so many images are kept, at some 300 bytes each.
_GENERATION: Final = 1 << 16
# It is not known yet what a row costs when the first batch begins.
_FIRST_ROWS, _FEWEST_ROWS, _MOST_ROWS, _GROWTH = 8, 2, 10_000, 4
_BATCH_SECONDS: Final = 1.0


@dataclass(eq=False, slots=True)
class Share:
    """Images that one batch reads for all batches of the run.

    Attributes:
        start: The number of the first one among all images of the run.
        paths: Where they are.
        table: What was found, once it is done; None if the batch failed.
    """

    start: int
    paths: Collection[str]
    table: pl.DataFrame | None = None
    _begun: float = field(default_factory=time.time)
    _done: threading.Event = field(default_factory=threading.Event)

    def finish(self) -> None:
        """Let the other batches have the table, or know that there is none."""
        self._done.set()

    def rows(self, numbers: list[int]) -> pl.DataFrame | None:
        """Return what was found for images that are given by their number, when it is done.

        A batch reads its own images before it waits for those of others, so that no two wait
        for each other.
        """
        while not self._done.wait(_INTERRUPT_SECONDS):
            check_interrupt()
        if self.table is None:
            return None
        return self.table.select(pl.all().gather([number - self.start for number in numbers]))

    def is_fresh(self, path: str, access: Access) -> bool:
        """Whether a file is older than its reading; remote ones are not asked."""
        if is_remote(path):
            return True
        if access.roots is not None:  # under which no path is followed a second time
            return False
        try:
            status = os.stat(local_path(path))  # noqa: PTH116 - as it is spelled
        except (OSError, ValueError, ImageError):
            return False
        return max(status.st_ctime, status.st_mtime) < self._begun - _TICK_SECONDS


class _Shelf:
    """What a run has read for one set of properties."""

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._next = self._first_young = 0
        # Of the shares so far; made once an image comes again, as it costs more than a set.
        self._numbers: dict[str, int] = {}
        self._numbered = 0

    def claim(self, paths: Collection[str]) -> Share:
        """Note that a batch is about to read these images."""
        share = Share(self._next, paths)
        if not paths:
            return share
        self._next += len(paths)
        self._young.update(paths)
        self._shares.append(share)
        if len(self._young) > _GENERATION:
            self._shares = [one for one in self._shares if one.start >= self._first_young]
            self._old, self._young, self._first_young = self._young, set(), self._next
            self._numbers, self._numbered = {}, 0
        return share

    def find(self, paths: Collection[str]) -> Iterator[tuple[str, int, Share]]:
        """Yield the images that have been claimed, their numbers, and by which batch."""
        if self._young.isdisjoint(paths) and self._old.isdisjoint(paths):
            return
        for share in self._shares[self._numbered :]:
            self._numbers.update(zip(share.paths, count(share.start)))
        self._numbered = len(self._shares)
        for path in paths:
            if (number := self._numbers.get(path)) is not None:
                place = bisect_right(self._shares, number, key=attrgetter("start")) - 1
                yield path, number, self._shares[place]


class Run:
    """One run of a plan.

    Args:
        marked: Whether it is known when it begins.

    Attributes:
        pace: How many rows make a batch.
        watch: What shows its progress, if anything does.
    """

    def __init__(self, *, marked: bool) -> None:
        self.pace = Pace(_BATCH_SECONDS, _FIRST_ROWS, _FEWEST_ROWS, _MOST_ROWS, _GROWTH)
        self.watch: Watch | None = None
        self._marked = marked
        self._calls = 0
        self._idle_since = time.monotonic()
        self._lock = threading.Lock()
        self._shelves: defaultdict[tuple[str, ...], _Shelf] = defaultdict(_Shelf)

    def claim(
        self, names: tuple[str, ...], paths: Collection[str], access: Access
    ) -> tuple[Share, dict[Share, dict[str, int]]]:
        """Divide images into those that the caller has to read, and those that others do.

        Args:
            names: The properties that are wanted.
            paths: Where the images are, each once.
            access: Which files may be looked at.

        Returns:
            What to read and to `finish`; and by the batches that read or have read the
            others, the number of each.
        """
        known: defaultdict[Share, dict[str, int]] = defaultdict(dict)
        with self._lock:
            shelf = self._shelves[names]
            for path, number, share in shelf.find(paths):
                if self._marked or share.is_fresh(path, access):
                    known[share][path] = number
            if known:
                elsewhere = set[str]().union(*known.values())
                paths = [path for path in paths if path not in elsewhere]
            return shelf.claim(paths), known

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Do not be over for the duration of the context."""
        with _LOCK:
            self._calls += 1
        try:
            yield
        finally:
            with _LOCK:
                self._calls -= 1
                self._idle_since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether no further call is expected."""
        patience = _MARKED_GAP_SECONDS if self._marked else _GAP_SECONDS
        return not self._calls and time.monotonic() > self._idle_since + patience


_LOCK = threading.Lock()
_THREAD = threading.local()
# Runs by what lives as long as they do, or by the name of the plan where that is not known.
_RUNS: Final[dict[weakref.ref[object] | str, Run]] = {}
_LATEST: Final[dict[str, weakref.ref[object]]] = {}
_JOB: ContextVar[str] = ContextVar("job", default="")


def _reset() -> None:
    global _LOCK  # noqa: PLW0603 - another thread may hold it
    _LOCK = threading.Lock()
    _RUNS.clear()


after_fork_in_child(_reset)


def name_plan(*, lazy: bool) -> str:
    """Return the identity of a plan; empty if it has one batch only."""
    return uuid.uuid4().hex if lazy else _JOB.get()


def begin(plan: str, owner: object) -> Run:
    """Return the run of a plan that lasts as long as its owner, at most."""
    with _LOCK:
        _drop_what_is_over()
        latest = _LATEST.get(plan)
        if latest is None or latest() is not owner:
            # Nothing in Python runs when the owner ends, where Ctrl-C would be lost.
            latest = _LATEST[plan] = weakref.ref(owner, _RUNS.pop)
        return _RUNS.setdefault(latest, Run(marked=True))


@contextmanager
def running_job() -> Iterator[None]:
    """Have the eager extractions of this thread be those of one run."""
    plan = uuid.uuid4().hex
    token = _JOB.set(plan)
    owner = threading.Event()
    begin(plan, owner)
    try:
        yield
    finally:
        del owner
        _JOB.reset(token)


@contextmanager
def calling(plan: str) -> Iterator[Run | None]:
    """Return the run of a plan that a batch belongs to, during the context.

    While a call waits, Polars may begin another one in the same thread. That one must not wait
    for images that the first one reads, and has no run.
    """
    if getattr(_THREAD, "is_calling", False):
        yield None
        return
    with _LOCK:
        _drop_what_is_over()
        run = _RUNS.get(_LATEST.get(plan, plan)) or _RUNS.setdefault(plan, Run(marked=False))
    _THREAD.is_calling = True
    try:
        with run.calling():
            yield run
    finally:
        _THREAD.is_calling = False


def _drop_what_is_over() -> None:
    for key, run in list(_RUNS.items()):
        if run.is_over:
            _RUNS.pop(key, None)
    for plan, key in list(_LATEST.items()):
        if key not in _RUNS:
            del _LATEST[plan]
