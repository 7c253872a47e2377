"""A watch counts the rows of a run, and ends with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python

import polars_imgmeta as im
from polars_imgmeta.execution.progress import Announcer
from polars_imgmeta.execution.watching import Watch


class Owner:
    """What lives as long as a run."""


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9)))))
def test_every_row_is_counted_once(batches: list[tuple[int, list[int]]]) -> None:
    """Whether a batch reads fewer images than it has rows, or some of them twice."""
    seen: list[im.Progress] = []
    owner = Owner()
    watch = Watch(Announcer(seen.append, "rows"), owner, None)
    watch.begin_source()
    for rows, images in batches:
        watch.hand(rows)
        with watch.batch(rows) as observer:
            assert observer is not None
            for read in images:
                observer.advance(read, {"corrupt": read} if read else {})
    assert seen == []
    watch.end_source()  # which says the last word before it returns
    (last,) = seen
    assert last.done == sum(rows for rows, _ in batches)


@pytest.mark.parametrize("announcer", [Announcer(lambda _: None), None])
def test_it_ends_with_its_owner(announcer: Announcer | None) -> None:
    """Though rows are still to come."""
    owner = Owner()
    watch = Watch(announcer, owner, None)
    watch.begin_source()
    watch.hand(5)
    thread = watch._thread  # noqa: SLF001
    assert (thread is None) == (announcer is None)
    del owner
    if thread:
        thread.join(30)
        assert not thread.is_alive()


def test_a_fork_waits_for_no_thread_of_its_parent(tmp_path: Path) -> None:
    """Nor do the interpreters wait at their end, one of which has a bar."""
    code = (
        "import os, signal\n"
        "from polars_imgmeta.execution.progress import Announcer\n"
        "from polars_imgmeta.execution.watching import Watch\n"
        "class Owner: pass\n"
        "owner = Owner()\n"
        "watch = Watch(Announcer(True), owner, None)\n"
        "assert watch._thread.is_alive()\n"
        "if (child := os.fork()) == 0:\n"
        "    signal.alarm(60)\n"
        "    del owner\n"
        "    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = run_python(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "7\n")
