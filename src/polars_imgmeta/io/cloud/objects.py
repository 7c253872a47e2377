"""Objects in a bucket: one read, whole or in part, or its size asked for."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError

from polars_imgmeta.exceptions import UnreachableError
from polars_imgmeta.io.cloud.buckets import Store
from polars_imgmeta.io.transfers import Part, Transfer

_PIECE_BYTES: Final = 1 << 20


def get_object(store: Store, key: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
    """Read an object, or a part of it, by one request.

    Args:
        store: The bucket.
        key: The name of the object.
        transfer: Told how many bytes come before they do.
        extent: Position and length of the part, or None for all.

    Raises:
        TooLargeError: If they are too many.
        BaseError: Whatever obstore raises, and `OSError` or `ValueError`.
    """
    if extent is None:
        return _take(obstore.get(store, key), transfer)
    position, length = extent
    try:
        options: Any = {"range": (position, position + length)}
        return _take(obstore.get(store, key, options=options), transfer)
    except BaseError as error:
        told = str(error).partition("\n\nDebug source:")[0]
        if "non-partial response" in told:
            return _take(obstore.get(store, key), transfer)
        # It ends before the position; how long it is, nothing but its head tells.
        if "status code: 416" in told or "start is after the end" in told.lower():
            return Part(b"", position, obstore.head(store, key)["size"])
        raise


def _take(result: obstore.GetResult, transfer: Transfer) -> Part:
    start, end = result.range
    transfer.hold(end - start)
    # A stream in memory gives its bytes without a copy once it has all of them, and
    # makes room for them once if the last is written first.
    data = BytesIO()
    for piece in result.stream(min_chunk_size=_PIECE_BYTES):
        if len(piece) == end - start:
            return Part(bytes(piece), start, result.meta["size"])
        if not data.tell():
            data.seek(end - start - 1)
            data.write(b"\0")
            data.seek(0)
        data.write(piece)
    return Part(data.getvalue(), start, result.meta["size"])


def size_of(store: Store, key: str) -> int | None:
    """Return the size of an object, or None if there is none."""
    if not key or key.endswith("/"):
        return None
    try:
        return obstore.head(store, key)["size"]
    except (FileNotFoundError, PermissionDeniedError):
        return None


_asked = False
_forked = False


def _note_fork() -> None:
    global _forked  # noqa: PLW0603 - of the process, as the fork is
    _forked = _asked


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_note_fork)


def require_no_fork() -> None:
    """Refuse to wait for ever: the threads of obstore do not survive a fork.

    Raises:
        UnreachableError: In a forked process whose parent has passed here.
    """
    global _asked  # noqa: PLW0603 - of the process
    if _forked:
        msg = "a forked process cannot read cloud storage once its parent has; spawn it instead"
        raise UnreachableError(msg)
    _asked = True
