"""A web server on loopback that a test programs, and that records its requests.

    with serving({"/a.jpg": b"...", "/b.jpg": [Response(status=503), b"..."]}) as server:
        server.url("/a.jpg"), server.requests, server.bytes_sent

An answer is bytes, served correctly, ranges included; or a `Response`; or a function that
gets the `Wire`, for faults. A list has one answer per request, and its last is repeated.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import trustme

# The maximum lifetime of a server's loop.
LONGEST = 30.0
_MAX_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Request:
    """A request of a client.

    Attributes:
        method: Such as `"GET"`.
        target: The request target, as received.
        headers: The headers, with names in lower case.
        connection: The number of the connection, from 0.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    connection: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path


@dataclass(frozen=True)
class Response:
    """A well-formed response, whose content may be wrong.

    Attributes:
        body: The bytes of the body.
        status: The status, such as 404.
        headers: Additional headers; a `Content-Length` replaces the correct one.
        chunks: Whether the body is sent in chunks, without a length.
        hangs_up: Whether the connection is closed afterwards, without announcement.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: bool = False
    hangs_up: bool = False

    def head(self) -> bytes:
        """Return status line and headers."""
        headers = dict(self.headers)
        names = {name.lower() for name in headers}
        if self.chunks:
            headers["Transfer-Encoding"] = "chunked"
        elif "content-length" not in names:
            headers["Content-Length"] = str(len(self.body))
        phrase = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "?"
        lines = [f"HTTP/1.1 {self.status} {phrase}", *map(": ".join, headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def encoded(self) -> bytes:
        """Return the body as it is sent."""
        if not self.chunks:
            return self.body
        cuts = range(0, len(self.body), 1000)
        blocks = [self.body[cut : cut + 1000] for cut in cuts]
        return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in (*blocks, b""))


class Wire:
    """The server's end of a connection, while it answers a request."""

    def __init__(self, server: Server, sock: socket.socket, request: Request) -> None:
        self._server = server
        self._sock = sock
        self.request = request
        self.is_open = True

    def send(self, data: bytes) -> None:
        """Send bytes."""
        for cut in range(0, len(data), _BLOCK_BYTES):
            block = data[cut : cut + _BLOCK_BYTES]
            # Counted first, as the client may check the count once it has the bytes.
            self._server.count(len(block))
            self._sock.sendall(block)

    def wait(self, seconds: float) -> bool:
        """Wait; returns whether the client is still connected."""
        until = min(time.monotonic() + seconds, self._server.ends)
        while (left := until - time.monotonic()) > 0 and not self._server.stopped.is_set():
            readable, _, _ = select.select([self._sock], [], [], min(left, 0.05))
            if readable:
                return False
        return not self._server.stopped.is_set() and time.monotonic() < self._server.ends

    def close(self) -> None:
        """Close the connection properly."""
        self.is_open = False

    def reset(self) -> None:
        """Reset the connection."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_open = False

    def tunnel(self) -> None:
        """Act as a proxy: connect to the target's port on this machine, and relay."""
        port = int(self.request.target.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=LONGEST) as upstream:
            self.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            peers = {self._sock: upstream, upstream: self._sock}
            while not self._server.stopped.is_set() and time.monotonic() < self._server.ends:
                for end in select.select([*peers], [], [], 0.05)[0]:
                    data = end.recv(1 << 16)
                    while isinstance(end, ssl.SSLSocket) and end.pending():
                        data += end.recv(1 << 16)
                    if not data:
                        self.is_open = False
                        return
                    peers[end].sendall(data)


Act = Callable[[Wire], None]
Answer = bytes | Response | Act
Answers = Answer | Sequence[Answer]
Handler = Callable[[Request], Answer]
Routes = Mapping[str, Answers]


class Server:
    """A running server.

    Attributes:
        requests: The requests, in order.
        bytes_sent: The number of bytes sent, headers included.
        connections: The number of accepted connections.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None) -> None:
        self.requests: list[Request] = []
        self.bytes_sent = 0
        self.connections = 0
        self.stopped = threading.Event()
        self.ends = time.monotonic() + 4 * LONGEST
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/", *, host: str = "127.0.0.1", user: str | None = None) -> str:
        """Return the URL of a path."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'{user}@' if user else ''}{host}:{self.port}{path}"

    @property
    def targets(self) -> list[str]:
        """The targets of the requests, in order."""
        return [request.target for request in self.requests]

    def count(self, sent: int) -> None:
        """Count sent bytes."""
        with self._lock:
            self.bytes_sent += sent

    def stop(self) -> None:
        """Stop the server and wait for its threads."""
        self.stopped.set()
        # Wakes the thread that accepts connections.
        with socket.socket() as knock:
            knock.connect(self._listener.getsockname())
        self._threads[0].join(LONGEST)
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LONGEST)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self.stopped.is_set():
                sock.close()
                return
            number = self.connections
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(LONGEST)
        # In many tests the client disconnects early.
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(sock)
            if self._tls is not None:
                sock = stack.enter_context(self._tls.wrap_socket(sock, server_side=True))
            self._open.append(sock)
            while (request := self._receive(sock, number)) is not None:
                self.requests.append(request)
                wire = Wire(self, sock, request)
                _do(self._handler(request), wire)
                if not wire.is_open:
                    return

    def _receive(self, sock: socket.socket, number: int) -> Request | None:
        received = b""
        while b"\r\n\r\n" not in received:
            data = sock.recv(1 << 16)
            received += data
            if not data:
                return None
            if not received[:1].isalpha():
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return None
        line, *lines = received.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        method, target, _ = line.split(" ")
        pairs = (header.partition(": ") for header in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        return Request(method, target, headers, number)


@contextlib.contextmanager
def serving(answers: Routes | Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server within the context.

    Args:
        answers: The answers by path, with 404 for others; or a function from a request to
            its answer.
        tls: The server's side of TLS, for https.
    """
    server = Server(answers if callable(answers) else _routed(answers), tls)
    try:
        yield server
    finally:
        server.stop()


def _routed(routes: Routes) -> Handler:
    requested: Counter[str] = Counter()

    def handle(request: Request) -> Answer:
        answers = routes.get(request.path, Response(status=404))
        if isinstance(answers, bytes | Response) or callable(answers):
            return answers
        index = requested[request.path]
        requested[request.path] += 1
        return answers[min(index, len(answers) - 1)]

    return handle


def _do(answer: Answer, wire: Wire) -> None:
    if isinstance(answer, bytes):
        answer = ranged(answer, wire.request)
    if isinstance(answer, Response):
        wire.send(answer.head() + answer.encoded())
        if answer.hangs_up or answer.headers.get("Connection") == "close":
            wire.close()
    else:
        answer(wire)


def ranged(data: bytes, request: Request) -> Response:
    """Return an object, or the requested range of it."""
    requested = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    if requested is None:
        return Response(data, headers={"Accept-Ranges": "bytes"})
    start, end = int(requested[1]), min(int(requested[2]) + 1, len(data))
    if start >= len(data):
        return Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    content_range = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], 206, {"Content-Range": content_range})


def redirect(location: str, status: int = 302, body: bytes = b"moved") -> Response:
    """Return a redirect."""
    return Response(body, status, {"Location": location})


def raw(data: bytes) -> Act:
    """Send arbitrary bytes and close."""

    def act(wire: Wire) -> None:
        wire.send(data)
        wire.close()

    return act


def reset(after: bytes = b"") -> Act:
    """Reset the connection, optionally after some bytes."""

    def act(wire: Wire) -> None:
        wire.send(after)
        # Otherwise the client could lose bytes that it has not read yet.
        wire.wait(0.02)
        wire.reset()

    return act


def silence(after: bytes = b"") -> Act:
    """Send nothing, or nothing more, and keep the connection open."""

    def act(wire: Wire) -> None:
        wire.send(after)
        wire.wait(LONGEST)
        wire.close()

    return act


def drip(data: bytes, after: bytes = b"", seconds: float = 0.02) -> Act:
    """Send one byte at a time."""

    def act(wire: Wire) -> None:
        wire.send(after)
        for byte in data:
            wire.send(bytes([byte]))
            if not wire.wait(seconds):
                break
        wire.close()

    return act


def endless(head: bytes, block: bytes) -> Act:
    """Send the same bytes again and again, until the client disconnects."""

    def act(wire: Wire) -> None:
        wire.send(head)
        sent = 0
        while sent < _MAX_BYTES and wire.wait(0):
            wire.send(block)
            sent += len(block)
        wire.close()

    return act


class Authority:
    """A certificate authority of a test.

    Attributes:
        certificate: The path of its certificate, for `SSL_CERT_FILE`.
    """

    def __init__(self, folder: str) -> None:
        self._authority = trustme.CA()
        self.certificate = f"{folder}/authority.pem"
        self._authority.cert_pem.write_to_path(self.certificate)

    def context(self, *names: str) -> ssl.SSLContext:
        """Return the server's side of TLS, for a server of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context
