"""The shared pool of threads that reads, decodes and computes.

One pool for the process, of the size of Polars' own: Polars may call a
user-defined function from several threads at once, and a pool for each call
would multiply. Decoders and kernels release the interpreter lock.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import polars as pl

Item = TypeVar("Item")
Result = TypeVar("Result")

Process: TypeAlias = Callable[[Iterator[tuple[int, Item]]], Iterable[tuple[int, Result]]]

_PULSE_SECONDS = 0.1
# The largest block that the GNU C library takes as a sign of things to come.
_LARGEST_REUSED_BYTES = (32 << 20) - (1 << 13)

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def run(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to every item on the shared pool.

    Args:
        function: Is called from several threads at once.
        items: What to call it with.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the function raised for the earliest item that failed.
    """

    def process(numbered: Iterator[tuple[int, Item]]) -> Iterator[tuple[int, Result]]:
        return ((number, function(item)) for number, item in numbered)

    return run_all(process, items)


def run_all(
    process: Process[Item, Result],
    items: Sequence[Item],
    *,
    stop: Callable[[Result], bool] | None = None,
    watch: Callable[[Iterable[Result]], None] | None = None,
) -> list[Result]:
    """Let every worker of the shared pool process a part of the items.

    Each worker takes the next item as soon as it is free, so that a large image
    holds up nobody. When one fails or stops, or the caller is interrupted, no
    further item is begun and the pool stays usable.

    Args:
        process: Takes numbered items one by one and gives as many numbered results,
            in any order; what it raises is the failure of the item that it took last.
            Is called from several threads at once.
        items: What to process.
        stop: Tells whether a result makes the others needless. Items before it have been
            begun, and are brought to an end.
        watch: Is told, now and then and in the caller's thread, of the further results.

    Returns:
        The results, in the order of the items; of the first ones if it was stopped.

    Raises:
        BaseException: What was raised for the earliest item that failed.
    """
    work = _Run(process, items, stop, watch)
    futures: list[Future[None]] = []
    try:
        pool = _shared_pool()
        workers = min(pl.thread_pool_size(), len(items))
        futures.extend(pool.submit(work.take_part) for _ in range(workers))
        pending = set(futures)
        while pending:
            # In pulses: an endless wait would not let Ctrl-C through.
            pending = wait(pending, timeout=_PULSE_SECONDS).not_done
            work.tell_news()
    finally:
        work.stopped.set()
        for future in futures:
            future.cancel()
    if work.failures:
        raise work.failures[min(work.failures)]
    return [work.results[number] for number in range(len(work.results))]


class _Run(Generic[Item, Result]):
    """What the workers of one run share."""

    def __init__(
        self,
        process: Process[Item, Result],
        items: Sequence[Item],
        stop: Callable[[Result], bool] | None,
        watch: Callable[[Iterable[Result]], None] | None,
    ) -> None:
        self.process = process
        self.items = items
        self.stop = stop
        self.watch = watch
        self.tickets = count()
        self.stopped = threading.Event()
        self.results: dict[int, Result] = {}
        self.news: deque[Result] = deque()
        self.failures: dict[int, BaseException] = {}

    def take_part(self) -> None:
        """Process items until there are no more."""
        taken = 0

        def take() -> Iterator[tuple[int, Item]]:
            nonlocal taken
            while not self.stopped.is_set() and (number := next(self.tickets)) < len(self.items):
                taken = number
                yield number, self.items[number]

        try:
            for number, result in self.process(take()):
                self.results[number] = result
                if self.watch is not None:
                    self.news.append(result)
                if self.stop is not None and self.stop(result):
                    self.stopped.set()
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self.failures[taken] = error
            self.stopped.set()

    def tell_news(self) -> None:
        """Hand what is new to whoever watches."""
        if self.watch is not None:
            self.watch([self.news.popleft() for _ in range(len(self.news))])


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - the one pool of the process
    with _lock:
        if _pool is None:
            _keep_freed_memory()
            _pool = ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="imgmeta")
        return _pool


def _keep_freed_memory() -> None:
    """Let the next picture have the memory of the last.

    At first the C library gives every freed block of more than 128 KB back to the
    system, and a new one costs a page fault for each 4 KB: a quarter of the time of
    a photo. To free one large block, which is never touched, moves that limit, as
    the first large picture would.
    """
    np.empty(_LARGEST_REUSED_BYTES, np.uint8)


def _forget_pool() -> None:
    """Leave the pool to the parent: its threads do not exist in a forked child."""
    global _lock, _pool  # noqa: PLW0603
    _lock = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_pool)
