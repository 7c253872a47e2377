"""The shared pool: order, failures, interruption and forks."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_imgmeta import workers


@given(items=st.lists(st.integers(), max_size=200))
def test_results_come_in_the_order_of_the_items(items: list[int]) -> None:
    """Whichever worker is done first."""
    assert workers.run(lambda item: item * 2, items) == [item * 2 for item in items]


@given(failing=st.sets(st.integers(0, 49), min_size=1))
def test_the_earliest_failure_is_raised(failing: set[int]) -> None:
    """Of several failures the one that a loop would have met first."""

    def fail(item: int) -> None:
        if item in failing:
            raise ValueError(item)

    with pytest.raises(ValueError, match=rf"^{min(failing)}$"):
        workers.run(fail, range(50))


def test_what_is_no_ordinary_exception_comes_through() -> None:
    """Such as the panics of compiled code."""

    class Panic(BaseException):
        pass

    def fail(item: int) -> int:
        if item == 9:
            raise Panic
        return item

    with pytest.raises(Panic):
        workers.run(fail, range(10))


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
        workers.run(fail, range(2))


def test_a_failure_stops_the_rest() -> None:
    """No item is begun after one has failed, and the pool goes on."""
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^0$"):
        workers.run(fail, range(1000))
    assert len(begun) <= pl.thread_pool_size()
    assert workers.run(str, [1]) == ["1"]


def test_work_is_spread() -> None:
    """A slow item holds up one worker, not the others."""
    release = threading.Event()

    def wait(item: int) -> int:
        if item == 0 and pl.thread_pool_size() > 1:
            assert release.wait(30)
        if item == 20:
            release.set()
        return item

    assert workers.run(wait, range(21)) == list(range(21))


def test_a_forked_child_makes_a_pool_of_its_own() -> None:
    """After a fork, as multiprocessing on Linux may do, extraction does not hang."""
    code = (
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from polars_imgmeta import workers\n"
        "import threading\n"
        "meet = threading.Barrier(2 if workers.pl.thread_pool_size() > 1 else 1)\n"
        "workers.run(lambda _: meet.wait(), [1, 2])  # each thread of the pool is there\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if workers.run(str, [1, 2]) == ['1', '2'] else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0\n"


def test_an_interrupt_ends_an_extraction_and_leaves_the_pool_usable(
    sample_folder: Path, tmp_path: Path
) -> None:
    """Ctrl-C in an eager run comes through at once."""
    for number in range(5000):
        (tmp_path / f"{number:04}.png").symlink_to(sample_folder / "photos" / "noise.png")
    code = (
        "import polars_imgmeta as im\n"
        "frame = im.scan_images('.').collect()\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    im.extract(frame, 'path')\n"
        "except KeyboardInterrupt:\n"
        "    print(im.extract(frame.head(2), 'path', 'width').height)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    interrupted = time.monotonic()
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("2\n", "")
    assert time.monotonic() - interrupted < 5
