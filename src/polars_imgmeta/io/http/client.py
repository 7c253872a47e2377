"""The client for http and https: from a URL to bytes, whatever the server does.

A server can be slow, wrong, busy or gone, and it can be somebody's trap. Whatever it
is, a read ends in time, in bytes or in an error, whose message holds nothing of the URL.
"""

from __future__ import annotations

import itertools
from http.client import HTTPException
from importlib import metadata
from random import SystemRandom
from typing import Final

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from polars_imgmeta.exceptions import UnreachableError
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.http.addresses import Address, parse
from polars_imgmeta.io.http.answers import drain, understand
from polars_imgmeta.io.http.connections import Connection, Connections
from polars_imgmeta.io.http.deadlines import Watch, watching
from polars_imgmeta.io.http.failures import TransientError, failure_of, is_cut
from polars_imgmeta.io.transfers import Part, Transfer

MOST_TRIES: Final = 6
MOST_REDIRECTS: Final = 10
FIRST_PAUSE = 0.5
"""How many seconds to wait at most before the second try; each further wait doubles it."""
LONGEST_PAUSE = 10.0

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
                    return self._follow(address, watch, extent)
                except TransientError as error:
                    failure = error
                enough = tries >= min(failure.most_tries, MOST_TRIES)
                if enough or not transfer.pause(max(_pause(tries), failure.pause)):
                    break
        counted = f" ({tries} tries)" if tries > 1 else ""
        msg = f"{failure}{counted}"
        raise UnreachableError(msg)

    def _follow(self, address: Address, watch: Watch, extent: tuple[int, int] | None) -> Part:
        """Ask, and ask elsewhere or otherwise where the answer says so."""
        redirects = 0
        while redirects <= MOST_REDIRECTS:
            self._access.require_host(address.scheme, *address.spellings)
            answer = self._ask(address, watch, extent)
            if isinstance(answer, Part):
                return answer
            if answer is None:
                extent = None
                continue
            redirects += 1
            address = answer
        msg = f"more than {MOST_REDIRECTS} redirects"
        raise UnreachableError(msg)

    def _ask(
        self, address: Address, watch: Watch, extent: tuple[int, int] | None
    ) -> Part | Address | None:
        """Ask once; returns where to ask next, or None for: once more, for the whole."""
        try:
            connection, response = self._send(address, watch, extent)
            try:
                answer = understand(response, address, watch, extent)
                drain(response, connection, watch)
            except BaseException:
                response.close()
                connection.close()
                raise
        except (OSError, HTTPException, HTTPError, ValueError) as error:
            raise failure_of(error) from None
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


def _pause(tries: int) -> float:
    """A random pause, so that not all who failed together come back together."""
    return _random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1)))


def _version() -> str:
    try:
        return metadata.version("polars-imgmeta")
    except metadata.PackageNotFoundError:
        return "unknown"
