"""The progress of a run of a lazy plan, shown by a thread of its own.

The batches of a run are computed by threads of Polars, several at once, which only count here.
Nor is there code in Python that runs when the run has ended: it has when an object that lives
as long is gone.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.progress import Announcer

_PULSE_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 1.0


class Watch:
    """Tells how far a run is, until all rows are done or its owner is gone.

    Args:
        announcer: What shows it; None for nothing.
        owner: What lives as long as the run.
        total: The number of rows; None where it is not known.
    """

    def __init__(self, announcer: Announcer | None, owner: object, total: int | None) -> None:
        self._announcer = announcer
        self._lock = threading.Lock()
        self._sources = self._handed = self._done = 0
        self._ended: SimpleQueue[object] = SimpleQueue()
        self._told: SimpleQueue[object] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if announcer:
            self._start(announcer, owner, total)

    def _start(self, announcer: Announcer, owner: object, total: int | None) -> None:
        """Begin to show it, if a thread can be started."""
        announcer.begin(total)
        # Builtins, as Python code that runs while the owner is deleted could swallow Ctrl-C. The
        # last one is called first: it wakes the thread, which the other one waits for, before the
        # caller prints into the line of the bar.
        wait = partial(self._told.get, timeout=_JOIN_SECONDS)
        self._refs = [weakref.ref(owner, wait)] if announcer.shows_bar else []
        self._refs.append(weakref.ref(owner, self._ended.put))
        target = copy_context().run  # by which a notebook knows the cell
        thread = threading.Thread(
            target=target, args=(self._tell, announcer), name="imgmeta-progress", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            announcer.close()
        else:
            self._thread = thread
            _WATCHES.add(self)

    def begin_source(self) -> None:
        """Expect rows of one more source."""
        with self._lock:
            self._sources += 1

    def hand(self, rows: int) -> None:
        """Note that a source has handed rows to the plan."""
        with self._lock:
            self._handed += rows

    def end_source(self) -> None:
        """Note that a source has no more rows."""
        with self._lock:
            self._sources -= 1
        self._end_if_done()

    @contextmanager
    def batch(self, rows: int) -> Iterator[Batch | None]:
        """Return the observer of the images of a batch, whose rows are done at the end."""
        if not self._announcer:
            yield None
            return
        batch = Batch(self._announcer, rows)
        try:
            yield batch
        finally:
            batch.finish()
            with self._lock:
                self._done += rows
            self._end_if_done()

    def end(self) -> None:
        """Show the end, and wait until it is shown."""
        self._ended.put(None)
        if self._thread:
            self._thread.join(_JOIN_SECONDS)

    def forsake(self) -> None:
        """Let the end of the owner wait for nothing."""
        self._told.put(None)

    def _end_if_done(self) -> None:
        with self._lock:
            is_done = not self._sources and self._done >= self._handed
        if is_done:  # now, before what the caller prints next
            self.end()

    def _tell(self, announcer: Announcer) -> None:
        while True:
            try:
                self._ended.get(timeout=_PULSE_SECONDS)
            except Empty:
                announcer.tell()
            else:
                break
        announcer.close()
        self.forsake()
        announcer.finish()


class Batch:
    """Counts the rows of a batch, of which those that are no image of their own come last."""

    def __init__(self, announcer: Announcer, rows: int) -> None:
        self._announcer = announcer
        self._left = rows

    def begin(self, total: int) -> None:
        """See `Observer`."""

    def advance(self, done: int, failures: Mapping[str, int]) -> None:
        """See `Observer`."""
        done = min(done, self._left)
        self._left -= done
        self._announcer.count(done, failures)

    def end(self) -> None:
        """See `Observer`."""

    def finish(self) -> None:
        """Count the rest."""
        self.advance(self._left, {})


_WATCHES: Final[weakref.WeakSet[Watch]] = weakref.WeakSet()


def _end_all() -> None:
    for watch in list(_WATCHES):
        watch.end()


def _forsake_all() -> None:
    """Wait for none of the threads, which are in the parent."""
    for watch in list(_WATCHES):
        watch.forsake()
    _WATCHES.clear()


after_fork_in_child(_forsake_all)
atexit.register(_end_all)  # as no thread may hold the error stream when the interpreter ends
