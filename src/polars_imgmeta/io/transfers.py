"""What it takes to bring an image from elsewhere: its time, its memory, its parts."""

from __future__ import annotations

import threading
import time
from typing import Final, NamedTuple, Protocol, Self

from polars_imgmeta.exceptions import TooLargeError, UnreachableError
from polars_imgmeta.execution.runtime import DEFAULT, Runtime
from polars_imgmeta.io.access import Access

FIRST_BYTES: Final = 1 << 20
"""How many bytes to make room for where nobody knows how many there will be."""

# The fraction of the budget of bytes that is held for sizes which servers have declared and
# not yet sent.
_SHARE_OF_CLAIMS = 1 / 4
# How often to look whether there is room, whoever has the overdraft.
_LOOK_SECONDS = 0.05


class Part(NamedTuple):
    """A part of an object, or all of it.

    Attributes:
        data: Its bytes.
        position: Where in the object they begin.
        size: How many bytes the whole object has.
    """

    data: bytes
    position: int
    size: int


class Transfer:
    """One image on its way; a context at whose end its memory is free again.

    Args:
        access: Tells what it may cost.
        stopped: Is set when the image is not needed any more.
        runtime: Whose budget of bytes it shares.
    """

    def __init__(
        self, access: Access, stopped: threading.Event | None = None, runtime: Runtime = DEFAULT
    ) -> None:
        self.access = access
        self.runtime = runtime
        self._budget = runtime.transfer_bytes
        self._stopped = stopped or threading.Event()
        self._until = time.monotonic() + access.timeout
        self._held = 0
        self._grows = False

    def seconds_left(self) -> float:
        """Return how long it may still take.

        Raises:
            UnreachableError: If its time is over, or nobody wants it any more.
        """
        left = self._until - time.monotonic()
        if self._stopped.is_set():
            msg = "stopped"
            raise UnreachableError(msg)
        if left <= 0:
            raise UnreachableError(self.overdue())
        return left

    def overdue(self) -> str:
        """Return the message for when its time is over."""
        return f"it took longer than `timeout`, which is {self.access.timeout:g} seconds"

    def pause(self, seconds: float) -> bool:
        """Wait before another try; or return False at once if no time would be left.

        Raises:
            UnreachableError: If its time is over, or nobody wants it any more.
        """
        if seconds >= self.seconds_left():
            return False
        self._stopped.wait(seconds)
        self.seconds_left()
        return True

    @property
    def share(self) -> int:
        """For how many bytes to make room on the mere word of a server that they come."""
        amount = self._budget.amount * _SHARE_OF_CLAIMS
        return max(1, int(amount / self.access.concurrency))

    def require_size(self, size: int) -> None:
        """Check that an image may be of so many bytes.

        Raises:
            TooLargeError: If they are more than `max_bytes`.
        """
        if size > self.access.max_bytes:
            limit = self.access.max_bytes
            msg = f"more bytes than `max_bytes`, which is {limit}"
            raise TooLargeError(msg)

    def hold(self, size: int) -> None:
        """Make room for so many bytes in all, once others have left enough.

        To be called before they are read: with the number that the server told, or with
        a `share` of it until those have come; where it told none, with `FIRST_BYTES` and
        then, as often as needed, with more. The time that it waits here does not count.

        Raises:
            TooLargeError: If they are more than `max_bytes`.
        """
        self.require_size(size)
        if size <= self._held:
            return
        before = time.monotonic()
        if self._held:
            self._grow(size - self._held)
        else:
            self._budget.take(size)
        self._held = size
        self._until += time.monotonic() - before

    def _grow(self, more: int) -> None:
        while not self._budget.take_at_once(more):
            if self._grows or self._budget.overdraft.acquire(timeout=_LOOK_SECONDS):
                self._grows = True
                self._budget.overdraw(more)
                return

    def release(self) -> None:
        """Give its memory back."""
        if self._grows:
            self._grows = False
            self._budget.overdraft.release()
        held, self._held = self._held, 0
        self._budget.give(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Client(Protocol):
    """What reads objects of some schemes."""

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it.

        Args:
            url: Where it is.
            transfer: What it may cost; told how many bytes come before they do.
            extent: Position and length of the part; less comes where the object ends
                before, more where the server gives nothing but the whole. None for all.

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`; its message holds neither the URL
                nor anything secret.
        """
