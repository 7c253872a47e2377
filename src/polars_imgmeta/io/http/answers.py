"""What a web server answers: the bytes, where they are, or why there are none."""

from __future__ import annotations

import contextlib
import re
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from io import BytesIO

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    NotFoundError,
    TooLargeError,
    UnreachableError,
)
from polars_imgmeta.io.http.addresses import Address
from polars_imgmeta.io.http.connections import Connection
from polars_imgmeta.io.http.deadlines import Watch
from polars_imgmeta.io.http.failures import TransientError, named
from polars_imgmeta.io.transfers import FIRST_BYTES, Part

_REDIRECTS = {301, 302, 303, 307, 308}
_WORTH_ANOTHER_TRY = {408, 429, 500, 502, 503, 504}
_DENIED = {401, 403, 407}
_NOT_FOUND = {404, 410}

_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_NO_RANGE = re.compile(r"bytes +\*/([0-9]{1,18})", re.IGNORECASE)
_PIECE_BYTES = 1 << 20
# To read so much of what nobody wants, for so long, costs less than a new connection.
_DRAINED_BYTES = 1 << 16
_DRAIN_SECONDS = 1.0


def understand(
    response: HTTPResponse, address: Address, watch: Watch, extent: tuple[int, int] | None
) -> Part | Address | Exception | None:
    """Take an answer for what it is.

    Args:
        response: Its head; the body has not been read.
        address: What was asked for.
        watch: Tells how long the body may take, and how large it may be.
        extent: Position and length of the part that was asked for; None for all.

    Returns:
        What was asked for; or where else it is; or why there is nothing; or None where
        the answer is of no use, and asking for the whole gives a better one.

    Raises:
        TransientError: If the body ends early.
        ImageError: If it does not end early enough, or a redirect may not be followed.
    """
    if response.status in {HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION}:
        data = _body(response, watch)
        return Part(data, 0, len(data))
    if extent is not None and response.status == HTTPStatus.PARTIAL_CONTENT:
        return _part(response, watch, extent)
    if extent is not None and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        told = _NO_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        beyond = told is not None and int(told[1]) <= extent[0]
        return Part(b"", extent[0], int(told[1])) if told and beyond else None
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        return address.follow(location)
    return _refusal(response)


def _part(response: HTTPResponse, watch: Watch, extent: tuple[int, int]) -> Part | None:
    told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if told is None or _is_encoded(response):
        return None
    position, length = extent
    start, end = int(told[1]), int(told[2]) + 1
    # Where the size is a secret, fewer bytes than were asked for tell it.
    size = end if told[3] == "*" and end < position + length else told[3]
    if size == "*":
        return None
    size = int(size)
    complete = end <= size and end >= min(position + length, size)
    if start != position or end <= start or not complete:
        return None
    if response.length_remaining not in {None, end - start}:
        return None
    data = _body(response, watch)
    return Part(data, start, size) if len(data) == end - start else None


def _body(response: HTTPResponse, watch: Watch) -> bytes:
    """Read a body, once there is room for it.

    Raises:
        TransientError: If it ends early.
        TooLargeError: If it does not end early enough.
    """
    length = response.length_remaining
    if length is None or _is_encoded(response):
        return _body_of_unknown_length(response, watch)
    watch.transfer.require_size(length)
    watch.expect(length)
    # Whoever claims much and sends nothing keeps no room from others.
    start = min(length, watch.transfer.share)
    watch.transfer.hold(start)
    try:
        data = response.read(start) if start else b""
        if len(data) == start < length:
            watch.transfer.hold(length)
            data = _joined(data, response, length)
    except MemoryError:
        msg = "its bytes do not fit into memory"
        raise TooLargeError(msg) from None
    if len(data) < length:
        msg = "the body ended early"
        raise TransientError(msg)
    return data


def _joined(start: bytes, response: HTTPResponse, length: int) -> bytes:
    """A body whose start has been read, with never a second copy of all of it."""
    data = BytesIO(start)
    data.seek(len(start))
    while piece := response.read(min(_PIECE_BYTES, length - data.tell())):
        data.write(piece)
    return data.getvalue()


def _body_of_unknown_length(response: HTTPResponse, watch: Watch) -> bytes:
    most = watch.transfer.access.max_bytes
    room = min(FIRST_BYTES, most)
    watch.transfer.hold(room)
    watch.expect(_PIECE_BYTES)
    pieces = []
    size = 0
    # One byte more than there is room for tells that there are more.
    while piece := response.read(min(_PIECE_BYTES, room + 1 - size)):
        size += len(piece)
        if size > room:
            room = max(size, min(2 * room, most))
            watch.transfer.hold(room)
        watch.expect(_PIECE_BYTES)
        pieces.append(piece)
    return b"".join(pieces)


def _is_encoded(response: HTTPResponse) -> bool:
    encodings = response.headers.get("Content-Encoding", "").lower().split(",")
    return any(encoding.strip() in response.CONTENT_DECODERS for encoding in encodings)


def drain(response: HTTPResponse, connection: Connection, watch: Watch) -> None:
    """Bring an answer to its end, so that the connection can be kept, or close it."""
    with (
        contextlib.suppress(OSError, HTTPException, HTTPError, ImageError),
        watch.hurry(_DRAIN_SECONDS),
    ):
        unread = not (response.isclosed() or connection.is_closed)
        if unread and (response.length_remaining or 0) <= _DRAINED_BYTES:
            watch.expect(_DRAINED_BYTES)
            response.read(_DRAINED_BYTES)
            response.read(1)
        if response.isclosed():
            return
    response.close()
    connection.close()


def _refusal(response: HTTPResponse) -> Exception:
    msg = f"the server answered {named(response.status)}"
    if response.status in _WORTH_ANOTHER_TRY:
        return TransientError(msg, pause=_retry_after(response))
    if response.status in _DENIED:
        return AccessDeniedError(msg)
    if response.status in _NOT_FOUND:
        return NotFoundError(msg)
    return UnreachableError(msg)


def _retry_after(response: HTTPResponse) -> float:
    """How long the server asks not to be asked, in seconds."""
    told = response.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", told):
        return float(told)
    with contextlib.suppress(ValueError, OverflowError):
        return parsedate_to_datetime(told).timestamp() - time.time()
    return 0.0
