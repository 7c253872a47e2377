"""Items spread over the shared threads, and their results as they come.

Local items are read by the thread that processes them. Remote ones are prefetched by more
threads, as many as a call asks for, since these mostly wait. A worker never waits for a
fetch: it ends when there is nothing to process, and the fetch that completes next submits
another one. So however little memory there is for fetched items, the workers of one run
cannot keep those of another from processing theirs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

from polars_imgmeta.execution.interrupts import check_interrupt
from polars_imgmeta.execution.pools import ThreadPool
from polars_imgmeta.execution.runtime import DEFAULT, Runtime

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Result = TypeVar("Result")

Process: TypeAlias = Callable[[Iterator[tuple[int, Item]]], Iterable[tuple[int, Result]]]

_PULSE_SECONDS = 0.1
# How long a worker serves one run before other runs, if there are any, have their turn.
_SLICE_SECONDS = 0.1


class Items(Protocol[Item_co]):
    """What is processed: a sequence, or something that makes each item on demand."""

    def __len__(self) -> int:
        """The number of items."""

    def __getitem__(self, number: int, /) -> Item_co:
        """An item."""


class Prefetcher(Protocol[Item]):
    """How remote items are fetched."""

    @property
    def remote(self) -> Sequence[int]:
        """The numbers of the remote items, ascending."""

    @property
    def concurrency(self) -> int:
        """How many are fetched at once."""

    def fetch(self, item: Item, cancelled: threading.Event) -> Item:
        """Return the item in the form that is processed.

        A failure that concerns this item alone must become part of what is returned.
        """

    def discard(self, item: Item) -> None:
        """Release a fetched item that will not be processed."""


def run(
    process: Process[Item, Result],
    items: Items[Item],
    *,
    prefetcher: Prefetcher[Item] | None = None,
    stop: Callable[[Result], bool] | None = None,
    owner: object = None,
    runtime: Runtime = DEFAULT,
) -> Iterator[list[tuple[int, Result]]]:
    """Process items on the shared threads, and yield their results as they come.

    Each worker takes the next item as soon as it is free, so that a slow item delays no
    other one. Workers serve concurrent runs in turns, but those of one owner in the order in
    which they began, so that the first is complete early. When an item fails, or the caller is
    interrupted or closes the iterator, no further item is begun and the pool stays usable.

    Args:
        process: Takes numbered items one by one and yields as many numbered results, in any
            order. What it raises is the failure of the item that it took last. It is called
            from several threads at once, and again as long as there are items.
        items: What to process.
        prefetcher: How the remote ones among them are fetched.
        stop: Tells whether a result makes the results of later items needless. These may or
            may not be yielded.
        owner: What this run is a part of, if it is one.
        runtime: Whose threads do the work.

    Yields:
        The results that have come since the last batch, each with the number of its item.

    Raises:
        ThreadStartError: If no thread can be started.
        BaseException: What was raised for the earliest item that failed.
    """
    work = _Run(process, items, prefetcher, stop, owner=owner, runtime=runtime)
    try:
        work.begin()
        # An endless wait would not let Ctrl-C through.
        while not work.ended.wait(_PULSE_SECONDS):
            check_interrupt()
            yield work.new_results()
        yield work.new_results()
    finally:
        work.end()
    if work.failures:
        raise work.failures[min(work.failures)]


class _Run(Generic[Item, Result]):
    """What the threads of one run share.

    Attributes:
        limit: No item behind this one is needed.
        ended: Set when no thread has anything to do any more.
        failures: What was raised, by the number of the item.
    """

    def __init__(
        self,
        process: Process[Item, Result],
        items: Items[Item],
        prefetcher: Prefetcher[Item] | None,
        stop: Callable[[Result], bool] | None,
        *,
        owner: object,
        runtime: Runtime,
    ) -> None:
        self.process = process
        self.items = items
        self.prefetcher = prefetcher
        self.stop = stop
        self.owner = self if owner is None else owner
        self.runtime = runtime
        remote = prefetcher.remote if prefetcher else ()
        local = sorted({*range(len(items))}.difference(remote)) if remote else range(len(items))
        self.most_workers = min(len(items), runtime.threads)
        self.remote = iter(remote)
        self.local = iter(local)
        self.local_count = len(local)
        self.in_transit: set[int] = set()
        self.fetched: deque[tuple[int, Item]] = deque()
        self.limit = len(items)
        self.results: deque[tuple[int, Result]] = deque()
        self.failures: dict[int, BaseException] = {}
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.workers = 0
        self.tasks = 1  # `begin` is the first

    def begin(self) -> None:
        """Submit the first tasks."""
        if self.prefetcher and (remote := len(self.items) - self.local_count):
            concurrency = self.prefetcher.concurrency
            threads = self.runtime.fetchers(concurrency)
            for _ in range(min(remote, concurrency)):
                self._submit(threads, partial(self._fetch, self.prefetcher))
        for _ in range(min(self.local_count, self.most_workers)):
            self._add_worker()
        self._end_task()

    def end(self) -> None:
        """Begin nothing more, and release what will not be processed."""
        if not self.ended.is_set():
            self.cancelled.set()
            self._lower_limit(-1)
            if self.prefetcher:  # some clients cannot be interrupted
                self.runtime.abandon_fetchers(self.prefetcher.concurrency)
        with suppress(IndexError):
            while True:
                self._discard(self.fetched.popleft()[1])

    def new_results(self) -> list[tuple[int, Result]]:
        """Return the results that have come since the last call."""
        return [self.results.popleft() for _ in range(len(self.results))]

    def _submit(self, pool: ThreadPool, task: Callable[[], None]) -> None:
        with self.lock:
            self.tasks += 1
        try:
            pool.submit(partial(self._do, task), self.owner)
        except BaseException:
            self._end_task()
            raise

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self._fail(self.limit, error)
        finally:
            self._end_task()

    def _end_task(self) -> None:
        with self.lock:
            self.tasks -= 1
            if self.tasks == 0:
                self.ended.set()

    def _fail(self, number: int, error: BaseException) -> None:
        self.failures[number] = error
        self._lower_limit(number)

    def _lower_limit(self, number: int) -> None:
        with self.lock:
            self.limit = min(self.limit, number)
            self.in_transit.discard(number)
            self._cancel_needless()

    def _cancel_needless(self) -> None:
        # Once everything before the limit has been fetched, the rest need not come.
        if self.limit < min(self.in_transit, default=-1):
            self.cancelled.set()

    def _add_worker(self) -> None:
        with self.lock:
            if self.workers == self.most_workers:
                return
            self.workers += 1
        self._submit(self.runtime.workers, self._work)

    def _work(self) -> None:
        """Process items until there are none, or it is the turn of another run."""
        until = time.monotonic() + _SLICE_SECONDS
        taken, done = 0, False

        def take() -> Iterator[tuple[int, Item]]:
            nonlocal taken, done, until
            while (numbered := self._take()) is not None:
                taken = numbered[0]
                yield numbered
                if (now := time.monotonic()) > until:
                    if self.runtime.workers.is_contended(self.owner):
                        return
                    until = now + _SLICE_SECONDS
            done = True

        try:
            for number, result in self.process(take()):
                self.results.append((number, result))
                if self.stop is not None and self.stop(result):
                    self._lower_limit(number)
            if not done:
                self._submit(self.runtime.workers, self._work)
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self._fail(taken, error)
            with self.lock:
                self.workers -= not done
            if self.fetched:  # an earlier item may be among them
                self._add_worker()

    def _take(self) -> tuple[int, Item] | None:
        """Return the next item, or None if this worker has to end."""
        while True:
            if self.fetched:
                try:
                    number, item = self.fetched.popleft()
                except IndexError:  # another worker was faster
                    continue
                if number < self.limit:
                    return number, item
                self._discard(item)
            elif (number := next(self.local, self.limit)) < self.limit:
                return number, self.items[number]
            else:
                with self.lock:
                    if not self.fetched:
                        self.workers -= 1
                        return None

    def _fetch(self, prefetcher: Prefetcher[Item]) -> None:
        """Fetch items until there are no more."""
        while (number := self._next_remote()) is not None:
            try:
                item = prefetcher.fetch(self.items[number], self.cancelled)
            except BaseException as error:  # noqa: BLE001 - raised by the caller
                self._fail(number, error)
                return
            with self.lock:
                self.in_transit.discard(number)
                self._cancel_needless()
                if needed := number < self.limit:
                    self.fetched.append((number, item))
            if needed:
                self._add_worker()
            else:
                self._discard(item)

    def _next_remote(self) -> int | None:
        with self.lock:
            if (number := next(self.remote, self.limit)) >= self.limit:
                return None
            self.in_transit.add(number)
            return number

    def _discard(self, item: Item) -> None:
        if self.prefetcher is not None:
            self.prefetcher.discard(item)
