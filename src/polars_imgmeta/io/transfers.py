"""The transfer of a remote image: its deadline, its memory, and the parts it arrives in."""

from __future__ import annotations

import re
import threading
import time
from datetime import datetime
from typing import Final, NamedTuple, Protocol, Self

from polars_imgmeta.exceptions import TooLargeError, UnreachableError
from polars_imgmeta.execution.runtime import DEFAULT, Runtime
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.sources import SourceFacts

FIRST_BYTES: Final = 1 << 20
"""How many bytes to reserve for a body of undeclared length."""

# The fraction of the byte budget that may be reserved for sizes that servers have declared
# and not yet sent.
_CLAIMED_FRACTION = 1 / 4
# How often a growing transfer checks the budget while another one has the overdraft.
_POLL_SECONDS = 0.05


# Listings have tags without quotes.
_ETAG = re.compile(r'(?:W/)?"?([\x21\x23-\x7e\x80-\xff]+)"?')


class Part(NamedTuple):
    """A part of an object, or all of it.

    Attributes:
        data: The bytes of the part.
        position: The offset of the part in the object.
        size: The number of bytes of the object.
        modified: When the object was last modified, in UTC, if the server declares it.
        etag: The entity tag of the object, if the server declares it; see `parse_etag`.
    """

    data: bytes
    position: int
    size: int
    modified: datetime | None = None
    etag: str | None = None

    @property
    def facts(self) -> SourceFacts:
        """Size, modification time and entity tag of the object."""
        return SourceFacts(self.size, self.modified, self.etag)


def parse_etag(text: str | None) -> str | None:
    """Return the opaque tag of an ETag, without quotes and mark of weakness.

    The same object may have a weak tag in one response and a strong one in another, and
    the listing of Azure has no quotes: opaque tags can be compared everywhere.

    Args:
        text: The header or the field of a listing. None, like a malformed tag, gives None.

    Examples:
        >>> parse_etag('W/"5e1f"'), parse_etag('"5e1f"'), parse_etag("0x8DC"), parse_etag('"')
        ('5e1f', '5e1f', '0x8DC', None)
    """
    match = _ETAG.fullmatch((text or "").strip())
    return match[1] if match else None


class Transfer:
    """The transfer of one image; a context that releases its memory at the end.

    Args:
        access: The limits of time and size.
        stopped: Set when the image is no longer needed.
        runtime: The runtime whose byte budget it shares.
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
        """Return the time left, in seconds.

        Raises:
            UnreachableError: If there is none, or the transfer was stopped.
        """
        left = self._until - time.monotonic()
        if self._stopped.is_set():
            msg = "stopped"
            raise UnreachableError(msg)
        if left <= 0:
            raise UnreachableError(self.overdue())
        return left

    def overdue(self) -> str:
        """Return the message for an exceeded deadline."""
        return f"it took longer than `timeout`, which is {self.access.timeout:g} seconds"

    def pause(self, seconds: float) -> bool:
        """Wait before a retry; return False at once if no time would be left.

        Raises:
            UnreachableError: If no time is left, or the transfer was stopped.
        """
        if seconds >= self.seconds_left():
            return False
        self._stopped.wait(seconds)
        self.seconds_left()
        return True

    @property
    def share(self) -> int:
        """How many bytes to reserve for a declared size before any of them has arrived."""
        amount = self._budget.amount * _CLAIMED_FRACTION
        return max(1, int(amount / self.access.concurrency))

    def require_size(self, size: int) -> None:
        """Check that an image may have `size` bytes.

        Raises:
            TooLargeError: If `size` exceeds `max_bytes`.
        """
        if size > self.access.max_bytes:
            limit = self.access.max_bytes
            msg = f"more bytes than `max_bytes`, which is {limit}"
            raise TooLargeError(msg)

    def hold(self, size: int) -> None:
        """Reserve `size` bytes in total, waiting until the budget has room.

        Call it before reading: with the declared size, or with a `share` of it until that
        many bytes have arrived; for an undeclared size with `FIRST_BYTES`, then with more
        as needed. The deadline is extended by the time spent waiting.

        Raises:
            TooLargeError: If `size` exceeds `max_bytes`.
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
            if self._grows or self._budget.overdraft.acquire(timeout=_POLL_SECONDS):
                self._grows = True
                self._budget.overdraw(more)
                return

    def release(self) -> None:
        """Return its memory to the budget."""
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
    """A client that reads the objects of some schemes."""

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it.

        Args:
            url: The URL of the object.
            transfer: Holds the memory for the content before it is read.
            extent: Position and length of the part; None for all. The result is shorter
                where the object ends earlier, and is the whole object where the server
                ignores ranges. A length of 0 requests the facts without content.

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`; its message contains neither the URL
                nor a secret.
        """
