"""The pools of threads that a process shares.

One works, and is of the size of Polars' own: Polars may call a user-defined function
from several threads at once, and a pool for each call would multiply. Decoders and
kernels release the interpreter lock. Others fetch what is far away.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

# The largest block that the GNU C library takes as a sign of things to come.
_LARGEST_REUSED_BYTES = (32 << 20) - (1 << 13)

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_fetchers: dict[int, ThreadPoolExecutor] = {}


def shared_workers() -> ThreadPoolExecutor:
    """Return the pool that reads, decodes and computes."""
    global _pool  # noqa: PLW0603 - the one pool of the process
    with _lock:
        if _pool is None:
            _keep_freed_memory()
            _pool = ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="imgmeta")
        return _pool


def shared_fetchers(concurrency: int) -> ThreadPoolExecutor:
    """Return a pool of so many threads that do little but wait."""
    with _lock:
        if concurrency not in _fetchers:
            _fetchers[concurrency] = ThreadPoolExecutor(concurrency, "imgmeta-fetch")
        return _fetchers[concurrency]


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
