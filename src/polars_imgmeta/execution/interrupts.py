"""Ctrl-C in the threads of Polars, in which Python does not raise `KeyboardInterrupt`.

Polars notes that it came, raises it in each of its calls, and forgets it when the last one
that was running has returned. A function that a query calls in several threads may hear of
it in one of them, by which the query ends, and its caller goes on while the other threads
work for nothing. So each of them is itself in a call of Polars, which does not return before
it has heard of it.

Nor may these threads be in Python when the interpreter ends, as they are after an early `head`:
it would end them in the middle of code of Polars, by which the process aborts. So the end waits
for them.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeVar

import polars as pl

from polars_imgmeta.execution.forking import after_fork_in_child

Result = TypeVar("Result")


_PATIENCE_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.005
# Its `rechunk` is a call of Polars that takes two microseconds, and raises for Ctrl-C as all do.
_SERIES: Final = pl.Series([0])


class _Presence:
    """The threads of Polars that are in functions of this package."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.is_ending = False

    @contextmanager
    def of_thread(self) -> Iterator[None]:
        with self.lock:
            self.threads += 1
        try:
            yield
        finally:
            with self.lock:
                self.threads -= 1

    def end(self) -> None:
        self.is_ending = True
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.threads and time.monotonic() < until:
            time.sleep(_STEP_SECONDS)
        time.sleep(_STEP_SECONDS)  # to leave Python after that


_presence = _Presence()
after_fork_in_child(_presence.__init__)  # type: ignore[misc] # the threads are in the parent
atexit.register(_presence.end)


def _is_main_thread() -> bool:
    # `threading.current_thread` would keep a record of each thread of Polars for ever.
    return threading.get_ident() == threading.main_thread().ident


def check_interrupt() -> None:
    """Raise `KeyboardInterrupt` if Ctrl-C came, or Python ends; in the main thread, Python does."""
    if _is_main_thread():
        return
    if _presence.is_ending:
        raise KeyboardInterrupt
    _SERIES.rechunk()


def heeding_interrupts(function: Callable[[], Result]) -> Result:
    """Call a function such that `check_interrupt` within it misses no Ctrl-C.

    Raises:
        KeyboardInterrupt: If one came that the function did not see.
    """
    if _is_main_thread():
        return function()
    with present():
        check_interrupt()
        return _within_polars(function)


def present() -> AbstractContextManager[None]:
    """Have the end of the interpreter wait for this thread, for the duration of the context."""
    return _presence.of_thread()


def _within_polars(function: Callable[[], Result]) -> Result:
    results: list[Result] = []
    failures: list[BaseException] = []

    def call(*_: object, **__: object) -> pl.Series:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - which Polars would reword
            failures.append(error)
        check_interrupt()
        return _SERIES

    pl.select(pl.map_batches([pl.lit(0)], call, return_dtype=pl.Int64()))
    for failure in failures:
        raise failure
    return results[0]
