"""What all extractions of a process share: threads, limits, the gate, and clients."""

from __future__ import annotations

import atexit
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

import numpy as np
import polars as pl

from polars_imgmeta.exceptions import require_positive
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.gate import Gate
from polars_imgmeta.execution.pools import ThreadPool, ThreadStartError

Client = TypeVar("Client")

PIXELS_PER_THREAD: Final = 1 << 25
"""The pixels that may be decoded at once for each thread. A picture takes at most 16 bytes
a pixel, so this is half a gibibyte for each thread."""

_TRANSFER_BYTES: Final = 1 << 28
_TRANSFER_BYTES_PER_THREAD: Final = 1 << 25
_BYTES_PER_PIXEL: Final = 16
_MAX_CLIENTS: Final = 8
# In total, for all pools. A picture of the most pixels takes a few seconds; a file on a server that
# has gone may take for ever.
_DRAIN_SECONDS: Final = 30.0
_STEP_SECONDS: Final = 0.1
# The largest block for which the GNU C library raises its threshold (see `keep_freed_memory`).
_LARGEST_REUSED_BYTES = (32 << 20) - (1 << 13)


class Runtime:
    """The threads and limits that extractions share.

    Polars may call a user-defined function from several threads at once. A pool for each
    call would multiply threads, so that all calls share one.

    Args:
        threads: The number of threads that read, decode and compute; by default the size of
            Polars' own thread pool.

    Attributes:
        transfer_bytes: The budget of bytes that were fetched and are not decoded yet.
        gate: What lets one thread at a time do short work.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._memory: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._workers: ThreadPool | None = None
        self._fetchers: dict[int, ThreadPool] = {}
        self._clients: OrderedDict[Hashable, Any] = OrderedDict()
        self._client_lock = threading.Lock()
        self._pixels: Budget | None = None
        self.transfer_bytes = Budget(self._transferable_bytes)
        self.gate = Gate()

    @property
    def threads(self) -> int:
        """The number of threads that read, decode and compute."""
        return self._threads or pl.thread_pool_size()

    @property
    def granted(self) -> tuple[int | None, int | None]:
        """The threads and the memory that were granted, None for what was not."""
        return self._threads, self._memory

    def grant(self, threads: int | None, memory: int | None = None) -> None:
        """Let this process use only a part of the machine.

        Args:
            threads: The number of threads; None for the size of Polars' own pool.
            memory: The bytes that the process may use; None for no limit but what follows
                from the number of threads.
        """
        with self._lock:
            self._threads, self._memory = threads, memory
            self.transfer_bytes.amount = self._transferable_bytes
            if self._pixels is not None:
                self._pixels.amount = self._decodable_pixels
            if self._workers is not None:
                self._workers.resize(self.threads)

    @property
    def pixels(self) -> Budget:
        """The budget of pixels that are being decoded and measured."""
        with self._lock:
            # Not earlier: asking for the number of threads starts those of Polars, and a
            # process that was forked after that cannot use Polars.
            if self._pixels is None:
                self._pixels = Budget(self._decodable_pixels)
            return self._pixels

    @pixels.setter
    def pixels(self, budget: Budget) -> None:
        self._pixels = budget

    @property
    def _decodable_pixels(self) -> int:
        pixels = PIXELS_PER_THREAD * self.threads
        # The other half is for what is fetched, and for the engine.
        return min(pixels, self._memory // 2 // _BYTES_PER_PIXEL) if self._memory else pixels

    @property
    def _transferable_bytes(self) -> int:
        if self._threads is None:
            return _TRANSFER_BYTES
        share = min(_TRANSFER_BYTES, _TRANSFER_BYTES_PER_THREAD * self._threads)
        return min(share, self._memory // 8) if self._memory else share

    @property
    def workers(self) -> ThreadPool:
        """The pool that reads, decodes and computes.

        Raises:
            ThreadStartError: If the runtime was closed.
        """
        with self._lock:
            if self._closed:
                msg = "no image can be read any more: this process is ending"
                raise ThreadStartError(msg)
            if self._workers is None:
                keep_freed_memory()
                self._workers = ThreadPool(self.threads, "imgmeta")
            return self._workers

    def fetchers(self, concurrency: int) -> ThreadPool:
        """Return a pool of `concurrency` threads, which wait for servers."""
        with self._lock:
            if concurrency not in self._fetchers:
                self._fetchers[concurrency] = ThreadPool(concurrency, "imgmeta-fetch")
            return self._fetchers[concurrency]

    def abandon_fetchers(self, concurrency: int) -> None:
        """Let later calls have new threads: these may wait for a server without end."""
        with self._lock:
            if pool := self._fetchers.pop(concurrency, None):
                pool.close()

    def client(self, key: Hashable, make: Callable[[], Client]) -> Client:
        """Return the client that was made for a key, or make one.

        Clients are shared by all threads; the least recently used ones are dropped.
        """
        with self._client_lock:
            if key not in self._clients:
                self._clients[key] = make()
            self._clients.move_to_end(key)
            if len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
            return cast("Client", self._clients[key])

    def close(self) -> None:
        """End all extractions, and wait until the workers have finished what they are doing."""
        with self._lock:
            self._closed = True
        self.drain()

    def drain(self, check: Callable[[], None] | None = None) -> None:
        """Wait until the workers have finished what they are doing; later calls get new ones.

        Not for long: a worker may be stuck, and other extractions may begin new work.

        Args:
            check: Is called several times a second; what it raises ends the waiting.
        """
        until = time.monotonic() + _DRAIN_SECONDS
        # The workers may begin another turn, for which there is a new pool.
        while time.monotonic() < until and (workers := self._take_workers()) is not None:
            workers.close()
            while not workers.join(_STEP_SECONDS) and time.monotonic() < until:
                if check:
                    check()

    def _take_workers(self) -> ThreadPool | None:
        with self._lock:
            workers, self._workers = self._workers, None
        return workers


def keep_freed_memory() -> None:
    """Let the next picture reuse the memory of the last one.

    At first the GNU C library returns every freed block of more than 128 KB to the system,
    and a new one costs a page fault for each 4 KB, a quarter of the time of a photo. Freeing
    one large block, which is never touched, raises that threshold.
    """
    np.empty(_LARGEST_REUSED_BYTES, np.uint8)


DEFAULT: Final = Runtime()
"""The runtime of this process."""

after_fork_in_child(DEFAULT._reset)  # noqa: SLF001 - a child begins anew
# While the interpreter is still whole: a decoder that returns later would crash the process.
atexit.register(DEFAULT.close)


def thread_count() -> int:
    """Return the number of threads that read, decode and measure images in this process.

    Examples:
        >>> im.thread_count() == pl.thread_pool_size()
        True
    """
    return DEFAULT.threads


def set_thread_count(threads: int | None) -> None:
    """Set the number of threads that read, decode and measure images in this process.

    For a process that may use only part of a machine, such as the worker of an engine that
    was granted one core. Memory follows: pictures of at most 2^25 pixels for each thread are
    decoded at once (and a larger one alone), and of what was fetched 32 MiB for each thread is
    kept, at most 256.

    Args:
        threads: The number of threads; None for the size of Polars' own pool, which the
            environment variable `POLARS_MAX_THREADS` sets.

    Raises:
        ValueError: If it is not a positive whole number.

    Examples:
        >>> im.set_thread_count(1)
        >>> im.thread_count()
        1
        >>> im.set_thread_count(None)
    """
    if threads is not None:
        require_positive("threads", threads)
    DEFAULT.grant(threads)
