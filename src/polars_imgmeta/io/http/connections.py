"""Connections to web servers, direct or through a proxy, pooled for reuse."""

from __future__ import annotations

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
from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.http.addresses import Address, Origin, parse
from polars_imgmeta.io.http.deadlines import (
    POLL_SECONDS,
    DeadlineSocket,
    DeadlineTLSSocket,
    connect,
)


class Connection(HTTPConnection):
    """A connection that enforces the current deadline.

    Attributes:
        target: The request target. urllib3 gets a placeholder instead, because it would
            log the target, signature included.
        forwards: Whether it leads to a proxy that forwards plain http.
        proxy_authorization: The header of basic authentication for such a proxy.
    """

    target = ""
    forwards = False
    proxy_authorization: str | None = None

    def _new_conn(self) -> socket.socket:
        # Unlike `host`, it keeps a trailing dot.
        return connect(self._dns_host, self.port or self.default_port)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002
        """Begin a request for the target."""
        super().putrequest(method, self.target, *args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Wait for the head of the response."""
        sock = self.sock
        try:
            return super().getresponse()
        except BaseException:
            # urllib3 may have dropped the response, whose file keeps the socket open.
            if isinstance(sock, DeadlineSocket):
                sock.abandon()
            raise


class TLSConnection(Connection, HTTPSConnection):
    """The same within TLS."""


_Idle: TypeAlias = list[tuple[Origin, Connection]]


class Connections:
    """A pool of idle connections to all servers.

    Args:
        access: The policy, whose `concurrency` is the maximum number of idle connections.
    """

    def __init__(self, access: Access) -> None:
        self._max_idle = access.concurrency
        self._proxies = {} if access.public_addresses_only else urllib.request.getproxies()
        self._idle: _Idle = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)
        _pools.add(self)

    def take(self, origin: Origin) -> Connection | None:
        """Return the most recently used idle connection that is still open, or None."""
        while True:
            with self._lock:
                indices = [index for index, (to, _) in enumerate(self._idle) if to == origin]
                if not indices:
                    return None
                _, connection = self._idle.pop(indices[-1])
            if connection.is_connected:
                return connection
            connection.close()

    def keep(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for reuse, whose last response has been read to its end."""
        with self._lock:
            self._idle.append((origin, connection))
            surplus = self._idle[: -self._max_idle]
            del self._idle[: -self._max_idle]
        _close_all(surplus)

    def open(self, address: Address) -> Connection:
        """Return a connection that connects at its first request.

        Raises:
            UnreachableError: If the environment names an invalid proxy.
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
            self._tls, use_forwarding_for_https=False, assert_hostname=None, assert_fingerprint=None
        )
        connection = TLSConnection(
            proxy.host, proxy.port, timeout=POLL_SECONDS, ssl_context=self._tls, proxy_config=config
        )
        headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        connection.set_tunnel(address.host, address.port, headers, scheme=proxy.scheme)
        return connection

    def _connection(self, address: Address) -> Connection:
        host, port = address.host, address.port
        if address.scheme == "http":
            return Connection(host, port, timeout=POLL_SECONDS)
        return TLSConnection(host, port, timeout=POLL_SECONDS, ssl_context=self._tls)

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
        """Discard the connections in a forked process: they belong to its parent."""
        self._lock = threading.Lock()
        _close_all(self._idle)


def _close_all(idle: _Idle) -> None:
    while idle:
        idle.pop()[1].close()


_pools: weakref.WeakSet[Connections] = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


after_fork_in_child(_forget_all)
