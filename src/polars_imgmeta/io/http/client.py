"""The client for http and https: from a URL to bytes.

A server can be slow, broken, overloaded or malicious. Every read ends within its time
limit, in bytes or in an error whose message contains no part of the URL.
"""

from __future__ import annotations

from http.client import HTTPException
from importlib import metadata
from typing import Final

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from polars_imgmeta.exceptions import UnreachableError
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.http.addresses import Address, parse
from polars_imgmeta.io.http.answers import drain, interpret
from polars_imgmeta.io.http.connections import Connection, Connections
from polars_imgmeta.io.http.deadlines import Deadline, enforcing_deadline
from polars_imgmeta.io.http.failures import failure_of, is_disconnect, reading
from polars_imgmeta.io.retries import RetryPolicy, TransientError
from polars_imgmeta.io.transfers import Part, Transfer

MAX_REDIRECTS: Final = 10
RETRIES = RetryPolicy()


class WebClient:
    """Reads objects from web servers, in any number of threads.

    Args:
        access: Which servers may be read, and the maximum number of concurrent requests.
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
        """Read an object, or a part of it: see [`Client`][polars_imgmeta.io.transfers.Client].

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`.
        """
        address = parse(url)
        with enforcing_deadline(transfer) as deadline:
            try:
                return RETRIES.run(transfer, lambda: self._follow(address, deadline, extent))
            except TransientError as error:
                msg = f"{error} ({error.tries} tries)" if error.tries > 1 else str(error)
                raise UnreachableError(msg) from None

    def _follow(self, address: Address, deadline: Deadline, extent: tuple[int, int] | None) -> Part:
        """Follow redirects, and request more where HEAD or a range has no usable answer."""
        redirects = 0
        while redirects <= MAX_REDIRECTS:
            self._access.require_host(address.scheme, *address.spellings)
            answer = self._ask(address, deadline, extent)
            if isinstance(answer, Part):
                return answer
            if answer is None:  # a refused HEAD request becomes one for the first byte
                extent = None if extent is None or extent[1] else (0, 1)
                continue
            redirects += 1
            address = answer
        msg = f"more than {MAX_REDIRECTS} redirects"
        raise UnreachableError(msg)

    def _ask(
        self, address: Address, deadline: Deadline, extent: tuple[int, int] | None
    ) -> Part | Address | None:
        """Make one request; see `interpret` for what is returned or raised."""
        try:
            connection, response = self._send(address, deadline, extent)
            try:
                answer = interpret(response, address, deadline, extent)
                drain(response, connection, deadline)
            except BaseException:
                response.close()
                connection.close()
                raise
        except (OSError, HTTPException, HTTPError) as error:
            raise failure_of(error) from None
        if not connection.is_closed:
            self._connections.keep(address.origin, connection)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(
        self, address: Address, deadline: Deadline, extent: tuple[int, int] | None
    ) -> tuple[Connection, HTTPResponse]:
        """Send a request and wait for the response's head."""
        idle = self._connections.take(address.origin)
        if idle is not None:
            try:
                return idle, self._request(idle, address, deadline, extent)
            except (OSError, HTTPException, HTTPError) as error:
                # The server had closed the idle connection, which is no failure of the object.
                if not is_disconnect(error):
                    raise
        connection = self._connections.open(address)
        return connection, self._request(connection, address, deadline, extent)

    def _request(
        self,
        connection: Connection,
        address: Address,
        deadline: Deadline,
        extent: tuple[int, int] | None,
    ) -> HTTPResponse:
        headers = dict(self._headers)
        method = "GET" if extent is None or extent[1] else "HEAD"
        if extent is not None and extent[1]:
            headers["Range"] = f"bytes={extent[0]}-{sum(extent) - 1}"
        if address.authorization:
            headers["Authorization"] = address.authorization
        if connection.proxy_authorization:
            headers["Proxy-Authorization"] = connection.proxy_authorization
        connection.target = address.url if connection.forwards else address.target
        deadline.allow(0)
        try:
            with reading():
                connection.request(method, "/", headers=headers, preload_content=False)
                return connection.getresponse()
        except BaseException:
            connection.close()
            raise


def _version() -> str:
    try:
        return metadata.version("polars-imgmeta")
    except metadata.PackageNotFoundError:
        return "unknown"
