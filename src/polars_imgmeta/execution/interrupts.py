"""Ctrl-C in the threads of Polars, in which Python does not raise `KeyboardInterrupt`.

Polars notes that it came, raises it in each of its calls, and forgets it when the last one
that was running has returned. A function that a query calls in several threads may hear of
it in one of them, by which the query ends, and its caller goes on while the other threads
work for nothing. So each of them is itself in a call of Polars, which does not return before
it has heard of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import polars as pl

Result = TypeVar("Result")


def check_interrupt() -> None:
    """Raise `KeyboardInterrupt` if Ctrl-C came; in the main thread, Python does."""
    if threading.current_thread() is not threading.main_thread():
        pl.select(0)


def heeding_interrupts(function: Callable[[], Result]) -> Result:
    """Call a function such that `check_interrupt` within it misses no Ctrl-C.

    Raises:
        KeyboardInterrupt: If one came that the function did not see.
    """
    if threading.current_thread() is threading.main_thread():
        return function()
    results: list[Result] = []
    failures: list[BaseException] = []

    def call(*_: object, **__: object) -> pl.Series:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - which Polars would reword
            failures.append(error)
        check_interrupt()
        return pl.Series([0])

    pl.select(pl.map_batches([pl.lit(0)], call, return_dtype=pl.Int64()))
    for failure in failures:
        raise failure
    return results[0]
