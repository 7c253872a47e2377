"""Calls of the system that take no time limit, such as looking up a name, made with one.

Each is made by a thread of a pool, which its caller leaves to itself when the time is over.
So calls that hang cost their callers no more than that, and the process no more than the
threads of the pool; further calls wait for one of these.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.pools import ThreadPool

Result = TypeVar("Result")

MAX_THREADS: Final = 64


def _make_pool() -> None:
    global _pool  # noqa: PLW0603 - state of the process
    _pool = ThreadPool(MAX_THREADS, "imgmeta-lookup")


_pool: ThreadPool
_make_pool()
after_fork_in_child(_make_pool)


class _Call(Generic[Result]):
    """One call, and what came of it."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self.function: Callable[[], Result] | None = function
        self.done = threading.Event()
        self.result: Any = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Make the call, unless its caller has given up."""
        if (function := self.function) is None:
            return
        try:
            self.result = function()
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self.failure = error
        self.done.set()


def call(function: Callable[..., Result], *args: object, wait: Callable[[], float]) -> Result:
    """Call a function in another thread.

    Args:
        function: What to call.
        args: Its arguments.
        wait: Returns for how many seconds to wait, after which it is called again. What it
            raises ends the waiting.

    Raises:
        BaseException: What the function raises, or `wait`.
    """
    made = _Call(partial(function, *args))
    _pool.submit(made.run)
    try:
        while not made.done.wait(wait()):
            pass
    finally:
        made.function = None
    if made.failure is not None:
        raise made.failure
    return made.result  # type: ignore[no-any-return]
