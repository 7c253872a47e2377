"""The gate: one thread at a time does short work, unless it is held up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import CATALOGUE, PropertySet
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.gate import Gate, Pass
from polars_imgmeta.io import locators
from polars_imgmeta.io.access import Access
from polars_imgmeta.measuring import measurement
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import Request

WAIT_SECONDS = 30


def in_thread(function: Callable[[], object]) -> threading.Thread:
    """Start a thread that calls a function."""
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_one_thread_holds_the_gate() -> None:
    """While the holder makes progress no other thread enters; then the next one does."""
    gate = Gate()
    begun, waiting = threading.Event(), threading.Event()
    mine = Pass(gate)
    mine.step()

    def wait() -> None:
        waiting.set()
        with Pass(gate) as held:
            held.step()
            begun.set()

    other = in_thread(wait)
    assert waiting.wait(WAIT_SECONDS)
    for _ in range(100_000):  # for as long as several looks
        mine.step()
    assert not begun.is_set()
    mine.release()
    assert begun.wait(WAIT_SECONDS)
    other.join()


def test_the_gate_opens_while_its_holder_makes_no_progress() -> None:
    """All waiting threads pass while its holder makes no progress."""
    gate = Gate()
    with Pass(gate) as mine, ThreadPoolExecutor(8) as others:
        mine.step()
        together = threading.Barrier(8, timeout=WAIT_SECONDS)

        def work(_: int) -> None:
            with Pass(gate) as held:
                held.step()
                together.wait()

        list(others.map(work, range(8)))  # the barrier would break


def test_the_gate_is_released_once() -> None:
    """Releasing a gate that is not held does nothing."""
    gate = Gate()
    first, second = Pass(gate), Pass(gate)
    first.step()
    second.release()
    first.release()
    first.release()
    second.step()
    second.release()
    assert gate.acquire()


def test_the_gate_is_released_at_the_end_of_the_block() -> None:
    """Whatever is raised within, the next thread can enter."""
    gate = Gate()

    def fail() -> None:
        with Pass(gate) as held:
            held.step()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gate.acquire()


def test_a_slow_disk_is_read_by_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where opening takes long, threads open side by side."""
    make_samples(tmp_path)
    path = str(tmp_path / "dusk.png")
    inside = 0
    most = 0
    lock = threading.Lock()
    genuine = locators.open_local

    def open_slowly(locator: str, access: Access) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return genuine(locator, access)

    monkeypatch.setattr(locators, "open_local", open_slowly)
    requests: list[Request] = [(path, PropertySet([CATALOGUE["width"]]))] * 40
    for _ in scheduler.run(partial(measurement.measure_all, reading=Reading()), requests):
        pass
    assert most == min(pl.thread_pool_size(), 40)


def test_small_and_large_pictures_at_once(tmp_path: Path) -> None:
    """A mixture of sizes and failures comes out as each alone."""
    make_samples(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    frame = im.scan_images(tmp_path).select("path").collect()
    mixed = pl.concat([frame, frame.reverse()] * 3)
    alone = {path: im.extract(pl.DataFrame({"path": [path]}), "path") for path in frame["path"]}
    expected = pl.concat([alone[path] for path in mixed["path"]])
    assert im.extract(mixed, "path").equals(expected)
