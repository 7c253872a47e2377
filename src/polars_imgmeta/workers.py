"""The shared pool of threads that reads, decodes and computes.

One pool for the process, of the size of Polars' own: Polars may call a
user-defined function from several threads at once, and a pool for each call
would multiply. Decoders and kernels release the interpreter lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from typing import TypeVar

import polars as pl

Item = TypeVar("Item")
Result = TypeVar("Result")

_PULSE_SECONDS = 0.1

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def run(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to every item on the shared pool.

    Each worker takes the next item as soon as it is free, so that a large image
    holds up nobody. When a call raises, or the caller is interrupted, no further
    item is begun and the pool stays usable.

    Args:
        function: Is called from several threads at once.
        items: What to call it with.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the function raised for the earliest item that failed.
    """
    results: dict[int, Result] = {}
    failures: dict[int, Exception] = {}
    tickets = count()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set() and (index := next(tickets)) < len(items):
            try:
                results[index] = function(items[index])
            except Exception as error:  # noqa: BLE001 - raised below
                failures[index] = error
                stopped.set()

    futures: list[Future[None]] = []
    try:
        pool = _shared_pool()
        workers = min(pl.thread_pool_size(), len(items))
        futures.extend(pool.submit(work) for _ in range(workers))
        pending = set(futures)
        while pending:
            # In pulses: an endless wait would not let Ctrl-C through.
            pending = wait(pending, timeout=_PULSE_SECONDS).not_done
    finally:
        stopped.set()
        for future in futures:
            future.cancel()
    if failures:
        raise failures[min(failures)]
    return [results[index] for index in range(len(items))]


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - the one pool of the process
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="imgmeta")
        return _pool


def _forget_pool() -> None:
    """Leave the pool to the parent: its threads do not exist in a forked child."""
    global _lock, _pool  # noqa: PLW0603
    _lock = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_pool)
