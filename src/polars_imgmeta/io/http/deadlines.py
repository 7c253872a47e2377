"""Sockets that wait no longer than the transfer they work for may take.

A limit on each wait for the next bytes, as urllib3 has it, never passes where a server
drips them. So these sockets ask before each wait how long the whole may still take, and
wait in pulses, so that it can be stopped.
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
from http.client import HTTPException
from typing import Any, Final, TypeVar

from urllib3.util import wait_for_write

from polars_imgmeta.exceptions import AccessDeniedError
from polars_imgmeta.io.transfers import Transfer

Result = TypeVar("Result")

PULSE_SECONDS: Final = 0.25
LONGEST_SILENCE: Final = 20.0
"""After how many seconds without a byte another try seems better."""
LONGEST_CONNECT: Final = 10.0
"""The same until there is a connection, which takes long only where packets are lost."""
# Of a short time no wait takes all, so that there can be another try.
_SILENCE_SHARE = 2 / 3
_CONNECT_SHARE = 1 / 3

# Status line, headers and what frames a body; http.client limits each, not their sum.
_FRAME_BYTES = 1 << 20
# A chunk of one byte takes six.
_MOST_FRAMING = 8

_UNDER_WAY = {0, errno.EINPROGRESS, errno.EWOULDBLOCK}


class Watch:
    """What the sockets look at that work for a transfer.

    Attributes:
        transfer: The transfer.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self._until: float | None = None
        self._bytes_left = _FRAME_BYTES

    def silence(self) -> float:
        """Return how long the server may be silent, in seconds.

        Raises:
            UnreachableError: If the time of the transfer is over.
        """
        timeout = self.transfer.access.timeout
        left = min(self.transfer.seconds_left(), LONGEST_SILENCE, timeout * _SILENCE_SHARE)
        if self._until is not None:
            left = min(left, self._until - time.monotonic())
        return max(0.001, left)  # zero would mean to wait for nothing

    def connecting(self) -> float:
        """Return how long it may take to connect, in seconds.

        Raises:
            UnreachableError: If the time of the transfer is over.
        """
        timeout = self.transfer.access.timeout
        return min(self.transfer.seconds_left(), LONGEST_CONNECT, timeout * _CONNECT_SHARE)

    def pulse(self, until: float) -> float:
        """Return for how many seconds to wait next.

        Raises:
            TimeoutError: If it was long enough.
            UnreachableError: If the time of the transfer is over.
        """
        self.transfer.seconds_left()
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(PULSE_SECONDS, left)

    @contextlib.contextmanager
    def hurry(self, seconds: float) -> Iterator[None]:
        """Wait no longer than that, in all, within the context."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = None

    def expect(self, size: int) -> None:
        """Let the server send so many bytes more, however it frames them."""
        self._bytes_left = _FRAME_BYTES + _MOST_FRAMING * size

    def count(self, received: int) -> None:
        """Count what came.

        Raises:
            HTTPException: If it is far more than was asked for: to http.client, a chunk
                of -1 bytes is all that will ever come.
        """
        self._bytes_left -= received
        if self._bytes_left < 0:
            msg = "more bytes than were asked for"
            raise HTTPException(msg)

    def require_address(self, address: str) -> None:
        """Check that an address may be connected to."""
        self.transfer.access.require_address(address)


class _Current(threading.local):
    watch: Watch


# Of this thread: TLS makes its sockets by itself, and would hand nothing on to them.
_current = _Current()


@contextlib.contextmanager
def watching(transfer: Transfer) -> Iterator[Watch]:
    """Let the sockets that this thread uses in the context work for a transfer."""
    _current.watch = watch = Watch(transfer)
    try:
        yield watch
    finally:
        del _current.watch


class DeadlineSocket(socket.socket):
    """A socket that waits as long as it may."""

    def recv(self, *args: Any) -> bytes:  # noqa: ANN401
        """Receive bytes."""
        data = self._in_pulses(super().recv, *args)
        _current.watch.count(len(data))
        return data

    def recv_into(self, *args: Any) -> int:  # noqa: ANN401
        """Receive bytes into a buffer."""
        received = self._in_pulses(super().recv_into, *args)
        _current.watch.count(received)
        return received

    def send(self, *args: Any) -> int:  # noqa: ANN401
        """Send some bytes."""
        self.settimeout(_current.watch.silence())
        return super().send(*args)

    def sendall(self, *args: Any) -> None:  # noqa: ANN401
        """Send all bytes."""
        self.settimeout(_current.watch.silence())
        super().sendall(*args)

    def abandon(self) -> None:
        """Close it, whoever still means to read from it."""
        with contextlib.suppress(OSError):
            socket.close(self.detach())

    def _in_pulses(self, function: Callable[..., Result], *args: object) -> Result:
        watch = _current.watch
        until = time.monotonic() + watch.silence()
        while True:
            pulse = watch.pulse(until)
            if self.gettimeout() != pulse:  # a system call
                self.settimeout(pulse)
            with contextlib.suppress(TimeoutError):
                return function(*args)


class DeadlineTLSSocket(DeadlineSocket, ssl.SSLSocket):
    """The same within TLS."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002
        """Agree on keys."""
        try:
            self._in_pulses(super().do_handshake, block)
        except BaseException:
            self.close()  # which `ssl` does after errors of the system alone
            raise


def connect(host: str, port: int) -> socket.socket:
    """Connect to a host, by one of its addresses that may be connected to.

    It is looked up once: nobody can name another address after the check.

    Raises:
        AccessDeniedError: If it has no such address.
        OSError: If it has none at all, or none answers.
        UnreachableError: If the time of the transfer is over.
    """
    watch = _current.watch
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    failure: AccessDeniedError | OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(found):
        try:
            watch.require_address(str(address[0]))
            # One that does not answer leaves time for the others.
            until = time.monotonic() + watch.connecting() / (len(found) - number)
            return _connect(DeadlineSocket(family, kind, protocol), address, until)
        except OSError as error:
            failure = error
        except AccessDeniedError as error:
            failure = failure or error
    raise failure or socket.gaierror(socket.EAI_NONAME)


def _connect(sock: socket.socket, address: tuple[Any, ...], until: float) -> socket.socket:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)
        code = sock.connect_ex(address)
        if code in _UNDER_WAY:
            while not wait_for_write(sock, _current.watch.pulse(until)):
                pass
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        _require_success(code)
    except BaseException:
        sock.close()
        raise
    sock.settimeout(PULSE_SECONDS)
    return sock


def _require_success(code: int) -> None:
    if code:
        raise OSError(code, os.strerror(code))
