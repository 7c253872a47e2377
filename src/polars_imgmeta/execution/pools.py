"""The pools of threads that a process shares.

One works, and is of the size of Polars' own: Polars may call a user-defined function
from several threads at once, and a pool for each call would multiply. Decoders and
kernels release the interpreter lock. Others fetch what is far away.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import polars as pl

# The largest block that the GNU C library takes as a sign of things to come.
_LARGEST_REUSED_BYTES = (32 << 20) - (1 << 13)

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_fetchers: dict[int, FetcherPool] = {}


class FetcherPool:
    """Threads that do little but wait, each made when it is first needed.

    They are daemons: a process that ends waits neither for a silent server nor for a
    library that cannot be interrupted.

    Args:
        size: How many threads at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, task: Callable[[], None]) -> None:
        """Let a thread do a task, when one is free."""
        with self._lock:
            if self._closed:
                self._start(lambda: _unless_process_ends(task))
                return
            if self._threads < self._size:
                self._threads += 1
                self._start(self._run)
            self._tasks.put(task)

    def close(self) -> None:
        """Let the threads go when they are done; who comes too late has one of its own."""
        with self._lock:
            self._closed = True
            self._tasks.put(None)

    def _start(self, function: Callable[[], None]) -> None:
        threading.Thread(target=function, name="imgmeta-fetch", daemon=True).start()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            _unless_process_ends(task)
        self._tasks.put(None)  # for the others


def _unless_process_ends(task: Callable[[], None]) -> None:
    try:
        task()
    except RuntimeError as error:
        if "shutdown" not in str(error):  # no worker can be called any more
            raise


def shared_workers() -> ThreadPoolExecutor:
    """Return the pool that reads, decodes and computes."""
    global _pool  # noqa: PLW0603 - the one pool of the process
    with _lock:
        if _pool is None:
            _keep_freed_memory()
            _pool = ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="imgmeta")
        return _pool


def shared_fetchers(concurrency: int) -> FetcherPool:
    """Return a pool of so many threads that do little but wait."""
    with _lock:
        if concurrency not in _fetchers:
            _fetchers[concurrency] = FetcherPool(concurrency)
        return _fetchers[concurrency]


def leave_fetchers(concurrency: int) -> None:
    """Leave a pool to what its threads wait for; who comes next has a new one."""
    with _lock:
        if pool := _fetchers.pop(concurrency, None):
            pool.close()


def heed_interrupt() -> None:
    """Raise what Ctrl-C raises: Python tells its main thread alone, Polars whoever asks it."""
    if threading.current_thread() is not threading.main_thread():
        pl.select(0)


def _keep_freed_memory() -> None:
    """Let the next picture have the memory of the last.

    At first the C library gives every freed block of more than 128 KB back to the
    system, and a new one costs a page fault for each 4 KB: a quarter of the time of
    a photo. To free one large block, which is never touched, moves that limit, as
    the first large picture would.
    """
    np.empty(_LARGEST_REUSED_BYTES, np.uint8)


def _forget_pool() -> None:
    """Leave the pools to the parent: their threads do not exist in a forked child."""
    global _lock, _pool  # noqa: PLW0603
    _lock = threading.Lock()
    _pool = None
    _fetchers.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_pool)
