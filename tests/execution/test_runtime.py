"""The runtime: its thread count, its limits, its clients, and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python

import polars_imgmeta as im
from polars_imgmeta.execution import runtime, scheduler
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.pools import ThreadPool, ThreadStartError
from polars_imgmeta.execution.runtime import DEFAULT, PIXELS_PER_THREAD, Runtime

WAIT_SECONDS = 30


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it does not come about."""
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


@contextmanager
def runtime_of(threads: int) -> Iterator[Runtime]:
    """A runtime of its own, whose threads end with it."""
    runtime = Runtime(threads)
    try:
        yield runtime
    finally:
        runtime.close()


@pytest.fixture
def thread_count() -> Iterator[None]:
    """Leave the thread count as it was."""
    yield
    im.set_thread_count(None)


class Clock:
    """Time that passes only while something is waited for."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class StuckPool:
    """A pool whose threads never end, or end and have begun another turn in a new pool."""

    def __init__(self, clock: Clock, begin_another: Callable[[], None] | None) -> None:
        self.clock = clock
        self.begin_another = begin_another
        self.closed = False

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def join(self, timeout: float) -> bool:
        """Wait in vain, or for one turn."""
        self.clock.now += timeout
        if self.begin_another:
            self.begin_another()
        return self.begin_another is not None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that the runtime has."""
    made = Clock()
    monkeypatch.setattr(runtime, "time", made)
    return made


@pytest.mark.parametrize("again", [True, False])
def test_draining_is_bounded_in_total(clock: Clock, *, again: bool) -> None:
    """Whether one pool is stuck, or each of many is followed by another."""
    mine = Runtime(1)
    pools: list[StuckPool] = []

    def begin() -> None:
        pools.append(StuckPool(clock, begin if again else None))
        mine._workers = cast("ThreadPool", pools[-1])  # noqa: SLF001

    begin()
    start = clock.now
    mine.drain()
    waited = clock.now - start
    assert 0 < waited <= runtime._DRAIN_SECONDS + runtime._STEP_SECONDS  # noqa: SLF001
    assert pools[0].closed


def test_draining_can_be_interrupted(clock: Clock) -> None:
    """What the check raises ends it at once, as does Ctrl-C."""
    mine = Runtime(1)
    mine._workers = cast("ThreadPool", StuckPool(clock, None))  # noqa: SLF001

    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine.drain(check)
    assert clock.now == 100.0 + runtime._STEP_SECONDS  # noqa: SLF001


@pytest.mark.usefixtures("thread_count")
def test_the_thread_count_can_be_set() -> None:
    """Threads and the budget of pixels follow it, also where the pool exists already."""
    for threads in (3, 1, 2):
        im.set_thread_count(threads)
        assert im.thread_count() == threads
        assert DEFAULT.pixels.amount == threads * PIXELS_PER_THREAD
        wait_until(lambda: len(DEFAULT.workers._threads) <= threads)  # noqa: SLF001, B023
        at_work: set[int] = set()
        all_at_work = threading.Event()

        def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
            for number, item in numbered:
                at_work.add(threading.get_ident())  # noqa: B023
                if len(at_work) == threads:  # noqa: B023
                    all_at_work.set()  # noqa: B023
                assert all_at_work.wait(WAIT_SECONDS)  # noqa: B023
                yield number, item

        results = [one for some in scheduler.run(process, range(60)) for one in some]
        assert sorted(results) == [(number, number) for number in range(60)]
        assert len(at_work) == threads
    im.set_thread_count(None)
    assert im.thread_count() == pl.thread_pool_size()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_thread_count_is_positive(threads: object) -> None:
    """Anything else is refused when the call is made."""
    with pytest.raises(ValueError, match="`threads` must be a positive whole number"):
        im.set_thread_count(threads)  # type: ignore[arg-type]


def test_concurrent_runs_take_turns() -> None:
    """A short run is done long before a long one that began earlier."""
    long_began, short_done = threading.Event(), threading.Event()

    def slowly(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for number, _ in numbered:
            long_began.set()
            time.sleep(0 if short_done.is_set() else 0.01)
            yield number, short_done.is_set()

    with runtime_of(1) as runtime, ThreadPoolExecutor(1) as caller:
        items = range(100 * WAIT_SECONDS)
        long = caller.submit(lambda: list(scheduler.run(slowly, items, runtime=runtime)))
        assert long_began.wait(WAIT_SECONDS)
        list(scheduler.run(slowly, range(1), runtime=runtime))
        short_done.set()
        seen = [one for results in long.result() for _, one in results]
    assert seen[-1]  # it was not done yet


def test_runs_of_one_owner_are_worked_off_in_order() -> None:
    """The first of them is complete before the next one begins, however long it takes."""
    both_wait = threading.Event()
    seen: list[str] = []

    def call(name: str, items: int) -> None:
        def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
            for number, item in numbered:
                assert both_wait.wait(WAIT_SECONDS)
                time.sleep(0.01)
                seen.append(name)
                yield number, item

        list(scheduler.run(process, range(items), owner=seen, runtime=pool))

    with runtime_of(1) as pool, ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(call, "first", 40)]
        wait_until(lambda: bool(pool.workers._threads))  # noqa: SLF001
        calls.append(callers.submit(call, "second", 5))
        wait_until(lambda: bool(pool.workers._tasks))  # noqa: SLF001
        both_wait.set()
        for one in calls:
            one.result()
    assert seen == ["first"] * 40 + ["second"] * 5


def test_results_stream_out() -> None:
    """The first results are there while later items are still being processed."""
    more = threading.Event()

    def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for number, item in numbered:
            if number == 50:
                assert more.wait(WAIT_SECONDS)
            yield number, item

    seen = []
    with runtime_of(1) as runtime:
        for results in scheduler.run(process, range(100), runtime=runtime):
            seen += results
            if results:
                more.set()
    assert len(seen) == 100


@given(amounts=st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_a_budget_is_first_come_first_served(amounts: list[int]) -> None:
    """Requests are granted in their order, and never more than there is together."""
    budget = Budget(10)
    budget.take(10)
    granted: list[int] = []
    most = 0

    def take(place: int) -> None:
        nonlocal most
        with budget.hold(amounts[place]):
            granted.append(place)
            most = max(most, budget.held if budget.held != amounts[place] else 0)

    threads = []
    for place in range(len(amounts)):
        thread = threading.Thread(target=take, args=(place,))
        thread.start()
        threads.append(thread)
        wait_until(lambda: len(budget._queue) == place + 1)  # noqa: SLF001, B023
    budget.give(10)
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert granted == list(range(len(amounts)))
    assert most <= 10
    assert budget.held == 0


def test_small_requests_do_not_overtake_a_large_one() -> None:
    """What comes behind a request that has to wait, waits too."""
    budget = Budget(10)
    budget.take(1)
    large = threading.Thread(target=budget.take, args=(10,))
    large.start()
    wait_until(lambda: len(budget._queue) == 1)  # noqa: SLF001
    small = threading.Thread(target=budget.take, args=(1,))
    small.start()
    wait_until(lambda: len(budget._queue) == 2)  # noqa: SLF001
    assert budget.held == 1
    budget.give(1)
    large.join(WAIT_SECONDS)
    assert budget.held == 10
    budget.give(10)
    small.join(WAIT_SECONDS)
    assert budget.held == 1


def test_a_thread_that_cannot_be_started_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do; and where one thread is there, it does the work of all."""
    genuine = threading.Thread.start
    allowed = 0

    def start(thread: threading.Thread) -> None:
        nonlocal allowed
        if thread.name.startswith("imgmeta"):
            if allowed == 0:
                msg = "can't start new thread"
                raise RuntimeError(msg)
            allowed -= 1
        genuine(thread)

    def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        yield from numbered

    monkeypatch.setattr(threading.Thread, "start", start)
    with runtime_of(4) as runtime:
        with pytest.raises(ThreadStartError, match="no thread can be started to read images"):
            list(scheduler.run(process, range(9), runtime=runtime))
        allowed = 1
        found = [one for some in scheduler.run(process, range(9), runtime=runtime) for one in some]
    assert len(found) == 9


@pytest.mark.parametrize("path", ["photos/dusk.png", "http://localhost/a.png", "s3://a/b.png"])
@pytest.mark.parametrize("frame", ["frame", "frame.lazy()"])
def test_an_extraction_that_can_start_no_thread_says_so(
    path: str, frame: str, sample_folder: Path
) -> None:
    """Whichever pool is concerned, and whichever engine calls: by the same one exception."""
    code = (
        "import threading, polars as pl, polars_imgmeta as im\n"
        "from polars_imgmeta.execution.pools import ThreadStartError\n"
        'def start(thread): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = start\n"
        f"frame = pl.DataFrame({{'path': [{path!r}] * 9}})\n"
        f"try: im.extract({frame}, 'path').lazy().collect()\n"
        "except ThreadStartError as error: print(str(error).splitlines()[0])\n"
    )
    done = run_python(code, sample_folder)
    message = "no thread can be started to read images (can't start new thread)"
    assert (done.stdout, done.stderr) == (message + "\n", "")


def test_nothing_begins_while_the_process_ends(sample_folder: Path) -> None:
    """An extraction on another thread ends, and no thread is started that would be cut off."""
    code = (
        "import threading, polars as pl, polars_imgmeta as im\n"
        "frame = pl.DataFrame({'path': ['photos/noise.png', './photos/noise.png'] * 9})\n"
        "im.extract(frame, 'path')\n"
        "from polars_imgmeta.execution.runtime import DEFAULT\n"
        "DEFAULT.close()\n"
        "assert not [one for one in threading.enumerate() if one.name.startswith('imgmeta')]\n"
        "try: im.extract(frame, 'path')\n"
        "except RuntimeError as error: print(str(error).splitlines()[0])\n"
    )
    done = run_python(code, sample_folder)
    message = "no image can be read any more: this process is ending"
    assert (done.stdout, done.stderr) == (message + "\n", "")


def test_a_closed_pool_does_what_it_was_given() -> None:
    """Its threads end after that."""
    pool = ThreadPool(2, "test")
    done: list[int] = []
    for number in range(100):
        pool.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    pool.close()
    pool.join(WAIT_SECONDS)
    assert sorted(done) == list(range(100))
    wait_until(lambda: not pool._threads)  # noqa: SLF001


def test_clients_are_made_once() -> None:
    """And the least recently used one is dropped."""
    runtime = Runtime()
    first = runtime.client("a", object)
    assert runtime.client("a", object) is first
    for number in range(7):
        runtime.client(number, object)
        assert runtime.client("a", object) is first
    for number in range(8):
        runtime.client(number, object)
    assert runtime.client("a", object) is not first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_extracts(sample_folder: Path) -> None:
    """Whatever was held or running when it was forked: budgets, the gate, threads, isolation."""
    code = (
        "import os, sys, warnings, polars as pl, polars_imgmeta as im\n"
        "warnings.simplefilter('ignore')\n"
        "from polars_imgmeta.execution.runtime import DEFAULT\n"
        "frame = pl.DataFrame({'path': [f'photos/{n}.png' for n in ('dusk', 'noise', 'fog')]})\n"
        "im.extract(frame, 'path')\n"
        "DEFAULT.pixels.take(DEFAULT.pixels.amount); DEFAULT.gate.acquire()\n"
        "DEFAULT.transfer_bytes.take(DEFAULT.transfer_bytes.amount)\n"
        "import threading\n"
        "from PIL import Image\n"
        "from polars_imgmeta.decoding.isolation import isolated\n"
        "entered = threading.Event()\n"
        "def decode():\n"
        "    with isolated():\n"
        "        entered.set()\n"
        "        threading.Event().wait()\n"
        "limit = Image.MAX_IMAGE_PIXELS\n"
        "threading.Thread(target=decode, daemon=True).start()\n"
        "entered.wait()\n"
        "assert Image.MAX_IMAGE_PIXELS is not limit\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    if Image.MAX_IMAGE_PIXELS is not limit: os._exit(2)\n"
        "    if DEFAULT.transfer_bytes.held: os._exit(3)\n"
        "    from functools import partial\n"
        "    from polars_imgmeta.catalogue.registry import PropertySet\n"
        "    from polars_imgmeta.execution import scheduler\n"
        "    from polars_imgmeta.measuring.measurement import measure_all\n"
        "    from polars_imgmeta.measuring.options import Reading\n"
        "    wanted = PropertySet(im.CATALOGUE.resolve('standard'))\n"
        "    requests = [(path, wanted) for path in frame['path']]\n"
        "    found = scheduler.run(partial(measure_all, reading=Reading()), requests)\n"
        "    widths = [one.values['width'] for some in found for _, one in some]\n"
        "    os._exit(0 if widths == [320] * 3 else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = run_python(code, sample_folder)
    assert (done.stdout, done.stderr) == ("0\n", "")
