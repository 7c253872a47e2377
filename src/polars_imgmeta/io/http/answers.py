"""The interpretation of responses: content, a redirect, or an error."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import UTC, datetime
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
    OutOfMemoryError,
    UnreachableError,
)
from polars_imgmeta.io.http.addresses import Address
from polars_imgmeta.io.http.connections import Connection
from polars_imgmeta.io.http.deadlines import Deadline
from polars_imgmeta.io.http.failures import name_status, reading
from polars_imgmeta.io.retries import TransientError
from polars_imgmeta.io.transfers import FIRST_BYTES, Part, parse_etag

_COMPLETE = {200, 203}
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_DENIED = {401, 403, 407}
_NOT_FOUND = {404, 410}
# Servers that know only GET, and URLs that are signed for GET.
_HEAD_REFUSED = {403, 405, 501}

_RANGE = re.compile(r"bytes +([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)
_UNSATISFIED_RANGE = re.compile(r"bytes +\*/([0-9]{1,18})", re.IGNORECASE)
_LENGTH = re.compile("[1-9][0-9]{0,17}")
_READ_BYTES = 1 << 20
# Up to these limits, reading an unneeded body is cheaper than a new connection.
_MAX_DRAIN_BYTES = 1 << 16
_MAX_DRAIN_SECONDS = 1.0


def interpret(
    response: HTTPResponse, address: Address, deadline: Deadline, extent: tuple[int, int] | None
) -> Part | Address | Exception | None:
    """Turn a response into a part, a redirect or an error.

    `extent` is position and length of the requested part, of length 0 after a HEAD request,
    and None for all.

    Returns:
        The content; or the address of a redirect; or the error; or None where the
        response to a range or HEAD request is not usable, so that more is to be requested.

    Raises:
        TransientError: If the body ends early.
        ImageError: If the body is too large, or a redirect may not be followed.
    """
    is_head = extent is not None and not extent[1]
    if is_head and response.status in _COMPLETE | _HEAD_REFUSED:
        return _facts(response) if response.status in _COMPLETE else None
    if response.status in _COMPLETE:
        data = _body(response, deadline)
        return Part(data, 0, len(data), *_validators(response))
    if extent is not None and response.status == HTTPStatus.PARTIAL_CONTENT:
        return _part(response, deadline, extent)
    if extent is not None and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _end(response, extent[0])
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        return address.follow(location)
    return _status_error(response)


def _end(response: HTTPResponse, position: int) -> Part | None:
    """Return an empty part if the object ends before the position."""
    declared = _UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if declared is None or int(declared[1]) > position:
        return None
    return Part(b"", position, int(declared[1]), *_validators(response))


def _facts(response: HTTPResponse) -> Part | None:
    """Return the facts that the answer to HEAD declares, if the size is among them."""
    length = response.headers.get("Content-Length", "")
    # Some servers declare a length of 0 because they send no body.
    if _is_encoded(response) or not _LENGTH.fullmatch(length):
        return None
    return Part(b"", 0, int(length), *_validators(response))


def _validators(response: HTTPResponse) -> tuple[datetime | None, str | None]:
    """Return modification time and entity tag, each None where missing or malformed."""
    etag = parse_etag(response.headers.get("ETag"))
    try:
        modified = parsedate_to_datetime(response.headers.get("Last-Modified", ""))
        # A zone of -0000 gives a time without zone, which is UTC.
        return (modified if modified.tzinfo else modified.replace(tzinfo=UTC)).astimezone(UTC), etag
    except (ValueError, TypeError, IndexError, OverflowError):
        return None, etag


def _part(response: HTTPResponse, deadline: Deadline, extent: tuple[int, int]) -> Part | None:
    declared = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if declared is None or _is_encoded(response):
        return None
    position, length = extent
    start, end = int(declared[1]), int(declared[2]) + 1
    if declared[3] != "*":
        size = int(declared[3])
    elif end < position + length:  # a part that is shorter than requested ends the object
        size = end
    else:
        return None
    usable = position == start < end <= size and end >= min(position + length, size)
    if not usable or response.length_remaining not in {None, end - start}:
        return None
    data = _body(response, deadline)
    complete = len(data) == end - start
    return Part(data, start, size, *_validators(response)) if complete else None


def _body(response: HTTPResponse, deadline: Deadline) -> bytes:
    """Read a body, having reserved memory for it."""
    length = response.length_remaining
    if length is None or _is_encoded(response):
        return _body_of_unknown_length(response, deadline)
    transfer = deadline.transfer
    transfer.require_size(length)
    deadline.allow(length)
    # A server that declares a large size and sends nothing must not exhaust the budget.
    start = min(length, transfer.share)
    transfer.hold(start)
    try:
        data = _read(response, start) if start else b""
        if len(data) == start < length:
            transfer.hold(length)
            data = _read_rest(data, response, length)
    except MemoryError:
        msg = "its bytes do not fit into memory"
        raise OutOfMemoryError(msg) from None
    if len(data) < length:
        msg = "the body ended early"
        raise TransientError(msg)
    return data


def _read(response: HTTPResponse, length: int) -> bytes:
    with reading():
        return response.read(length)


def _read_rest(start: bytes, response: HTTPResponse, length: int) -> bytes:
    """Read the rest of a body without holding a second copy of it."""
    data = BytesIO(start)
    data.seek(len(start))
    while block := _read(response, min(_READ_BYTES, length - data.tell())):
        data.write(block)
    return data.getvalue()


def _body_of_unknown_length(response: HTTPResponse, deadline: Deadline) -> bytes:
    transfer = deadline.transfer
    reserved = min(FIRST_BYTES, transfer.access.max_bytes)
    transfer.hold(reserved)
    deadline.allow(_READ_BYTES)
    data = BytesIO()  # which holds no second copy, as joined blocks would
    # One byte more than reserved shows that the body is larger.
    while block := _read(response, min(_READ_BYTES, reserved + 1 - data.tell())):
        data.write(block)
        if data.tell() > reserved:
            reserved = max(data.tell(), min(2 * reserved, transfer.access.max_bytes))
            transfer.hold(reserved)
        deadline.allow(_READ_BYTES)
    return data.getvalue()


def _is_encoded(response: HTTPResponse) -> bool:
    encodings = response.headers.get("Content-Encoding", "").lower().split(",")
    return any(encoding.strip() in response.CONTENT_DECODERS for encoding in encodings)


def drain(response: HTTPResponse, connection: Connection, deadline: Deadline) -> None:
    """Read a short rest of the body, so that the connection can be reused, or close it."""
    with (
        contextlib.suppress(OSError, HTTPException, HTTPError, ImageError),
        deadline.shortened(_MAX_DRAIN_SECONDS),
    ):
        unread = not (response.isclosed() or connection.is_closed)
        if unread and (response.length_remaining or 0) <= _MAX_DRAIN_BYTES:
            deadline.allow(_MAX_DRAIN_BYTES)
            _read(response, _MAX_DRAIN_BYTES)
            _read(response, 1)
        if response.isclosed():
            return
    response.close()
    connection.close()


def _status_error(response: HTTPResponse) -> Exception:
    msg = f"the server answered {name_status(response.status)}"
    if response.status in _TRANSIENT:
        return TransientError(msg, retry_after=_retry_after(response))
    if response.status in _DENIED:
        return AccessDeniedError(msg)
    if response.status in _NOT_FOUND:
        return NotFoundError(msg)
    return UnreachableError(msg)


def _retry_after(response: HTTPResponse) -> float:
    """Return the value of `Retry-After`, a duration or a date, in seconds from now."""
    header = response.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", header):
        return float(header)
    with contextlib.suppress(ValueError, OverflowError):
        return parsedate_to_datetime(header).timestamp() - time.time()
    return 0.0
