"""Runs jobs in forked processes, each of which may be killed; started by `killing.py`.

A process takes a second to import everything, and a fork of one a few milliseconds. Nothing
but imports may happen before the fork, since threads do not survive it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl

_count = pl.thread_pool_size
pl.thread_pool_size = lambda: 2  # the real one would start Polars' threads

import polars_imgmeta as im  # noqa: E402 - see above
from polars_imgmeta.jobs import parts  # noqa: E402 - see above


def main() -> None:
    """Run a job for each line of standard input, and print how its process ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(order)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(order: dict[str, Any]) -> None:
    small: Any = parts  # its constants are made smaller
    small._PART_ROWS, small._FIRST_BATCH = order["part_rows"], order["batch_rows"]  # noqa: SLF001
    small._SMALLEST_BATCH = small._LARGEST_BATCH = order["batch_rows"]  # noqa: SLF001
    pl.thread_pool_size = _count
    number = getattr(signal, order["signal"])
    signal.alarm(order["alarm"])  # a job that hangs is a failure
    if order["event"] is not None:
        _kill_at(order["event"], number, order["options"]["output"])
    if order["seconds"] is not None:
        _kill_after(order["seconds"], number)
    status = 1
    try:
        im.run(**order["options"])
        status = 0
    except BaseException as error:  # noqa: BLE001 - reported
        Path(order["log"]).write_text(f"{type(error).__name__}: {error}", "utf-8")
    finally:
        os._exit(status)


def _kill_at(event: int, number: int, output: str) -> None:
    """End this process before it touches its output for the n-th time."""
    seen = 0

    def hook(_: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if any(isinstance(one, str | os.PathLike) and output in str(one) for one in arguments):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


def _kill_after(seconds: float, number: int) -> None:
    def kill() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    threading.Thread(target=kill, daemon=True).start()


if __name__ == "__main__":
    main()
