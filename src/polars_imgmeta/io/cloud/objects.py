"""Single requests for an object: all of it, a part, or its facts."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError

from polars_imgmeta.exceptions import UnreachableError
from polars_imgmeta.io.cloud.buckets import Store
from polars_imgmeta.io.retries import TransientError
from polars_imgmeta.io.sources import SourceFacts
from polars_imgmeta.io.transfers import Part, Transfer, parse_etag

_READ_BYTES: Final = 1 << 20


def get_object(store: Store, key: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
    """Read an object, or a part of it, as [`Client`][polars_imgmeta.io.transfers.Client] does.

    Raises:
        TooLargeError: If it is larger than `max_bytes`.
        TransientError: If what comes is not as long as announced.
        BaseError: Any exception of obstore; also `OSError`.
    """
    if extent is None:
        return _receive(obstore.get(store, key), transfer)
    position, length = extent
    try:
        if length:
            options: Any = {"range": (position, position + length)}
            return _receive(obstore.get(store, key, options=options), transfer)
    except BaseError as error:
        message = str(error).partition("\n\nDebug source:")[0]
        if "non-partial response" in message:
            return _receive(obstore.get(store, key), transfer)
        # The object ends before the position; its size takes another request.
        if not ("status code: 416" in message or "start is after the end" in message.lower()):
            raise
    return Part(b"", position, *object_facts(obstore.head(store, key)))


def _receive(result: obstore.GetResult, transfer: Transfer) -> Part:
    """Receive the content that a response announces.

    Raises:
        TransientError: If it is shorter or longer.
    """
    start, end = result.range
    expected, received = end - start, 0
    transfer.hold(expected)
    # `BytesIO.getvalue` does not copy a buffer that is full, and writing its last byte
    # first allocates the buffer once.
    data = BytesIO()
    for chunk in result.stream(min_chunk_size=_READ_BYTES):
        if len(chunk) == expected:
            return Part(bytes(chunk), start, *object_facts(result.meta))
        received += len(chunk)
        if received > expected:
            break
        if not data.tell():
            data.seek(expected - 1)
            data.write(b"\0")
            data.seek(0)
        data.write(chunk)
    if received != expected:
        more = "or more " if received > expected else ""
        msg = f"the store sent {received} {more}bytes in place of {expected}"
        raise TransientError(msg)
    return Part(data.getvalue(), start, *object_facts(result.meta))


def object_facts(meta: obstore.ObjectMeta) -> tuple[int, datetime, str | None]:
    """Return size, modification time and entity tag, alike from a listing and a response."""
    # Some listings have fractions of seconds, which no response has.
    modified = meta["last_modified"].astimezone(UTC).replace(microsecond=0)
    return meta["size"], modified, parse_etag(meta["e_tag"])


def probe_object(store: Store, key: str) -> SourceFacts | None:
    """Return the facts of an object, or None if it does not exist or may not be read."""
    if not key or key.endswith("/"):
        return None
    try:
        return SourceFacts(*object_facts(obstore.head(store, key)))
    except (FileNotFoundError, PermissionDeniedError):
        return None


_user_process: int | None = None  # the one whose threads obstore has started


def require_no_fork() -> None:
    """Prevent a deadlock: the threads of obstore do not survive a fork.

    Raises:
        UnreachableError: In a process forked after its parent called this function.
    """
    global _user_process  # noqa: PLW0603 - state of the process
    if _user_process not in {None, os.getpid()}:
        msg = "a forked process cannot read cloud storage once its parent has; spawn it instead"
        raise UnreachableError(msg)
    _user_process = os.getpid()
