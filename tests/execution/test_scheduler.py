"""The shared pool: order, failures, interruption and forks."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_imgmeta.execution import scheduler


def run_all(process: Any, items: Any, **options: Any) -> list[Any]:  # noqa: ANN401
    """Return the results in the order of the items, up to the first that stops."""
    stop = options.get("stop", lambda _: False)
    results = dict(chain.from_iterable(scheduler.run(process, items, **options)))
    stopping = [number for number, result in results.items() if stop(result)]
    last = min(stopping, default=len(items) - 1)
    return [results[number] for number in range(last + 1)]


def run(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Apply a function to every item on the shared pool."""
    return run_all(lambda numbered: ((number, function(item)) for number, item in numbered), items)


@given(items=st.lists(st.integers(), max_size=200))
def test_results_come_in_the_order_of_the_items(items: list[int]) -> None:
    """Whichever worker is done first."""
    assert run(lambda item: item * 2, items) == [item * 2 for item in items]


@given(failing=st.sets(st.integers(0, 49), min_size=1))
def test_the_earliest_failure_is_raised(failing: set[int]) -> None:
    """Of several failures the one that a loop would have met first."""

    def fail(item: int) -> None:
        if item in failing:
            raise ValueError(item)

    with pytest.raises(ValueError, match=rf"^{min(failing)}$"):
        run(fail, range(50))


def test_what_is_no_ordinary_exception_comes_through() -> None:
    """Such as the panics of compiled code."""

    class Panic(BaseException):
        pass

    def fail(item: int) -> int:
        if item == 9:
            raise Panic
        return item

    with pytest.raises(Panic):
        run(fail, range(10))


def test_of_two_failures_at_once_the_earlier_is_raised() -> None:
    """Even where the later one came first."""
    later_failed = threading.Event()

    def fail(item: int) -> None:
        if item == 0 and pl.thread_pool_size() > 1:
            assert later_failed.wait(30)
        else:
            later_failed.set()
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        run(fail, range(2))


def test_a_failure_stops_the_rest() -> None:
    """No item is begun after one has failed, and the pool goes on."""
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        run(fail, range(1000))
    assert len(begun) <= pl.thread_pool_size()
    assert run(str, [1]) == ["1"]


def test_work_is_spread() -> None:
    """A slow item holds up one worker, not the others."""
    release = threading.Event()

    def wait(item: int) -> int:
        if item == 0 and pl.thread_pool_size() > 1:
            assert release.wait(30)
        if item == 20:
            release.set()
        return item

    assert run(wait, range(21)) == list(range(21))


@dataclass
class Slow:
    """Fetches numbers, which then are negative, and keeps count."""

    remote: Sequence[int]
    concurrency: int = 4
    seconds: float = 0.0
    fails_at: int = -1
    begun: list[int] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    inside: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, item: int, cancelled: threading.Event) -> int:
        """Take a while."""
        with self.lock:
            self.begun.append(item)
            self.inside += 1
            self.most = max(self.most, self.inside)
        cancelled.wait(self.seconds)
        with self.lock:
            self.inside -= 1
        if item == self.fails_at:
            raise ValueError(item)
        return -item

    def discard(self, item: int) -> None:
        """Note what was fetched for nothing."""
        self.discarded.append(item)


def pass_on(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """A process that does nothing."""
    yield from numbered


@given(
    count=st.integers(0, 60),
    far=st.sets(st.integers(0, 59)),
    concurrency=st.integers(1, 9),
)
def test_what_is_far_is_fetched(count: int, far: set[int], concurrency: int) -> None:
    """Each once, by so many threads at most, whichever items are near."""
    fetching = Slow(sorted(number for number in far if number < count), concurrency)
    results = run_all(pass_on, range(count), prefetcher=fetching)
    assert results == [-item if item in far else item for item in range(count)]
    assert sorted(fetching.begun) == list(fetching.remote)
    assert fetching.most <= concurrency
    assert fetching.discarded == []


def test_near_items_do_not_wait_for_far_ones() -> None:
    """Nor do workers, of which there may be a single one."""
    fetching = Slow([0, 1], seconds=30)
    done = threading.Event()

    def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for number, item in numbered:
            if number == 9:
                done.set()
            yield number, item

    started = time.monotonic()
    for _ in scheduler.run(process, range(10), prefetcher=fetching):
        if done.is_set():
            break
    assert time.monotonic() - started < 10


def test_an_interrupt_lets_go_of_what_was_fetched() -> None:
    """Fetches in transit are cancelled, and every fetched item is processed or discarded."""
    fetching = Slow(range(100), concurrency=3, seconds=0.05)
    processed = []

    def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for number, item in numbered:
            processed.append(item)
            yield number, item

    for results in scheduler.run(process, range(100), prefetcher=fetching):
        if results:
            break
    until = time.monotonic() + 30
    while fetching.begun != sorted({-item for item in (*processed, *fetching.discarded)}):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(fetching.begun) < 100


@pytest.mark.parametrize("far", [range(50), range(0, 50, 2), range(30, 50)])
def test_the_first_that_stops_is_known(far: range) -> None:
    """Whatever comes first: all before it are processed, and later ones are let go."""
    stopping = {17, 33, 41}
    fetching = Slow(far, concurrency=8, seconds=0.001)
    results = run_all(
        pass_on, range(50), prefetcher=fetching, stop=lambda item: abs(item) in stopping
    )
    assert [abs(item) for item in results] == list(range(18))


def test_a_failure_while_fetching_is_raised() -> None:
    """If it is more than the failure of an item."""
    with pytest.raises(ValueError, match=r"^5$"):
        run_all(pass_on, range(50), prefetcher=Slow(range(50), fails_at=5))


def test_runs_at_once_share_little_memory() -> None:
    """The workers of one cannot keep those of another from what holds all of it."""
    room = threading.Semaphore(2)

    class Narrow(Slow):
        def fetch(self, item: int, cancelled: threading.Event) -> int:
            room.acquire()
            return super().fetch(item, cancelled)

    def process(numbered: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for number, item in numbered:
            room.release()
            yield number, item

    def run(_: int) -> list[int]:
        return run_all(process, range(200), prefetcher=Narrow(range(200)))

    with ThreadPoolExecutor(6) as callers:
        assert list(callers.map(run, range(6))) == [[-item for item in range(200)]] * 6


def test_a_forked_child_makes_a_pool_of_its_own() -> None:
    """After a fork, as multiprocessing on Linux may do, extraction does not hang."""
    code = (
        "import os, warnings, polars as pl\n"
        "warnings.simplefilter('ignore')\n"
        "from test_scheduler import run\n"
        "import threading\n"
        "meet = threading.Barrier(2 if pl.thread_pool_size() > 1 else 1)\n"
        "run(lambda _: meet.wait(), [1, 2])  # each thread of the pool is there\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if run(str, [1, 2]) == ['1', '2'] else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "0\n"


def _begun(code: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process, and wait until it has read its first image."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.slow
def test_an_interrupt_ends_an_extraction_and_leaves_the_pool_usable(
    sample_folder: Path, tmp_path: Path
) -> None:
    """Ctrl-C in an eager run comes through before the images are done."""
    for number in range(5000):
        (tmp_path / f"{number:04}.png").symlink_to(sample_folder / "photos" / "noise.png")
    code = (
        "import sys, polars_imgmeta as im\n"
        "opened = 0\n"
        "def hear(event, arguments):\n"
        "    global opened\n"
        "    if event == 'open' and str(arguments[0]).endswith('.png'):\n"
        "        opened += 1\n"
        "        if opened == 1: print('begun', flush=True)\n"
        "frame = im.scan_images('.').collect()\n"
        "sys.addaudithook(hear)\n"
        "try:\n"
        "    im.extract(frame, 'path')\n"
        "except KeyboardInterrupt:\n"
        "    print(opened < 5000, im.extract(frame.head(2), 'path', 'width').height)\n"
    )
    process = _begun(code, tmp_path)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("True 2\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("execute", ["collect()", "sink_parquet('out.parquet')"])
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5])
def test_an_interrupt_ends_a_lazy_plan(
    execute: str, seconds: float, sample_folder: Path, tmp_path: Path
) -> None:
    """Whenever Ctrl-C comes, images are soon opened no more, and the process ends as usual.

    Polars calls from threads of its own, which Python does not interrupt.
    """
    (tmp_path / "noise.png").symlink_to(sample_folder / "photos" / "noise.png")
    code = (
        "import sys, time\n"
        "import polars as pl, polars_imgmeta as im\n"
        "opened = 0\n"
        "def hear(event, arguments):\n"
        "    global opened\n"
        "    if event == 'open' and str(arguments[0]).endswith('noise.png'):\n"
        "        opened += 1\n"
        "        if opened == 1: print('begun', flush=True)\n"
        "def rest(seconds):\n"
        "    until = time.monotonic() + seconds\n"
        "    while time.monotonic() < until:\n"
        "        try: time.sleep(0.01)\n"
        "        except KeyboardInterrupt: pass  # Polars and Python may both raise it\n"
        "sys.addaudithook(hear)\n"
        "paths = ['./' * number + 'noise.png' for number in range(1500)]\n"
        "plan = pl.LazyFrame({'path': paths}).imgmeta.extract('path')\n"
        "try:\n"
        f"    try: plan.{execute}\n"
        "    finally: rest(0.1)\n"
        "except KeyboardInterrupt: pass\n"
        "rest(2)\n"
        "before = opened\n"
        "rest(1)\n"
        "print(opened - before, 0 < opened < len(paths))\n"
    )
    process = _begun(code, tmp_path)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("0 True\n", "", 0)
