"""Connections to web servers: opened, through a proxy or not, and kept for more."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import urllib.request
import weakref
from functools import cached_property
from typing import Any, TypeAlias

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig

from polars_imgmeta.exceptions import InvalidLocatorError, UnreachableError
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.http.addresses import Address, Origin, parse
from polars_imgmeta.io.http.deadlines import (
    PULSE_SECONDS,
    DeadlineSocket,
    DeadlineTLSSocket,
    connect,
)


class Connection(HTTPConnection):
    """A connection that waits as long as it may.

    Attributes:
        target: What is asked for. urllib3 is told to ask for something else: it would
            log it, with all that it is signed with.
        forwards: Whether it goes to a proxy that asks the server in its turn.
        proxy_authorization: The header of basic authentication for such a proxy.
    """

    target = ""
    forwards = False
    proxy_authorization: str | None = None

    def _new_conn(self) -> socket.socket:
        # With the dot at its end, if it has one, which `host` lacks.
        return connect(self._dns_host, self.port or self.default_port)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002
        """Begin a request, for the target."""
        super().putrequest(method, self.target, *args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Wait for the head of the answer."""
        sock = self.sock
        try:
            return super().getresponse()
        except BaseException:
            # urllib3 may have lost the answer already, which keeps the socket open.
            if isinstance(sock, DeadlineSocket):
                sock.abandon()
            raise


class TLSConnection(Connection, HTTPSConnection):
    """The same within TLS."""


_Kept: TypeAlias = list[tuple[Origin, Connection]]


class Connections:
    """Connections, kept for further requests; those to all servers together.

    Args:
        access: As many are kept as may be in use at once.
    """

    def __init__(self, access: Access) -> None:
        self._most = access.concurrency
        self._proxies = {} if access.public_addresses_only else urllib.request.getproxies()
        self._kept: _Kept = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._kept)
        _everywhere.add(self)

    def take(self, origin: Origin) -> Connection | None:
        """Return the kept connection that was used last and still stands, if any does."""
        while True:
            with self._lock:
                places = [place for place, (to, _) in enumerate(self._kept) if to == origin]
                if not places:
                    return None
                _, connection = self._kept.pop(places[-1])
            if connection.is_connected:
                return connection
            connection.close()

    def keep(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection, whose last answer has been read to its end."""
        with self._lock:
            self._kept.append((origin, connection))
            surplus = self._kept[: -self._most]
            del self._kept[: -self._most]
        _close_all(surplus)

    def open(self, address: Address) -> Connection:
        """Return a connection that connects when it is first used.

        Raises:
            UnreachableError: If the environment names a proxy that cannot be.
        """
        proxy = self._proxy(address)
        if proxy is None:
            return self._connection(address)
        if address.scheme == "http":
            connection = self._connection(proxy)
            connection.forwards = True
            connection.proxy_authorization = proxy.authorization
            return connection
        config = ProxyConfig(
            ssl_context=self._tls,
            use_forwarding_for_https=False,
            assert_hostname=None,
            assert_fingerprint=None,
        )
        connection = TLSConnection(
            proxy.host,
            proxy.port,
            timeout=PULSE_SECONDS,
            ssl_context=self._tls,
            proxy_config=config,
        )
        headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        connection.set_tunnel(address.host, address.port, headers, scheme=proxy.scheme)
        return connection

    def _connection(self, address: Address) -> Connection:
        host, port = address.host, address.port
        if address.scheme == "http":
            return Connection(host, port, timeout=PULSE_SECONDS)
        return TLSConnection(host, port, timeout=PULSE_SECONDS, ssl_context=self._tls)

    def _proxy(self, address: Address) -> Address | None:
        url = self._proxies.get(address.scheme) or self._proxies.get("all")
        if not url or urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
            return None
        try:
            return parse(url if "://" in url else f"http://{url}")
        except InvalidLocatorError:
            msg = "the environment names a proxy, but not by a URL of http or https"
            raise UnreachableError(msg) from None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.sslsocket_class = DeadlineTLSSocket
        return context

    def forget(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        self._lock = threading.Lock()
        _close_all(self._kept)


def _close_all(kept: _Kept) -> None:
    while kept:
        kept.pop()[1].close()


_everywhere: weakref.WeakSet[Connections] = weakref.WeakSet()


def _forget_all() -> None:
    for connections in list(_everywhere):
        connections.forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_all)
