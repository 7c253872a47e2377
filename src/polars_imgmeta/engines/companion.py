"""A process beside a worker that was forked after Polars had started its threads.

Such a worker has none of these threads, and Polars would wait for them for ever. So its
extractions are done by another process, which it starts, and which ends with it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.runtime import DEFAULT

if TYPE_CHECKING:
    import pyarrow as pa

_PROBE_SECONDS: Final = 5.0
_TASKS: Final = Path("/proc/self/task")
_CODE: Final = "from polars_imgmeta.engines import companion; companion.serve()"

Extract = Callable[[Any], Any]


class _Companion:
    """The process, of which there is at most one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.needed: bool | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def is_needed(self) -> bool:
        """Whether Polars cannot work in this process."""
        with self.lock:
            if self.needed is None:
                self.needed = not (_has_threads() or _works())
            return self.needed

    def ask(self, request: object) -> Any:  # noqa: ANN401 - what it answers
        """Send a request and wait for the answer."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.process = _start()
            sender, receiver = self.process.stdin, self.process.stdout
            assert sender is not None  # noqa: S101 - both are pipes
            assert receiver is not None  # noqa: S101 - see above
            data = pickle.dumps(request)
            try:
                sender.write(data)
                sender.flush()
                return pickle.load(receiver)  # noqa: S301 - of our own process
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                self.process.kill()
                msg = "the process that extracts in place of this forked worker has ended"
                raise RuntimeError(msg) from error


_companion = _Companion()
after_fork_in_child(_companion.__init__)  # type: ignore[misc] # a child needs one of its own


def is_needed() -> bool:
    """Return whether this process was forked from one in which Polars had its threads."""
    return _companion.is_needed()


def ask(extract: Extract, table: pa.Table) -> Any:  # noqa: ANN401 - what it returns
    """Let the companion extract.

    Args:
        extract: Called with the table, in the other process. It is pickled.
        table: The table.

    Returns:
        What it returns.

    Raises:
        Exception: What it raises.
    """
    answer = _companion.ask((extract, DEFAULT.granted, table))
    if isinstance(answer, BaseException):
        raise answer
    return answer


def serve() -> None:
    """Answer requests until the worker ends: the main function of the companion."""
    # What a property prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            extract, granted, table = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the worker
            DEFAULT.grant(*granted)
            answer = extract(table)
        except EOFError:
            return
        except BaseException as error:  # noqa: BLE001 - raised by the worker
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _has_threads() -> bool:
    """Whether there is a thread with the name of one of Polars, after it had to start them."""
    pl.thread_pool_size()
    tasks = list(_TASKS.iterdir()) if _TASKS.exists() else []
    return any(_name(task).startswith("polars-0") for task in tasks)


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # the thread has ended since it was listed
        return ""


def _works() -> bool:
    """Whether Polars answers within some seconds: the test where threads have no names."""
    frame = pl.DataFrame({"one": [1], "two": [2]})
    thread = threading.Thread(target=lambda: frame.select(pl.all() + 1), daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return not thread.is_alive()
