"""The client for http and https: from a URL to bytes, whatever the server does.

A server can be slow, wrong, busy or gone, and it can be somebody's trap. Whatever it
is, a read ends in time, in bytes or in an error, whose message holds nothing of the URL.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from importlib import metadata
from random import SystemRandom
from typing import Final

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from polars_imgmeta.access import Access
from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    NotFoundError,
    TooLargeError,
    UnreachableError,
)
from polars_imgmeta.transfers import FIRST_BYTES, Part, Transfer
from polars_imgmeta.web.addresses import Address, parse
from polars_imgmeta.web.connections import Connection, Connections
from polars_imgmeta.web.hitches import HitchError, hitch_of, is_cut, named
from polars_imgmeta.web.patience import Watch, watching

MOST_TRIES: Final = 6
MOST_REDIRECTS: Final = 10
FIRST_PAUSE = 0.5
"""How many seconds to wait at most before the second try; each further wait doubles it."""
LONGEST_PAUSE = 10.0

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

# Forked processes would share the state of another, and their pauses with it.
_random = SystemRandom()


class WebClient:
    """Reads objects from web servers, in any number of threads.

    Args:
        access: Which servers may be asked, and how many requests there are at once.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._connections = Connections(access)
        self._headers = {
            "User-Agent": f"polars-imgmeta/{_version()}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it.

        Args:
            url: Its URL, which may name a user and a password.
            transfer: What it may cost.
            extent: Position and length of the part; None for all.

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`.
        """
        address = parse(url)
        with watching(transfer) as watch:
            for tries in itertools.count(1):
                try:
                    return self._follow(address, transfer, watch, extent)
                except HitchError as error:
                    hitch = error
                enough = tries == min(hitch.most_tries, MOST_TRIES)
                if enough or not transfer.pause(max(_pause(tries), hitch.pause)):
                    break
        counted = f" ({tries} tries)" if tries > 1 else ""
        msg = f"{hitch}{counted}"
        raise UnreachableError(msg)

    def _follow(
        self, address: Address, transfer: Transfer, watch: Watch, extent: tuple[int, int] | None
    ) -> Part:
        """Ask, and ask elsewhere or otherwise where the answer says so."""
        redirects = 0
        while redirects <= MOST_REDIRECTS:
            self._require_host(address)
            answer = self._ask(address, transfer, watch, extent)
            if isinstance(answer, Part):
                return answer
            if answer is None:
                extent = None
                continue
            redirects += 1
            address = answer
        msg = f"more than {MOST_REDIRECTS} redirects"
        raise UnreachableError(msg)

    def _require_host(self, address: Address) -> None:
        denial = None
        for host in address.spellings:
            try:
                return self._access.require_host(address.scheme, host)
            except AccessDeniedError as error:
                denial = error
        raise denial or AccessDeniedError

    def _ask(
        self, address: Address, transfer: Transfer, watch: Watch, extent: tuple[int, int] | None
    ) -> Part | Address | None:
        """Ask once; returns where to ask next, or None for: once more, for the whole."""
        try:
            connection, response = self._send(address, watch, extent)
            try:
                answer = _understand(address, response, transfer, watch, extent)
                _drain(connection, response, watch)
            except BaseException:
                response.close()
                connection.close()
                raise
        except (OSError, HTTPException, HTTPError, ValueError) as error:
            raise hitch_of(error) from None
        if not connection.is_closed:
            self._connections.keep(address.origin, connection)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(
        self, address: Address, watch: Watch, extent: tuple[int, int] | None
    ) -> tuple[Connection, HTTPResponse]:
        """Send a request and wait for the head of its answer."""
        kept = self._connections.take(address.origin)
        if kept is not None:
            try:
                return kept, self._request(kept, address, watch, extent)
            except (OSError, HTTPException, HTTPError) as error:
                # The server closed it meanwhile, which says nothing about the object.
                if not is_cut(error):
                    raise
        connection = self._connections.open(address)
        return connection, self._request(connection, address, watch, extent)

    def _request(
        self,
        connection: Connection,
        address: Address,
        watch: Watch,
        extent: tuple[int, int] | None,
    ) -> HTTPResponse:
        headers = dict(self._headers)
        if extent is not None:
            headers["Range"] = f"bytes={extent[0]}-{sum(extent) - 1}"
        if address.authorization:
            headers["Authorization"] = address.authorization
        if connection.proxy_authorization:
            headers["Proxy-Authorization"] = connection.proxy_authorization
        connection.target = address.url if connection.forwards else address.target
        watch.expect(0)
        try:
            connection.request("GET", "/", headers=headers, preload_content=False)
            return connection.getresponse()
        except BaseException:
            connection.close()
            raise


def _understand(
    address: Address,
    response: HTTPResponse,
    transfer: Transfer,
    watch: Watch,
    extent: tuple[int, int] | None,
) -> Part | Address | Exception | None:
    """Take an answer for what it is; None where it is no use for a part."""
    if response.status in {HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION}:
        data = _body(response, transfer, watch)
        return Part(data, 0, len(data))
    if extent is not None and response.status == HTTPStatus.PARTIAL_CONTENT:
        return _part(response, transfer, watch, extent)
    if extent is not None and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        told = _NO_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        beyond = told is not None and int(told[1]) <= extent[0]
        return Part(b"", extent[0], int(told[1])) if told and beyond else None
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        return address.follow(location)
    return _refusal(response)


def _part(
    response: HTTPResponse, transfer: Transfer, watch: Watch, extent: tuple[int, int]
) -> Part | None:
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
    data = _body(response, transfer, watch)
    return Part(data, start, size) if len(data) == end - start else None


def _body(response: HTTPResponse, transfer: Transfer, watch: Watch) -> bytes:
    """Read a body, once there is room for it.

    Raises:
        HitchError: If it ends early.
        TooLargeError: If it does not end early enough.
    """
    length = response.length_remaining
    if length is None or _is_encoded(response):
        return _body_of_unknown_length(response, transfer, watch)
    transfer.hold(length)
    watch.expect(length)
    try:
        data = response.read(length) if length else b""
    except MemoryError:
        msg = "its bytes do not fit into memory"
        raise TooLargeError(msg) from None
    if len(data) < length:
        msg = "the body ended early"
        raise HitchError(msg)
    return data


def _body_of_unknown_length(response: HTTPResponse, transfer: Transfer, watch: Watch) -> bytes:
    most = transfer.access.max_bytes
    room = min(FIRST_BYTES, most)
    transfer.hold(room)
    watch.expect(_PIECE_BYTES)
    pieces = []
    size = 0
    # One byte more than there is room for tells that there are more.
    while piece := response.read(min(_PIECE_BYTES, room + 1 - size)):
        size += len(piece)
        if size > room:
            room = max(size, min(2 * room, most))
            transfer.hold(room)
        watch.expect(_PIECE_BYTES)
        pieces.append(piece)
    return b"".join(pieces)


def _is_encoded(response: HTTPResponse) -> bool:
    encodings = response.headers.get("Content-Encoding", "").lower().split(",")
    return any(encoding.strip() in response.CONTENT_DECODERS for encoding in encodings)


def _drain(connection: Connection, response: HTTPResponse, watch: Watch) -> None:
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
        return HitchError(msg, pause=_retry_after(response))
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


def _pause(tries: int) -> float:
    """A random pause, so that not all who failed together come back together."""
    return _random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)))


def _version() -> str:
    try:
        return metadata.version("polars-imgmeta")
    except metadata.PackageNotFoundError:
        return "unknown"
