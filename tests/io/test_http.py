"""Images on web servers: every behaviour of a server ends in bytes or in a fitting error."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import logging
import re
import socket
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import formatdate
from importlib import metadata
from pathlib import Path
from time import monotonic, time
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from faults import (
    LONGEST,
    Answer,
    Authority,
    Request,
    Response,
    Server,
    Wire,
    drip,
    endless,
    ranged,
    raw,
    redirect,
    reset,
    serving,
    silence,
)
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from urllib3 import HTTPResponse

from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    InvalidLocatorError,
    NotFoundError,
    TooLargeError,
    UnreachableError,
)
from polars_imgmeta.execution.pools import ThreadPool
from polars_imgmeta.io import access as policy
from polars_imgmeta.io import blocking
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.http import answers, deadlines
from polars_imgmeta.io.http import client as web
from polars_imgmeta.io.http.client import WebClient
from polars_imgmeta.io.retries import RetryPolicy
from polars_imgmeta.io.transfers import Part, Transfer

DATA = bytes(number * 7 % 251 for number in range(100_000))
SECRET = "X-Amz-Signature=c0ffee"  # noqa: S105 - not a real one
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """Use short pauses and no proxy, and close all connections at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "RETRIES", RetryPolicy(first_pause=0.002))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        yield
    gc.collect()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that signs the servers' certificates."""
    return Authority(str(tmp_path_factory.mktemp("tls")))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Make the client trust the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)
    return authority


@pytest.fixture(scope="module")
def objects() -> Iterator[Server]:
    """Serve objects whose number in the path is their size in bytes."""

    def handle(request: Request) -> Answer:
        number = request.path[1:]
        return DATA[: int(number)] if number.isdecimal() else b"ok"

    with serving(handle) as server:
        yield server


class Reader:
    """A client with its access policy."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        self.access = Access(**{"timeout": 10.0} | options)
        self._client = WebClient(self.access)

    def __call__(self, url: str, extent: tuple[int, int] | None = None) -> Part:
        """Read with the client's pooled connections."""
        with Transfer(self.access) as transfer:
            return self._client.read(url, transfer, extent)


def read(url: str, extent: tuple[int, int] | None = None, **options: Any) -> Part:  # noqa: ANN401
    """Read with a new client."""
    return Reader(**options)(url, extent)


def failure(url: str, extent: tuple[int, int] | None = None, **options: Any) -> ImageError:  # noqa: ANN401
    """Return the error of a read, after checking that it reveals no part of the URL."""
    with pytest.raises(ImageError) as caught:
        read(url, extent, **options)
    require_discreet(url, caught.value)
    return caught.value


def require_discreet(url: str, error: ImageError) -> None:
    """Check that neither the message nor its causes contain a part of the URL."""
    shown = "\n".join(
        line
        for line in "".join(traceback.format_exception(error)).splitlines()
        if not line.startswith(" ")
    )
    assert str(error) in shown
    parts = urlsplit(url)
    for secret in {parts.netloc, parts.query, "127.0.0.1", "localhost", "c0ffee", " at 0x"} - {""}:
        assert secret not in shown


def fails(answer: Any, extent: tuple[int, int] | None = None, **options: Any) -> ImageError:  # noqa: ANN401
    """Return the error of a read of that answer."""
    with serving({"/a.jpg": answer}) as server:
        return failure(server.url(f"/a.jpg?{SECRET}"), extent, **options)


# Facts

TIME = "Wed, 21 Oct 2015 07:28:00 GMT"
PARSED = datetime(2015, 10, 21, 7, 28, tzinfo=UTC)


@pytest.mark.parametrize("extent", [None, (0, 10), (5, 10), (0, 0), (200_000, 10)])
def test_facts_come_with_every_response(extent: tuple[int, int] | None) -> None:
    """Content, part, HEAD and what lies behind the end declare time and tag."""

    def handle(request: Request) -> Answer:
        response = ranged(DATA, request)
        facts = {"Last-Modified": TIME, "ETag": '"5e1f"'}
        body = b"" if request.method == "HEAD" else response.body
        length = {"Content-Length": str(len(response.body))}
        return Response(body, response.status, {**response.headers, **facts, **length})

    with serving(handle) as server:
        assert read(server.url("/a"), extent).facts == (len(DATA), PARSED, "5e1f")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "etag"),
    [('"a"', "a"), ('W/"a"', "a"), ("a", "a"), ('"a b"', None), ('""', None), ('"a", "b"', None)],
)
def test_tags_are_compared_without_their_marks(header: str, etag: str | None) -> None:
    """A weak tag and a strong one of the same object are equal; a malformed one is none."""
    with serving({"/a": Response(DATA, headers={"ETag": header})}) as server:
        assert read(server.url("/a")).etag == etag


@pytest.mark.parametrize(
    ("header", "modified"),
    [
        (TIME, PARSED),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", PARSED),
        ("Wed Oct 21 07:28:00 2015", PARSED),
        ("Wed, 21 Oct 2015 09:28:00 +0200", PARSED),
        ("Wed, 21 Oct 2015 07:28:00 -0000", PARSED),
        ("Wed, 31 Feb 2015 07:28:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("0", None),
        ("", None),
    ],
)
def test_times_of_modification(header: str, modified: datetime | None) -> None:
    """Every format of HTTP is understood, and anything else is no time."""
    with serving({"/a": Response(DATA, headers={"Last-Modified": header})}) as server:
        assert read(server.url("/a")).modified == modified


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")))
def test_any_header_is_a_fact_or_none(text: str) -> None:
    """Whatever a server sends as time and tag, the object is read."""
    with serving({"/a": Response(DATA, headers={"Last-Modified": text, "ETag": text})}) as server:
        assert read(server.url("/a")).data == DATA


@pytest.mark.parametrize("status", [403, 405, 501])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_without_head_is_asked_for_the_first_byte(status: int, ranges: bool) -> None:  # noqa: FBT001
    """A refused HEAD request is followed by one for a single byte."""

    def handle(request: Request) -> Answer:
        if request.method == "HEAD":
            return Response(b"", status, {"Content-Length": "9"})
        return ranged(DATA, request) if ranges else Response(DATA)

    with serving(handle) as server:
        assert read(server.url("/a"), (0, 0)).facts == (len(DATA), None, None)
        asked = [(one.method, one.headers.get("range")) for one in server.requests]
        assert asked == [("HEAD", None), ("GET", "bytes=0-0")]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "0"}, {"Content-Length": "7", "Content-Encoding": "gzip"}],
)
def test_a_head_without_the_size_is_not_used(headers: dict[str, str]) -> None:
    """The size of an object is never a guess."""

    def handle(request: Request) -> Answer:
        return Response(b"", headers=headers) if request.method == "HEAD" else DATA

    with serving(handle) as server:
        assert read(server.url("/a"), (0, 0)).facts == (len(DATA), None, None)


def test_head_follows_redirects_within_the_policy() -> None:
    """Redirects, statuses, retries and limits of HEAD are those of GET."""
    large = Response(b"", headers={"Content-Length": str(1 << 40)})
    answers: dict[str, Any] = {
        "/a": redirect("/b", body=b""),
        "/b": [Response(status=503), large],
    }
    with serving(answers) as server:
        assert read(server.url("/a"), (0, 0)).size == 1 << 40
        assert {request.method for request in server.requests} == {"HEAD"}
        assert isinstance(failure(server.url("/gone"), (0, 0)), NotFoundError)
        assert isinstance(failure(server.url("/a"), (0, 0), hosts=["b.org"]), AccessDeniedError)
        assert server.connections < 4


# Bodies


@pytest.mark.parametrize("data", [b"", b"x", DATA])
@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("hangs_up", [False, True])
def test_whole(data: bytes, chunks: bool, hangs_up: bool) -> None:  # noqa: FBT001
    """All bytes of an object are read, however the server frames them."""
    response = Response(data, chunks=chunks, hangs_up=hangs_up)
    with serving({"/a.jpg": response}) as server:
        assert read(server.url("/a.jpg")) == Part(data, 0, len(data))
        assert read(server.url("/a.jpg"), (0, 10)) == Part(data, 0, len(data))


def test_until_the_end_of_the_connection() -> None:
    """The end of the connection ends a body without a length."""
    with serving({"/a.jpg": raw(OK + b"\r\n" + DATA)}) as server:
        assert read(server.url("/a.jpg")) == Part(DATA, 0, len(DATA))


def test_the_request() -> None:
    """The request identifies the client and asks for an unencoded body."""
    with serving({"/": b""}) as server:
        read(server.url())
    (request,) = server.requests
    assert request.method == "GET"
    assert request.target == "/"
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"polars-imgmeta/{metadata.version('polars-imgmeta')}",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


@pytest.mark.parametrize("method", ["gzip", "x-gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("chunks", [False, True])
def test_decoded(method: str, chunks: bool) -> None:  # noqa: FBT001
    """An encoded body is decoded, and never accepted as a part."""
    body = (zlib if method == "deflate" else gzip).compress(DATA)
    response = Response(body, headers={"Content-Encoding": method}, chunks=chunks)
    headers = {"Content-Encoding": method, "Content-Range": f"bytes 0-9/{len(body)}"}
    turns: list[Answer] = [Response(body[:10], 206, headers), response]
    with serving({"/a": response, "/b": turns}) as server:
        assert read(server.url("/a")).data == DATA
        assert read(server.url("/b"), (0, 10)) == Part(DATA, 0, len(DATA))
    assert ["range" in request.headers for request in server.requests] == [False, True, False]


def test_an_unknown_encoding_is_ignored() -> None:
    """An unknown encoding is ignored."""
    with serving({"/a": Response(DATA, headers={"Content-Encoding": "aws-chunked"})}) as server:
        assert read(server.url("/a")).data == DATA


@pytest.mark.parametrize("method", ["gzip", "deflate"])
def test_a_wrong_encoding(method: str) -> None:
    """A body that cannot be decoded is an error after one retry."""
    error = fails(Response(b"no such thing" * 9, headers={"Content-Encoding": method}))
    assert type(error) is UnreachableError
    assert str(error) == "the body is not encoded as the server says (2 tries)"


# Sizes


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_up_to_the_limit(size: int, chunks: bool) -> None:  # noqa: FBT001
    """A body of exactly the maximum size is read, whether its length is declared or not."""
    with serving({"/a": Response(DATA[:size], chunks=chunks)}) as server:
        assert read(server.url("/a"), max_bytes=1000).data == DATA[:size]


def bomb() -> Response:
    """Return a short body that decodes to a long one."""
    return Response(gzip.compress(bytes(1 << 25)), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    "answer",
    [
        Response(DATA[:1001]),
        Response(DATA[:1001], chunks=True),
        raw(OK + b"\r\n" + DATA),
        bomb(),
        Response(headers={"Content-Length": str(1 << 62)}),
        endless(OK + b"\r\n", DATA),
        endless(OK + f"Content-Length: {1 << 40}\r\n\r\n".encode(), DATA),
        endless(CHUNKED, b"10\r\n0123456789abcdef\r\n"),
        endless(CHUNKED, b"1\r\nx\r\n"),
        endless(CHUNKED + b"ffffffffffff\r\n", DATA),
    ],
)
def test_beyond_the_limit(answer: Answer) -> None:
    """No more than the maximum is read, whatever the server declares or sends."""
    error = fails(answer, max_bytes=1000)
    assert type(error) is TooLargeError
    assert str(error) == "more bytes than `max_bytes`, which is 1000"


def test_too_many_bytes_are_not_read() -> None:
    """A declared length beyond the maximum is refused without reading the body."""
    with serving({"/a": bytes(1 << 26)}) as server:
        failure(server.url("/a"), max_bytes=1 << 20)
    assert server.bytes_sent < 1 << 25


def test_a_body_of_unknown_length_is_held_once() -> None:
    """One that a kilobyte decodes to has no second copy while it is put together."""
    with serving({"/a": bomb()}) as server:
        url = server.url("/a")
        tracemalloc.start()
        try:
            assert len(read(url).data) == 1 << 25
            assert tracemalloc.get_traced_memory()[1] < 3 << 24
        finally:
            tracemalloc.stop()


def test_memory_is_reserved_before_reading() -> None:
    """Memory is reserved for the declared length, or in growing steps if none is declared."""

    class Recorder(Transfer):
        def hold(self, size: int) -> None:
            held.append(size)
            super().hold(size)

    body = bytes(3 << 20)
    access = Access(max_bytes=(7 << 20) // 2)
    # Of a declared length, a share is reserved first.
    expected = {"/declared": [1 << 21, 3 << 20], "/undeclared": [1 << 20, 2 << 20, (7 << 20) // 2]}
    with serving({"/declared": body, "/undeclared": Response(body, chunks=True)}) as server:
        for path, sizes in expected.items():
            held: list[int] = []
            with Recorder(access) as transfer:
                assert WebClient(access).read(server.url(path), transfer, None).data == body
            assert held == sizes


# Parts


@given(size=st.integers(0, 300), position=st.integers(0, 310), length=st.integers(1, 310))
def test_parts(size: int, position: int, length: int, objects: Server) -> None:
    """A part equals a slice."""
    part = read(objects.url(f"/{size}"), (position, length))
    assert part == Part(DATA[:size][position : position + length], position, size)


def test_a_part_costs_no_more() -> None:
    """No bytes outside the requested part are sent."""
    with serving({"/a": bytes(1 << 24)}) as server:
        assert len(read(server.url("/a"), (0, 32768)).data) == 32768
    assert server.bytes_sent < 33_000


def partial(content_range: str | None, body: bytes = DATA[:100], **options: Any) -> Response:  # noqa: ANN401
    """Return a part that declares any range."""
    headers = {} if content_range is None else {"Content-Range": content_range}
    return Response(body, 206, headers, **options)


@pytest.mark.parametrize(
    "answer",
    [
        partial(None),
        partial("bytes 0-99/*"),
        partial("bytes 1-100/1000"),
        partial("bytes 0-99/50"),
        partial("bytes 0-49/1000"),
        partial("bytes 0-98/1000"),
        partial("bytes 99-0/1000"),
        partial("bytes 0-99/1000", chunks=True, body=DATA[:99]),
        partial("bytes 0-9/1000", body=DATA[:10]),
        partial(f"bytes 0-{'9' * 5000}/1000"),
        partial("lines 0-99/1000"),
        Response(DATA[:100], 206, {"Content-Type": "multipart/byteranges; boundary=x"}),
        Response(status=416),
        Response(status=416, headers={"Content-Range": "bytes */1000"}),
        Response(status=416, headers={"Content-Range": "bytes */*"}),
    ],
)
def test_useless_parts(answer: Response) -> None:
    """If a part is not usable, the whole is requested."""
    with serving({"/a": [answer, DATA]}) as server:
        assert read(server.url("/a"), (0, 100)) == Part(DATA, 0, len(DATA))
    assert ["range" in request.headers for request in server.requests] == [True, False]


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (partial("bytes 0-99/1000"), 1000),
        (partial("Bytes 0-99/1000", chunks=True), 1000),
        (partial("bytes 0-99/100"), 100),
        (partial("bytes 0-19/*", DATA[:20]), 20),
        (partial("bytes 0-999/1000", DATA[:1000]), 1000),
    ],
)
def test_usable_parts(answer: Response, size: int) -> None:
    """A part may be the whole object, or longer than requested."""
    with serving({"/a": answer}) as server:
        assert read(server.url("/a"), (0, 100)) == Part(answer.body, 0, size)
    assert len(server.requests) == 1


def test_an_unrequested_part() -> None:
    """A part is refused if the whole was requested."""
    error = fails(partial("bytes 0-99/1000"))
    assert type(error) is UnreachableError
    assert str(error) == "the server answered 206 Partial Content"


# URLs

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#"))
LEGAL = st.lists(
    st.sampled_from([*"aZ09-._~!$&'()*+,;=:@/?[]", "%2f", "%2F", "%25", "%00", "%C3%a9"])
)


@given(text=TEXT)
def test_any_text_reaches_the_server(text: str, objects: Server) -> None:
    """Path and query reach the server unchanged, escaped to valid characters."""
    read(objects.url(f"/:{text}"))
    target = objects.requests[-1].target
    assert re.fullmatch(r"/:([A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*", target)
    assert unquote_to_bytes(target) == unquote_to_bytes(f"/:{text}")


@given(fragments=LEGAL)
def test_valid_text_is_sent_unchanged(fragments: list[str], objects: Server) -> None:
    """Valid characters are sent unchanged, because they may be signed."""
    target = f"/:{''.join(fragments)}"
    read(objects.url(target))
    assert objects.requests[-1].target == target
    read(objects.url(f"{target}#fragment?#"))
    assert objects.requests[-1].target == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("?a=1", "/?a=1"),
        ("#top", "/"),
        ("/a b.jpg", "/a%20b.jpg"),
        ("/é文.jpg", "/%C3%A9%E6%96%87.jpg"),
        ("/100%.jpg?q=5%", "/100%25.jpg?q=5%25"),
        ("/a/../b/./c//d", "/a/../b/./c//d"),
        ('/"quoted"', "/%22quoted%22"),
        (f"/a?{SECRET}%2fb+c%20d&e=", f"/a?{SECRET}%2fb+c%20d&e="),
    ],
)
def test_targets(path: str, target: str, objects: Server) -> None:
    """The request target is the escaped path and query."""
    read(objects.url(path))
    assert objects.requests[-1].target == target


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///x",
        "https://:80/x",
        "http://?x",
        "http://user@/x",
        "http://localhost:port/x",
        "http://localhost:0/x",
        "http://localhost:65536/x",
        "http://localhost:-1/x",
        "http://localhost:\uff18\uff10/x",
        "http://::1/x",
        "http://[::1/x",
        "http://[::g]/x",
        "http://[v1.x]/x",
        "http://a..b/x",
        "http://.a/x",
        "http://./x",
        "http://a b/x",
        "http://a%62/x",
        "http://a\\b/x",
        "http://<a>/x",
        "http://localhost/a\nb",
        "http://localhost/a\x00b",
        "http://localhost/a\x7fb",
        "http://local\thost/ab",
        "http://localhost/\ud800",
        "http://\ud800@localhost/",
        "http://\ud800/",
        f"http://{'a' * 64}.invalid/",
        f"http://{'a.' * 200}invalid/",
        f"http://{'é' * 60}/",
    ],
)
def test_invalid_urls(url: str) -> None:
    """A URL without a valid server is an invalid locator, without a request."""
    with pytest.raises(InvalidLocatorError):
        read(url)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "localhost."])
def test_hosts(host: str, objects: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several names of one host work."""
    looked_up = resolve(monkeypatch)
    assert read(objects.url("/9", host=host)).data == DATA[:9]
    assert objects.requests[-1].headers["host"].removesuffix(f":{objects.port}") in {
        "localhost",
        "127.0.0.1",
    }
    assert looked_up == [host.lower()]


@pytest.mark.parametrize("hosts", [["bücher.invalid"], ["xn--bcher-kva.invalid"], ["*.invalid"]])
def test_international_hosts(hosts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host is resolved in ASCII, and may be allowed in Unicode."""
    looked_up = resolve(monkeypatch)
    with serving({"/a": DATA}) as server:
        assert read(server.url("/a", host="Bücher.invalid"), hosts=hosts).data == DATA
    assert looked_up == ["xn--bcher-kva.invalid"]


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Resolve every name to these addresses, by default loopback; returns the resolved names."""
    resolved: list[str] = []

    def getaddrinfo(host: bytes, port: int, **_: object) -> list[tuple[Any, ...]]:
        resolved.append(host.decode())
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses or ("127.0.0.1",)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolved


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let the look-up of every name but `localhost` hang, until the event is set."""
    genuine, answers = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: bytes, port: int, **options: Any) -> list[Any]:  # noqa: ANN401
        if options.get("flags") != socket.AI_NUMERICHOST and host != b"localhost":
            answers.wait()
        return genuine(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    answers.set()


def test_a_look_up_that_hangs_costs_the_timeout(silent_resolver: threading.Event) -> None:
    """However many hosts, no longer than the images of one; others are read meanwhile."""
    started = monotonic()
    with serving({"/a": DATA}) as server:
        urls = [f"http://{number}.invalid/a" for number in range(16)]
        urls += [server.url("/a", host="localhost")] * 16
        late = "it took longer than `timeout`, which is 1 seconds"
        with ThreadPoolExecutor(32) as threads:
            reads = threads.map(outcome, urls, [1] * 16 + [60] * 16)
            assert list(reads) == [late] * 16 + [DATA] * 16
    assert monotonic() - started < 60
    assert not silent_resolver.is_set()


def outcome(url: str, timeout: float) -> bytes | str:
    """Return what is read, or the message of the failure."""
    try:
        return read(url, timeout=timeout).data
    except UnreachableError as error:
        return str(error)


@pytest.mark.usefixtures("silent_resolver")
def test_look_ups_that_hang_take_a_limited_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Further ones wait for a thread, and no longer than their time."""
    pool = ThreadPool(2, "imgmeta-lookup")
    monkeypatch.setattr(blocking, "_pool", pool)
    for number in range(5):
        with pytest.raises(UnreachableError, match="longer than `timeout`"):
            read(f"http://{number}.invalid/a", timeout=0.1)
    assert len(pool._threads) == 2  # noqa: SLF001


def test_a_stopped_transfer_does_not_wait_for_a_look_up(silent_resolver: threading.Event) -> None:
    """An interrupt ends it at once."""
    access, stopped = Access(timeout=600), threading.Event()
    threading.Timer(0.2, stopped.set).start()
    with Transfer(access, stopped) as transfer, pytest.raises(UnreachableError, match="stopped"):
        WebClient(access).read("http://silent.invalid/a", transfer, None)
    assert not silent_resolver.is_set()


# Users


@pytest.mark.parametrize(
    ("user", "pair"),
    [
        ("me:secret", "me:secret"),
        ("me", "me:"),
        (":secret", ":secret"),
        ("m%40e:s%3Ae%2F:t", "m@e:s:e/:t"),
        ("mé:文", "mé:文"),
        ("a@b:c", "a@b:c"),
    ],
)
def test_basic_authentication(user: str, pair: str) -> None:
    """The user of a URL is unescaped before it is sent."""
    with serving({"/a": DATA}) as server:
        read(server.url("/a", user=user))
    (request,) = server.requests
    assert request.headers["authorization"] == f"Basic {base64.b64encode(pair.encode()).decode()}"


def test_a_user_stays_with_its_server(objects: Server) -> None:
    """Another server, or another port of the same host, gets no credentials."""
    routes: dict[str, Answer] = {
        "/same": redirect("/end"),
        "/other": redirect(objects.url("/9")),
        "/posing": redirect(objects.url("/9", user="some:body")),
        "/end": DATA,
    }
    with serving(routes) as server:
        for path in routes:
            assert read(server.url(path, user="me:secret")).data in {DATA, DATA[:9]}
            assert ("authorization" in objects.requests[-1].headers) is False
    assert all("authorization" in request.headers for request in server.requests)


# Statuses


@pytest.mark.parametrize(
    ("status", "kind", "message", "tries"),
    [
        (400, UnreachableError, "400 Bad Request", 1),
        (401, AccessDeniedError, "401 Unauthorized", 1),
        (403, AccessDeniedError, "403 Forbidden", 1),
        (404, NotFoundError, "404 Not Found", 1),
        (405, UnreachableError, "405 Method Not Allowed", 1),
        (407, AccessDeniedError, "407 Proxy Authentication Required", 1),
        (408, UnreachableError, "408 Request Timeout (6 tries)", 6),
        (410, NotFoundError, "410 Gone", 1),
        (418, UnreachableError, "418 I'm a Teapot", 1),
        (429, UnreachableError, "429 Too Many Requests (6 tries)", 6),
        (500, UnreachableError, "500 Internal Server Error (6 tries)", 6),
        (501, UnreachableError, "501 Not Implemented", 1),
        (502, UnreachableError, "502 Bad Gateway (6 tries)", 6),
        (503, UnreachableError, "503 Service Unavailable (6 tries)", 6),
        (504, UnreachableError, "504 Gateway Timeout (6 tries)", 6),
        (302, UnreachableError, "302 Found", 1),
        (304, UnreachableError, "304 Not Modified", 1),
        (204, UnreachableError, "204 No Content", 1),
        (799, UnreachableError, "799", 1),
    ],
)
def test_statuses(status: int, kind: type[ImageError], message: str, tries: int) -> None:
    """Each status becomes an error of its kind, after the right number of tries."""
    with serving({"/a": Response(status=status)}) as server:
        error = failure(server.url(f"/a?{SECRET}"))
    assert type(error) is kind
    assert str(error) == f"the server answered {message}"
    assert len(server.requests) == tries
    assert server.connections == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("failures", [1, 5])
def test_retries(status: int, failures: int) -> None:
    """A busy server is retried with the same range."""
    busy: list[Answer] = [Response(b"busy", status)] * failures
    with serving({"/a": [*busy, DATA]}) as server:
        assert read(server.url("/a"), (5, 10)) == Part(DATA[5:15], 5, len(DATA))
    assert len({request.headers["range"] for request in server.requests}) == 1
    assert len(server.requests) == failures + 1


class Unhurried(Transfer):
    """A transfer that records its pauses instead of waiting."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> bool:
        """Record the pause."""
        self.pauses.append(seconds)
        return True


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda: "7", 7),
        (lambda: " 120 ", 120),
        (lambda: formatdate(time() + 100, usegmt=True), 100),
        (lambda: formatdate(time() - 100, usegmt=True), 0),
        (lambda: "soon", 0),
        (lambda: "-5", 0),
        (lambda: "Mon, 99 Foo 99999 99:99:99 GMT", 0),
        (lambda: "9" * 400, 0),
    ],
)
def test_retry_after(header: Callable[[], str], seconds: float) -> None:
    """`Retry-After` is honoured, in seconds or as a date."""
    busy = Response(status=503, headers={"Retry-After": header()})
    access = Access()
    with serving({"/a": [busy, DATA]}) as server, Unhurried(access) as transfer:
        assert WebClient(access).read(server.url("/a"), transfer, None).data == DATA
    (pause,) = transfer.pauses
    assert seconds - 3 <= pause <= seconds + 0.01


def test_retry_after_the_time_is_over() -> None:
    """A `Retry-After` beyond the time left ends the read at once, with the status as reason."""
    with serving({"/a": Response(status=503, headers={"Retry-After": "3600"})}) as server:
        error = failure(server.url("/a"))
    assert str(error) == "the server answered 503 Service Unavailable"
    assert len(server.requests) == 1


# Faults

HEAD = OK + b"Content-Length: 100000\r\n\r\n"
CUT = "the connection was cut (6 tries)"
SHORT = "the body ended early (6 tries)"
NO_HTTP = "the answer is not valid HTTP (2 tries)"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reset(), CUT),
        (reset(b"HTTP/1.1 2"), CUT),
        (reset(HEAD), CUT),
        (reset(HEAD + DATA[:5000]), CUT),
        (reset(CHUNKED + b"5\r\nabcde\r\n"), CUT),
        (raw(b""), CUT),
        (raw(HEAD + DATA[:5000]), SHORT),
        (raw(HEAD), SHORT),
        (raw(CHUNKED + b"5\r\nabcde\r\n"), SHORT),
        (raw(CHUNKED + b"5\r\nabc"), SHORT),
        (raw(CHUNKED + b"x\r\nabc"), SHORT),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), NO_HTTP),
        (raw(b"\x00" * 1000), NO_HTTP),
        (raw(b"HTTP/1.1 OK\r\n\r\n"), NO_HTTP),
        (raw(b"HTTP/1.1 " + b"2" * 70_000), NO_HTTP),
        (raw(OK + b"A: b\r\n" * 200 + b"\r\n"), NO_HTTP),
        (raw(OK + b"A: " + b"b" * 70_000 + b"\r\n\r\n"), NO_HTTP),
        (raw(OK + b"Content-Length: 3, 4\r\n\r\nabcd"), NO_HTTP),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), NO_HTTP),
        (endless(CHUNKED + b"-1\r\n", bytes(1 << 16)), NO_HTTP),
    ],
)
def test_broken_answers(answer: Answer, message: str) -> None:
    """An invalid or incomplete response is an error after some tries."""
    error = fails(answer)
    assert type(error) is UnreachableError
    assert str(error) == message


@pytest.mark.parametrize(
    "answer", [reset(), reset(HEAD), raw(b""), raw(HEAD + DATA[:5000]), raw(b"what?\r\n\r\n")]
)
def test_broken_once(answer: Answer) -> None:
    """A single broken response costs one retry."""
    with serving({"/a": [answer, DATA]}) as server:
        assert read(server.url("/a")).data == DATA
    assert len(server.requests) == 2


SLOW = [
    silence(),
    silence(b"HTTP/1.1 200"),
    silence(HEAD),
    silence(HEAD + DATA[:5000]),
    silence(CHUNKED + b"5\r\n"),
    drip(OK),
    drip(HEAD),
    drip(DATA, HEAD),
    drip(DATA, OK + b"\r\n"),
    drip(b"1\r\nx\r\n" * 1000, CHUNKED),
    drip(gzip.compress(DATA), OK + b"Content-Encoding: gzip\r\n\r\n"),
]


@pytest.mark.parametrize("answer", SLOW)
def test_slow_answers(answer: Answer) -> None:
    """A server that sends nothing, or single bytes, is not waited for beyond the timeout."""
    error = fails(answer, timeout=0.3)
    assert type(error) is UnreachableError
    slow = {"it took longer than `timeout`, which is 0.3 seconds", "the server was silent"}
    assert str(error).partition(" for")[0] in slow


@pytest.mark.parametrize("answer", [silence(), drip(OK)])
def test_slow_servers_within_tls(answer: Answer, trusted: Authority) -> None:
    """The timeout holds within TLS too."""
    tls = trusted.context("127.0.0.1")
    with serving({"/a": answer}, tls=tls) as server:
        assert type(failure(server.url("/a"), timeout=0.3)) is UnreachableError


def test_slow_handshake() -> None:
    """A TLS handshake without an answer ends at the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        assert type(failure(url, timeout=0.3)) is UnreachableError


def test_a_server_that_does_not_accept() -> None:
    """A connection that is never accepted ends at the timeout."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for member in crowd:
            member.settimeout(0)
            member.connect_ex(address)
        assert type(failure(f"http://127.0.0.1:{address[1]}/", timeout=0.3)) is UnreachableError
        for member in crowd:
            member.close()


def test_a_slow_start_is_not_a_fault() -> None:
    """A pause within the timeout, longer than a poll, is waited for."""

    def act(wire: Wire) -> None:
        wire.wait(0.6)
        wire.send(HEAD + DATA)

    with serving({"/a": act}) as server:
        assert read(server.url("/a")).data == DATA
    assert len(server.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_stopped_transfer_ends_any_wait(
    scheme: str, trusted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped transfer ends during any wait, and closes the connection."""
    monkeypatch.setattr(deadlines, "READ_TIMEOUT", 1000.0)
    access = Access(timeout=1000)
    stopped = threading.Event()
    waited: list[bool] = []
    tls = trusted.context("127.0.0.1") if scheme == "https" else None

    def act(wire: Wire) -> None:
        stopped.set()
        waited.append(wire.wait(LONGEST))
        wire.close()

    with (
        serving({"/a": act}, tls=tls) as server,
        Transfer(access, stopped) as transfer,
        pytest.raises(UnreachableError, match="stopped"),
    ):
        WebClient(access).read(server.url("/a"), transfer, None)
    assert waited == [False]


FAULTS: dict[str, Answer] = {
    "good": DATA[:50],
    "chunked": Response(DATA[:50], chunks=True, hangs_up=True),
    "busy": Response(b"busy", 503, {"Retry-After": "0"}),
    "limited": Response(status=429),
    "reset": reset(),
    "reset within": reset(HEAD + DATA[:50]),
    "short": raw(HEAD + DATA[:50]),
    "silence": silence(),
    "drip": drip(DATA, HEAD),
    "endless": endless(OK + b"\r\n", DATA),
    "huge": Response(headers={"Content-Length": str(1 << 50)}),
    "bomb": bomb(),
    "garbage": raw(b"\x16\x03\x01" * 20),
    "denied": Response(status=403),
    "gone": Response(status=410),
    "loop": redirect(f"/a?{SECRET}"),
    "astray": redirect("http://127.0.0.1:1/"),
    "downgraded": redirect("ftp://127.0.0.1/"),
    "useless part": partial("bytes 7-9/10"),
}


@given(
    names=st.lists(st.sampled_from(list(FAULTS)), min_size=1, max_size=5),
    extent=st.sampled_from([None, (0, 10), (49, 10), (70, 5)]),
)
def test_any_faults(names: list[str], extent: tuple[int, int] | None) -> None:
    """Any sequence of faults ends in bytes or in an error without secrets."""
    with serving({"/a": [FAULTS[name] for name in names]}) as server:
        url = server.url(f"/a?{SECRET}", user="me:c0ffee")
        try:
            part = read(url, extent, timeout=0.2, max_bytes=50_000)
        except ImageError as error:
            require_discreet(url, error)
        else:
            assert part.size == 50
            assert part.data == DATA[:50][part.position :][: len(part.data)]


LINES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 206 \r\n",
    b"HTTP/1.1 301 Moved\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Range: bytes 0-4/5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate, gzip\r\n",
    b"Location: //x.invalid:0/\xe9\r\n",
    b" folded\r\n",
    b"no colon\r\n",
    b"\r\n",
    b"5\r\nabcde\r\n",
    b"-2\r\n",
    b"0\r\n\r\n",
    b"abcde",
    gzip.compress(b"abcde"),
]


@given(
    lines=st.lists(st.sampled_from(LINES) | st.binary(max_size=20), max_size=12),
    extent=st.sampled_from([None, (0, 5)]),
)
def test_any_answer(lines: list[bytes], extent: tuple[int, int] | None) -> None:
    """Any response bytes end in a part or in an error without secrets."""
    with serving({"/a": raw(b"".join(lines))}) as server:
        url = server.url(f"/a?{SECRET}", user="me:c0ffee")
        try:
            read(url, extent, timeout=1, max_bytes=50_000)
        except ImageError as error:
            require_discreet(url, error)


# Connections


def test_connections_are_kept() -> None:
    """One connection serves many requests, failing ones included."""
    reader = Reader()
    with serving({"/a": DATA, "/b": Response(DATA, chunks=True), "/c": b""}) as server:
        for path in ["/a", "/gone", "/b", "/c", "/a"]:
            if path == "/gone":
                with pytest.raises(NotFoundError):
                    reader(server.url(path))
            else:
                reader(server.url(path))
            reader(server.url("/a"), (3, 5))
    assert len(server.requests) == 10
    assert server.connections == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connections_that_the_server_closed(
    scheme: str, monkeypatch: pytest.MonkeyPatch, trusted: Authority
) -> None:
    """A pooled connection that the server has closed is not a failure of the object."""
    monkeypatch.setattr(web, "RETRIES", RetryPolicy(max_retries=0))
    reader = Reader()

    def act(wire: Wire) -> None:
        # Closed only after the next request.
        wire.send(HEAD + DATA)
        wire.wait(5)
        wire.close()

    tls = trusted.context("127.0.0.1") if scheme == "https" else None
    with serving({"/a": act, "/b": Response(DATA, hangs_up=True)}, tls=tls) as server:
        for path in ["/a", "/a", "/b", "/b", "/a"]:
            assert reader(server.url(path)).data == DATA
    assert server.connections == 5


def test_an_error_page_is_not_waited_for() -> None:
    """The body of an error response does not delay the result."""
    routes: dict[str, Answer] = {
        "/a": drip(DATA, b"HTTP/1.1 404 Not Found\r\nContent-Length: 9000\r\n\r\n"),
        "/b": b"",
    }
    reader = Reader()
    with serving(routes) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_MAX_DRAIN_SECONDS", 0.05)
        with pytest.raises(NotFoundError):
            reader(server.url("/a"))
        reader(server.url("/b"))
    assert server.connections == 2
    assert server.bytes_sent < 250


def test_bytes_after_a_response_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes after a response are not taken for the next one."""
    monkeypatch.setattr(web, "RETRIES", RetryPolicy(max_retries=0))

    def act(wire: Wire) -> None:
        wire.send(HEAD + DATA + (OK + b"Content-Length: 4\r\n\r\nevil") * 1000)

    reader = Reader()
    with serving({"/a": act, "/b": DATA}) as server:
        assert reader(server.url("/a")).data == DATA
        assert reader(server.url("/b")).data == DATA
    assert server.connections == 2


def test_many_threads(objects: Server) -> None:
    """Threads share connections, and each gets its own response."""
    reader = Reader(concurrency=32)
    before = objects.connections
    with ThreadPoolExecutor(32) as threads:
        parts = list(threads.map(lambda size: reader(objects.url(f"/{size}")), range(400)))
    assert [part.size for part in parts] == list(range(400))
    assert objects.connections - before <= 32


def test_few_connections_are_kept() -> None:
    """The number of idle connections, over all servers, is at most the concurrency."""
    reader = Reader(concurrency=2)
    with serving({"/": b"a"}) as a, serving({"/": b"b"}) as b, serving({"/": b"c"}) as c:
        for server in (a, b, c, a, c, a):
            reader(server.url())
    assert (a.connections, b.connections, c.connections) == (2, 1, 1)


def test_forked_processes_have_their_own_connections(tmp_path: Path) -> None:
    """A forked child neither uses nor breaks the connections of its parent."""
    code = """
import json, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.transfers import Transfer
from polars_imgmeta.io.http.client import WebClient

access = Access(timeout=10)
client = WebClient(access)

def read():
    with Transfer(access) as transfer:
        return client.read(URL, transfer, None).size

sizes = [read()]
child = os.fork()
if not child:
    os._exit(0 if read() == read() == 100_000 else 1)
sizes.append(os.waitpid(child, 0)[1])
sizes.append(read())
print(json.dumps(sizes))
"""
    with serving({"/a": DATA}) as server:
        done = run_python(code.replace("URL", repr(server.url("/a"))), tmp_path)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [100_000, 0, 100_000]
    assert [request.connection for request in server.requests] == [0, 1, 1, 0]


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    ["/b/c?x=%2f", "c?x=%2f", "//HOST/b/c?x=%2f", "http://HOST/b/c?x=%2f#here", "./c?x=%2f"],
)
def test_redirects(status: int, location: str) -> None:
    """Relative and absolute redirects are followed."""
    routes: dict[str, Answer] = {"/b/c": DATA}
    with serving(lambda request: routes[request.path]) as server:
        host = f"127.0.0.1:{server.port}"
        routes["/b/a"] = redirect(location.replace("HOST", host), status)
        assert read(server.url("/b/a"), (0, 5)) == Part(DATA[:5], 0, len(DATA))
    assert server.targets == ["/b/a", "/b/c?x=%2f"]
    assert server.connections == 1


def test_redirects_to_other_characters() -> None:
    """Invalid characters in a location are escaped, as in a locator."""
    location = "/é文 b".encode().decode("latin-1")
    with serving({"/a": redirect(location), "/%C3%A9%E6%96%87%20b": DATA}) as server:
        assert read(server.url("/a")).data == DATA


def test_ten_redirects() -> None:
    """Ten redirects are followed, and no more."""
    routes: dict[str, Answer] = {f"/{n}": redirect(f"/{n + 1}") for n in range(11)}
    with serving({**routes, "/11": DATA}) as server:
        assert read(server.url("/1")).data == DATA
        assert str(failure(server.url("/0"))) == "more than 10 redirects"
    assert len(server.requests) == 11 + 11


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("ftp://localhost/a", AccessDeniedError),
        ("file:///etc/passwd", AccessDeniedError),
        ("gopher:x", AccessDeniedError),
        ("http://", UnreachableError),
        ("http://[::/", UnreachableError),
        ("//a:b:c/", UnreachableError),
        ("http://localhost:99999/", UnreachableError),
        ("/a\x00b", UnreachableError),
    ],
)
def test_redirects_to_invalid_urls(location: str, kind: type[ImageError]) -> None:
    """A redirect to an invalid URL or another scheme is an error."""
    error = fails(redirect(location))
    assert type(error) is kind
    assert str(error).startswith("a redirect to ")


def test_redirects_out_of_tls(trusted: Authority, objects: Server) -> None:
    """A redirect from https to http is refused."""
    before = len(objects.requests)
    with serving({"/a": redirect(objects.url("/9"))}, tls=trusted.context("127.0.0.1")) as server:
        error = failure(server.url("/a"))
    assert type(error) is AccessDeniedError
    assert str(error) == "a redirect from https to http"
    assert len(objects.requests) == before


def test_redirects_into_tls(trusted: Authority) -> None:
    """A redirect from http to https is followed."""
    with (
        serving({"/a": DATA}, tls=trusted.context("127.0.0.1")) as safe,
        serving({"/a": redirect(safe.url("/a"))}) as server,
    ):
        assert read(server.url("/a")).data == DATA


# The policy


@pytest.mark.parametrize(
    "options", [{"hosts": ["localhost"]}, {"schemes": ["http"], "hosts": ["*.localhost"]}]
)
def test_redirects_stay_within_the_policy(
    options: dict[str, Any], objects: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host outside the policy is contacted, from a locator or a redirect."""
    resolve(monkeypatch)
    before = objects.connections
    with serving({"/a": redirect(objects.url("/9", host="127.0.0.1")), "/b": DATA}) as server:
        host = options["hosts"][0].replace("*", "www")
        error = failure(server.url("/a", host=host), **options)
        assert type(error) is AccessDeniedError
        assert str(error) == "not among the allowed hosts"
        assert read(server.url("/b", host=host), **options).data == DATA
        assert type(failure(server.url("/b"), **options)) is AccessDeniedError
    assert objects.connections == before
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "localhost",
        "me:pw@localhost",
        "127。0。0。1",
        "\uff11\uff12\uff17.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "224.0.0.1",
    ],
)
def test_addresses_that_are_not_public(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No spelling of a local or private address is connected to."""
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: pytest.fail("connected"))
    with serving({"/": DATA}) as server:
        error = failure(server.url(host=host), public_addresses_only=True)
    assert type(error) is AccessDeniedError
    assert str(error) == "not an address of the public internet"
    assert server.connections == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%lo"])
def test_names_of_addresses_that_are_not_public(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that a name resolves to is checked, not the name."""
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: pytest.fail("connected"))
    resolve(monkeypatch, address)
    for host in ("images.invalid", "localhost.", "8.8.8.8.invalid"):
        error = failure(f"http://{host}/", public_addresses_only=True)
        assert str(error) == "not an address of the public internet"


def test_redirects_to_addresses_that_are_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public server cannot redirect to an address that is not public."""
    monkeypatch.setattr(policy, "_is_public", lambda address: address == "127.0.0.1")
    with serving({"/a": redirect("http://127.0.0.2/"), "/b": DATA}) as server:
        assert read(server.url("/b"), public_addresses_only=True).data == DATA
        error = failure(server.url("/a"), public_addresses_only=True)
    assert type(error) is AccessDeniedError


def test_names_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection uses the address that was checked, and no other of the name."""
    monkeypatch.setattr(policy, "_is_public", lambda address: address == "127.0.0.1")
    looked_up = resolve(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.3")
    connected = []
    connect = socket.socket.connect_ex

    def connect_ex(sock: socket.socket, address: tuple[str, int]) -> int:
        connected.append(address[0])
        return connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    with serving({"/": DATA}) as server:
        url = server.url(host="images.invalid")
        assert read(url, public_addresses_only=True).data == DATA
    assert looked_up == ["images.invalid"]
    assert connected == ["127.0.0.1"]
    assert server.requests[0].headers["host"] == f"images.invalid:{server.port}"


def test_one_of_several_addresses_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first address of a host does not answer, the next is tried."""
    resolve(monkeypatch, "127.0.0.2", "127.0.0.1")
    with serving({"/": DATA}) as server:
        assert read(server.url(host="images.invalid")).data == DATA


# Servers that are not there


def test_an_unknown_host() -> None:
    """An unknown name is unreachable."""
    error = failure("http://nowhere.invalid/a.jpg")
    assert type(error) is UnreachableError
    assert str(error) == "the name of the host is not known (2 tries)"


def test_a_refused_port() -> None:
    """A closed port is unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/a.jpg")
    assert type(error) is UnreachableError
    assert str(error) == "the connection was refused (6 tries)"


# TLS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls(host: str, trusted: Authority) -> None:
    """A server with a trusted certificate is read from."""
    with serving({"/a": DATA}, tls=trusted.context(host)) as server:
        reader = Reader()
        assert reader(server.url("/a", host=host)).data == DATA
        assert reader(server.url("/a", host=host), (1, 5)).data == DATA[1:6]
    assert server.connections == 1


def test_tls_verifies_the_name(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is verified against the name in the URL, not the address."""
    monkeypatch.setattr(policy, "_is_public", lambda _: True)
    resolve(monkeypatch)
    with serving({"/a": DATA}, tls=trusted.context("images.invalid")) as server:
        for name in ("images.invalid", "images.invalid."):
            assert read(server.url("/a", host=name), public_addresses_only=True).data == DATA
        error = failure(server.url("/a", host="other.invalid"), public_addresses_only=True)
        address = failure(server.url("/a"))
    assert type(error) is type(address) is UnreachableError
    reason = "the certificate of the server cannot be trusted: it is for another host"
    assert str(error) == str(address) == reason
    assert server.connections == 4


def test_an_untrusted_certificate(authority: Authority) -> None:
    """A server with an untrusted certificate is unreachable, without a retry."""
    with serving({"/a": DATA}, tls=authority.context("127.0.0.1")) as server:
        error = failure(server.url("/a"))
    assert type(error) is UnreachableError
    assert str(error).startswith("the certificate of the server cannot be trusted: ")
    assert server.connections == 1
    assert server.requests == []


def test_no_tls_at_all(objects: Server) -> None:
    """A server that does not speak TLS is unreachable."""
    error = failure(objects.url("/a").replace("http:", "https:"))
    assert type(error) is UnreachableError
    assert str(error).startswith("TLS failed: ")


def test_a_handshake_that_is_cut() -> None:
    """A connection that is closed during the handshake is retried."""
    with serving(lambda _: b"") as server:
        url = server.url().replace("http:", "https:")
        server._receive = lambda *_: None  # type: ignore[method-assign] # noqa: SLF001
        error = failure(url)
    assert str(error) == "the connection was cut (6 tries)"


# Proxies


def proxy(request: Request) -> Answer:
    """Answer for every server, and relay for TLS."""
    return Wire.tunnel if request.method == "CONNECT" else ranged(DATA, request)


def test_a_proxy_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment gets the whole URL, and its own credentials."""
    with serving(proxy) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url(user="pro:xy"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        reader = Reader()
        for _ in range(2):
            assert reader("http://me:pw@images.invalid/a b?c=%2f").data == DATA
        url = server.url("/direct")
        assert reader(url, (0, 5)).data == DATA[:5]
    first, second, direct = server.requests
    assert first.target == second.target == "http://images.invalid/a%20b?c=%2f"
    assert first.headers["host"] == "images.invalid"
    assert first.headers["proxy-authorization"] == "Basic cHJvOnh5"
    assert first.headers["authorization"] == "Basic bWU6cHc="
    assert direct.target == "/direct"
    assert "proxy-authorization" not in direct.headers
    assert (first.connection, second.connection, direct.connection) == (0, 0, 1)


@pytest.mark.parametrize("safe", [False, True])
def test_a_proxy_for_https(
    safe: bool,  # noqa: FBT001
    trusted: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy relays TLS, and gets nothing but the name of the server."""
    tls = trusted.context("127.0.0.1") if safe else None
    with (
        serving({"/a": DATA}, tls=trusted.context("images.invalid")) as server,
        serving(proxy, tls=tls) as relay,
    ):
        monkeypatch.setenv("HTTPS_PROXY", relay.url(user="pro:xy"))
        reader = Reader()
        url = server.url(f"/a?{SECRET}", host="images.invalid", user="me:pw")
        assert reader(url).data == DATA
        assert reader(url, (0, 5)).data == DATA[:5]
        failure(server.url("/a", host="other.invalid"))
    connect = relay.requests[0]
    assert (connect.method, connect.target) == ("CONNECT", f"images.invalid:{server.port}")
    assert connect.headers["proxy-authorization"] == "Basic cHJvOnh5"
    assert "authorization" not in connect.headers
    assert len(relay.requests) == 2
    assert [request.headers["authorization"] for request in server.requests] == [
        "Basic bWU6cHc="
    ] * 2


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (407, AccessDeniedError, ""),
        (403, AccessDeniedError, ""),
        (502, UnreachableError, " (6 tries)"),
    ],
)
def test_a_proxy_that_refuses(
    status: int, kind: type[ImageError], tries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a proxy that refuses contains its status."""
    with serving(lambda _: Response(status=status, hangs_up=True)) as relay:
        monkeypatch.setenv("HTTPS_PROXY", relay.url())
        error = failure("https://images.invalid/a")
    assert type(error) is kind
    assert str(error).startswith(f"the proxy answered {status} ")
    assert str(error).endswith(tries)


def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names an unusable proxy as the reason."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    error = failure("http://images.invalid/a")
    assert type(error) is UnreachableError
    assert "proxy" in str(error)


def test_no_proxy_where_addresses_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is not used, because it could reach addresses that the policy forbids."""
    monkeypatch.setattr(policy, "_is_public", lambda address: address == "127.0.0.1")
    with serving(proxy) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url())
        error = failure("http://127.0.0.2/a", public_addresses_only=True)
    assert type(error) is AccessDeniedError
    assert server.connections == 0


# Logs


def test_nothing_secret_is_logged(
    caplog: pytest.LogCaptureFixture, trusted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No log record of any level contains a query or a password."""
    caplog.set_level(logging.DEBUG)
    routes: dict[str, Any] = {
        "/good": [Response(DATA, hangs_up=True), DATA],
        "/both": Response(DATA, chunks=True, headers={"Content-Length": "5"}),
        "/headers": raw(OK + b"no colon here\r\nContent-Length: 1\r\n\r\nx"),
        "/moved": redirect(f"/good?{SECRET}"),
        "/gone": Response(status=404),
        "/busy": Response(status=503),
        "/broken": reset(),
    }
    with (
        serving(routes, tls=trusted.context("127.0.0.1")) as safe,
        serving(routes) as plain,
        serving(proxy) as relay,
    ):
        for server in (safe, plain, relay):
            for path in routes:
                try:
                    read(server.url(f"{path}?{SECRET}", user="me:pa55word"))
                except ImageError:
                    continue
        monkeypatch.setenv("HTTP_PROXY", relay.url(user="pro:pa55word"))
        assert read(f"http://me:pa55word@images.invalid/?{SECRET}").data == DATA
    logged = caplog.text
    assert "Failed to parse headers" in logged
    for secret in ("c0ffee", "pa55word", "Basic", base64.b64encode(b"me:pa55word").decode()):
        assert secret not in logged


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_a_defect_of_this_package_is_no_failure_of_an_image(
    kind: type[Exception], objects: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library has not raised ends the extraction, also an error in a value."""

    def interpret(*_: object) -> None:
        message = "a defect"
        raise kind(message)

    monkeypatch.setattr(web, "interpret", interpret)
    with pytest.raises(kind, match="a defect"):
        read(objects.url("/9"))


def test_what_the_library_does_not_understand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that it does not expect in an answer is a failure of the image."""

    def read(*_: object, **__: object) -> bytes:
        message = "invalid literal for int()"
        raise ValueError(message)

    monkeypatch.setattr(HTTPResponse, "read", read)
    error = fails(DATA)
    assert isinstance(error, UnreachableError)
    assert str(error).startswith("the answer is not valid HTTP")
