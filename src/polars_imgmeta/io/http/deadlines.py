"""Sockets that enforce the deadline of the transfer they are used for.

urllib3's timeout limits each wait for the next bytes, which a server that sends them one
by one never exceeds. These sockets check the time left of the whole transfer before each
wait, and wait in short polls, so that the transfer can be stopped.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from typing import Any, Final, TypeVar

from urllib3.util import wait_for_write

from polars_imgmeta.exceptions import AccessDeniedError
from polars_imgmeta.io import blocking
from polars_imgmeta.io.transfers import Transfer

Result = TypeVar("Result")

POLL_SECONDS: Final = 0.25
READ_TIMEOUT: Final = 20.0
"""The maximum number of seconds without a byte before a retry."""
CONNECT_TIMEOUT: Final = 10.0
"""The same for connecting, which takes long only where packets are lost."""
# The maximum fractions of `Access.timeout`, which leave time for a retry.
_READ_FRACTION = 2 / 3
_CONNECT_FRACTION = 1 / 3

# For status line, headers and framing: http.client limits each, but not their sum.
_OVERHEAD_BYTES = 1 << 20
# A chunk of one byte takes six.
_MAX_FRAMING_FACTOR = 8

_CONNECTING = {0, errno.EINPROGRESS, errno.EWOULDBLOCK}


class Deadline:
    """The limits of time and bytes that sockets enforce for a transfer.

    The methods that return seconds raise `UnreachableError` if the transfer has no time
    left.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self._until: float | None = None
        self._bytes_left = _OVERHEAD_BYTES

    def read_timeout(self) -> float:
        """Return the maximum wait for the next byte, in seconds."""
        timeout = self.transfer.access.timeout
        left = min(self.transfer.seconds_left(), READ_TIMEOUT, timeout * _READ_FRACTION)
        if self._until is not None:
            left = min(left, self._until - time.monotonic())
        return max(0.001, left)  # zero would make the socket non-blocking

    def connect_timeout(self) -> float:
        """Return the maximum time to connect, in seconds."""
        timeout = self.transfer.access.timeout
        return min(self.transfer.seconds_left(), CONNECT_TIMEOUT, timeout * _CONNECT_FRACTION)

    def next_poll(self, until: float) -> float:
        """Return the duration of the next poll, in seconds.

        Raises:
            TimeoutError: If `until` has passed.
        """
        self.transfer.seconds_left()
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(POLL_SECONDS, left)

    @contextlib.contextmanager
    def shortened(self, seconds: float) -> Iterator[None]:
        """Limit all waits within the context to `seconds` in total."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = None

    def allow(self, size: int) -> None:
        """Set the limit to `size` more bytes of content, plus their framing."""
        self._bytes_left = _OVERHEAD_BYTES + _MAX_FRAMING_FACTOR * size

    def count(self, received: int) -> None:
        """Count received bytes.

        Raises:
            HTTPException: If they exceed the limit: http.client reads a chunk of -1
                bytes until the end of the connection.
        """
        self._bytes_left -= received
        if self._bytes_left < 0:
            msg = "more bytes than were asked for"
            raise HTTPException(msg)


class _Current(threading.local):
    deadline: Deadline


# Thread-local, because `ssl` creates its sockets itself and passes nothing on to them.
_current = _Current()


@contextlib.contextmanager
def enforcing_deadline(transfer: Transfer) -> Iterator[Deadline]:
    """Enforce the deadline of a transfer on this thread's sockets within the context."""
    _current.deadline = deadline = Deadline(transfer)
    try:
        yield deadline
    finally:
        del _current.deadline


class DeadlineSocket(socket.socket):
    """A socket that enforces the current deadline."""

    def recv(self, *args: Any) -> bytes:  # noqa: ANN401
        """Receive bytes."""
        data = self._poll(super().recv, *args)
        _current.deadline.count(len(data))
        return data

    def recv_into(self, *args: Any) -> int:  # noqa: ANN401
        """Receive bytes into a buffer."""
        received = self._poll(super().recv_into, *args)
        _current.deadline.count(received)
        return received

    def send(self, *args: Any) -> int:  # noqa: ANN401
        """Send some bytes."""
        self.settimeout(_current.deadline.read_timeout())
        return super().send(*args)

    def sendall(self, *args: Any) -> None:  # noqa: ANN401
        """Send all bytes."""
        self.settimeout(_current.deadline.read_timeout())
        super().sendall(*args)

    def abandon(self) -> None:
        """Close the descriptor at once, even where a file object still refers to it."""
        with contextlib.suppress(OSError):
            socket.close(self.detach())

    def _poll(self, function: Callable[..., Result], *args: object) -> Result:
        deadline = _current.deadline
        until = time.monotonic() + deadline.read_timeout()
        while True:
            timeout = deadline.next_poll(until)
            if self.gettimeout() != timeout:  # saves a system call
                self.settimeout(timeout)
            with contextlib.suppress(TimeoutError):
                return function(*args)


class DeadlineTLSSocket(DeadlineSocket, ssl.SSLSocket):
    """The same within TLS."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002
        """Perform the TLS handshake."""
        try:
            self._poll(super().do_handshake, block)
        except BaseException:
            self.close()  # `ssl` closes it after an OSError only
            raise


def connect(host: str, port: int) -> socket.socket:
    """Connect to the first allowed address of a host that answers.

    The name is resolved once, so that the address that was checked is the one used.

    Raises:
        AccessDeniedError: If no address of the host is allowed.
        OSError: If the host has no address, or no allowed one answers.
        UnreachableError: If the time of the transfer is over.
    """
    deadline = _current.deadline
    found = _look_up(host.encode("ascii"), port, deadline.transfer)
    failure: AccessDeniedError | OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        try:
            deadline.transfer.access.require_address(str(address[0]))
            # An address that does not answer leaves time for the others.
            until = time.monotonic() + deadline.connect_timeout() / (len(found) - number)
            return _connect(DeadlineSocket(family, kind, protocol), address, until)
        except OSError as error:
            failure = error
        except AccessDeniedError as error:
            failure = failure or error
    raise failure or socket.gaierror(socket.EAI_NONAME)


def _look_up(host: bytes, port: int, transfer: Transfer) -> list[tuple[Any, ...]]:
    """Return the addresses of a host; a resolver that does not answer costs the time left."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return look_up(flags=socket.AI_NUMERICHOST)  # without a resolver
    except socket.gaierror:
        return blocking.call(look_up, wait=lambda: min(POLL_SECONDS, transfer.seconds_left()))


def _connect(sock: socket.socket, address: tuple[Any, ...], until: float) -> socket.socket:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)
        code = sock.connect_ex(address)
        if code in _CONNECTING:
            while not wait_for_write(sock, _current.deadline.next_poll(until)):
                pass
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        _require_success(code)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(POLL_SECONDS)
    return sock


def _require_success(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
