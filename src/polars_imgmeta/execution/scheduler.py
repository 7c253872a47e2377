"""Work that is spread over the shared pools of threads.

What is near is read by whoever processes it. What is far away is fetched by more
threads, as many as a call asks for, since they do little but wait. A worker never
waits for them: it goes when there is nothing to do, and whoever brings something
calls one. So the workers of one call cannot keep those of another from what was
fetched, however little memory there is for that.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

import polars as pl

from polars_imgmeta.execution.pools import (
    FetcherPool,
    heed_interrupt,
    leave_fetchers,
    shared_fetchers,
    shared_workers,
)

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Result = TypeVar("Result")

Process: TypeAlias = Callable[[Iterator[tuple[int, Item]]], Iterable[tuple[int, Result]]]

_PULSE_SECONDS = 0.1


class Items(Protocol[Item_co]):
    """What is processed: a list, or something that makes each item when it is asked for."""

    def __len__(self) -> int:
        """The number of items."""

    def __getitem__(self, number: int, /) -> Item_co:
        """An item."""


class Fetching(Protocol[Item]):
    """How items come here that are far away."""

    @property
    def far(self) -> Sequence[int]:
        """The numbers of these items, ascending."""

    @property
    def concurrency(self) -> int:
        """How many are fetched at once."""

    def fetch(self, item: Item, cancelled: threading.Event) -> Item:
        """Return the item as it can be processed; raise nothing that concerns it alone."""

    def discard(self, item: Item) -> None:
        """Let go of a fetched item that nobody will process."""


def run_all(
    process: Process[Item, Result],
    items: Items[Item],
    *,
    fetching: Fetching[Item] | None = None,
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
            Is called from several threads at once, and again as long as items come.
        items: What to process.
        fetching: How to fetch the items that are far away.
        stop: Tells whether a result makes those of later items needless.
        watch: Is told, now and then and in the caller's thread, of the further results.

    Returns:
        The results, in the order of the items; of the first ones if it was stopped.

    Raises:
        BaseException: What was raised for the earliest item that failed.
    """
    work = _Run(process, items, fetching, stop, watch)
    try:
        work.begin()
        # In pulses: an endless wait would not let Ctrl-C through.
        while not work.ended.wait(_PULSE_SECONDS):
            work.tell_news()
            heed_interrupt()
        work.tell_news()
    finally:
        work.end()
    if work.failures:
        raise work.failures[min(work.failures)]
    return [work.results[number] for number in range(min(work.limit + 1, len(items)))]


class _Run(Generic[Item, Result]):
    """What the threads of one run share.

    Attributes:
        limit: No item behind this one is needed.
        ended: Set when no thread has anything to do any more.
    """

    def __init__(
        self,
        process: Process[Item, Result],
        items: Items[Item],
        fetching: Fetching[Item] | None,
        stop: Callable[[Result], bool] | None,
        watch: Callable[[Iterable[Result]], None] | None,
    ) -> None:
        self.process = process
        self.items = items
        self.fetching = fetching
        self.stop = stop
        self.watch = watch
        far = fetching.far if fetching else ()
        self.far = iter(far)
        self.on_their_way: set[int] = set()
        self.near = iter(sorted({*range(len(items))}.difference(far)) if far else range(len(items)))
        self.fetched: deque[tuple[int, Item]] = deque()
        self.limit = len(items)
        self.results: dict[int, Result] = {}
        self.news: deque[Result] = deque()
        self.failures: dict[int, BaseException] = {}
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.workers = 0
        self.tasks = 1  # to begin is the first

    def begin(self) -> None:
        """Call the threads."""
        near = len(self.items)
        if self.fetching and (far := len(self.fetching.far)):
            near -= far
            threads = shared_fetchers(self.fetching.concurrency)
            for _ in range(min(far, self.fetching.concurrency)):
                self._submit(threads, partial(self._fetch, self.fetching))
        for _ in range(min(near, pl.thread_pool_size())):
            self._call_worker()
        self._end_task()

    def end(self) -> None:
        """Begin nothing more, and let go of what nobody processes."""
        if not self.ended.is_set():
            self.cancelled.set()
            self._lower_limit(-1)
            if self.fetching:  # some of whose clients cannot be interrupted
                leave_fetchers(self.fetching.concurrency)
        self._discard_rest()

    def tell_news(self) -> None:
        """Hand what is new to whoever watches."""
        if self.watch is not None:
            self.watch([self.news.popleft() for _ in range(len(self.news))])

    def _submit(self, pool: ThreadPoolExecutor | FetcherPool, task: Callable[[], None]) -> None:
        with self.lock:
            self.tasks += 1
        try:
            pool.submit(partial(self._do, task))
        except BaseException:
            self._end_task()
            raise

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
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
            self.on_their_way.discard(number)
            self._stop_needless()

    def _stop_needless(self) -> None:
        # Once all is here that stands before the limit, what stands behind need not come.
        if self.limit < min(self.on_their_way, default=-1):
            self.cancelled.set()

    def _call_worker(self) -> None:
        with self.lock:
            if self.workers == pl.thread_pool_size():
                return
            self.workers += 1
        self._submit(shared_workers(), self._work)

    def _work(self) -> None:
        """Process items until there are none."""
        taken, here = 0, True

        def take() -> Iterator[tuple[int, Item]]:
            nonlocal taken, here
            while (numbered := self._take()) is not None:
                taken = numbered[0]
                yield numbered
            here = False

        try:
            for number, result in self.process(take()):
                self.results[number] = result
                if self.watch is not None:
                    self.news.append(result)
                if self.stop is not None and self.stop(result):
                    self._lower_limit(number)
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self._fail(taken, error)
            with self.lock:
                self.workers -= here
            if self.fetched:  # an earlier one may be among them
                self._call_worker()

    def _take(self) -> tuple[int, Item] | None:
        """The next item, or None where this worker shall go."""
        while True:
            if self.fetched:
                try:
                    number, item = self.fetched.popleft()
                except IndexError:  # another was faster
                    continue
                if number < self.limit:
                    return number, item
                self._discard(item)
            elif (near := next(self.near, self.limit)) < self.limit:
                return near, self.items[near]
            else:
                with self.lock:
                    if not self.fetched:
                        self.workers -= 1
                        return None

    def _fetch(self, fetching: Fetching[Item]) -> None:
        """Fetch items until there are no more."""
        while (number := self._set_out()) is not None:
            try:
                item = fetching.fetch(self.items[number], self.cancelled)
            except BaseException as error:  # noqa: BLE001 - raised by the caller
                self._fail(number, error)
                return
            with self.lock:
                self.on_their_way.discard(number)
                self._stop_needless()
                if needed := number < self.limit:
                    self.fetched.append((number, item))
            if needed:
                self._call_worker()
            else:
                self._discard(item)

    def _set_out(self) -> int | None:
        with self.lock:
            if (number := next(self.far, self.limit)) >= self.limit:
                return None
            self.on_their_way.add(number)
            return number

    def _discard_rest(self) -> None:
        with suppress(IndexError):
            while True:
                self._discard(self.fetched.popleft()[1])

    def _discard(self, item: Item) -> None:
        if self.fetching is not None:
            self.fetching.discard(item)
