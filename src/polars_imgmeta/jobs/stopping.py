"""Signals that ask a job to stop, heard where it can."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Final, Self

from polars_imgmeta.exceptions import JobError
from polars_imgmeta.execution.runtime import DEFAULT

_SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class StopRequest(Exception):  # noqa: N818 - no error
    """Ends the work in flight."""


class Stopping:
    """A context in which signals ask to stop, rather than end the process at any place.

    At its end, the process gets the signal again, so that what it does then is what it would
    have done: Ctrl-C raises `KeyboardInterrupt`, and SIGTERM ends the process unless there is
    another handler. A second signal acts at once. Signals that were ignored before stay so.

    Attributes:
        received: The signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise if a signal has come.

        Raises:
            StopRequest: If one has.
        """
        if self.received is not None:
            raise StopRequest

    def drain(self) -> None:
        """Wait for the images in flight, unless a signal comes that was not there before."""
        with suppress(StopRequest):
            DEFAULT.drain(None if self.received else self.check)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for one in _SIGNALS:
                # None stands for a handler that was not made in Python.
                if signal.getsignal(one) not in {signal.SIG_IGN, None}:
                    self._before[one] = signal.signal(one, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()
        if self.received is not None:
            signal.raise_signal(self.received)
            # The process has a handler of its own, which has returned.
            msg = (
                f"the job was stopped by {self.received.name}; what is done has been kept, and the"
                " same call goes on from there"
            )
            raise JobError(msg) from None

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            self._restore()
            signal.raise_signal(number)
        self.received = signal.Signals(number)

    def _restore(self) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._before.clear()
