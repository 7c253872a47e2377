"""What a plan has read already, so that an image that rows of several batches name is read once.

Polars says neither when a run of a plan begins nor when it ends, and a plan reads anew in each
run. So results are kept while calls follow each other closely, and those of a file count only
if it is older than their reading.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Final

import polars as pl

from polars_imgmeta.column.structs import ERROR
from polars_imgmeta.exceptions import ImageError
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.locators import is_remote, local_path

# The time between two calls after which they belong to different runs.
_GAP_SECONDS: Final = 0.05
# The clock of a file system advances in steps.
_TICK_SECONDS: Final = 0.05
# About 250 bytes each.
_MOST_ENTRIES: Final = 1 << 17

_Entry = tuple[pl.Series, int, float]

_JOB: ContextVar[str] = ContextVar("job", default="")


class _Store:
    """The results of all plans of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._calls = 0
        self._idle_since = 0.0

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Keep results for the duration of the context, and shortly after."""
        with self._lock:
            if not self._calls and time.monotonic() > self._idle_since + _GAP_SECONDS:
                self._entries.clear()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                self._idle_since = time.monotonic()

    def find(self, plan: str, path: str) -> _Entry | None:
        return self._entries.get((plan, path))

    def keep(self, plan: str, paths: list[str], structs: pl.Series, since: float) -> None:
        good = structs.struct.field(ERROR).is_null().to_list()
        with self._lock:
            for place, path in enumerate(paths):
                if good[place]:
                    self._entries[plan, path] = (structs, place, since)
            excess = max(0, len(self._entries) - _MOST_ENTRIES)
            for key in list(islice(self._entries, excess)):
                del self._entries[key]


_STORE: Final = _Store()


def calling() -> AbstractContextManager[None]:
    """Keep results for the duration of the context, and shortly after."""
    return _STORE.calling()


@contextmanager
def recalling() -> Iterator[None]:
    """Have the extractions of this thread recall each other's results, as those of one plan."""
    token = _JOB.set(uuid.uuid4().hex)
    try:
        with _STORE.calling():
            yield
    finally:
        _JOB.reset(token)


def name_plan(*, lazy: bool) -> str:
    """Return what tells a plan from others; empty where it has one batch only."""
    return uuid.uuid4().hex if lazy else _JOB.get()


class Recall:
    """The results of one plan.

    Args:
        plan: Its name.
        access: Which files may be looked at.
    """

    def __init__(self, plan: str, access: Access) -> None:
        self._plan = plan
        self._access = access
        self._since = time.time()

    def find(self, paths: list[str]) -> tuple[pl.Series | None, list[int]]:
        """Return the structs of images that were read, and their numbers, in this order."""
        places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        series: dict[int, pl.Series] = {}
        for number, path in enumerate(paths):
            entry = _STORE.find(self._plan, path)
            if entry is not None and self._is_fresh(path, entry[2]):
                series[id(entry[0])] = entry[0]
                places[id(entry[0])].append((number, entry[1]))
        if not series:
            return None, []
        found = [series[one].gather([place for _, place in places[one]]) for one in series]
        return pl.concat(found), [number for one in series for number, _ in places[one]]

    def keep(self, paths: list[str], structs: pl.Series) -> None:
        """Keep what was read, since this object was made."""
        _STORE.keep(self._plan, paths, structs, self._since)

    def _is_fresh(self, path: str, since: float) -> bool:
        if is_remote(path):
            return True
        if self._access.roots is not None:  # under which no path is followed a second time
            return False
        try:
            status = os.stat(local_path(path))  # noqa: PTH116 - as it is spelled
        except (OSError, ValueError, ImageError):
            return False
        return max(status.st_ctime, status.st_mtime) < since - _TICK_SECONDS
