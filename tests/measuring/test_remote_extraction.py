"""Columns of URLs, end to end: the requests that are made, and the rows that result."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from engines import ENGINES, run
from faults import (
    Answer,
    Answers,
    Request,
    Response,
    Server,
    Wire,
    endless,
    redirect,
    reset,
    serving,
    silence,
)
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from PIL import Image
from polars.testing import assert_series_equal
from typical import TYPICAL

import polars_imgmeta as im
from polars_imgmeta.decoding import headers
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.runtime import DEFAULT
from polars_imgmeta.typing import PropertyName

SECRET = "5ecret"  # noqa: S105 - not a real one
GONE = "not_found: the server answered 404 Not Found"

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def pictures(sample_folder: Path) -> dict[str, bytes]:
    """Return the sample images by the paths under which a server has them."""
    files = sorted((sample_folder / "photos").iterdir())
    return {f"/{file.name}": file.read_bytes() for file in files}


@pytest.fixture
def server(pictures: dict[str, bytes]) -> Iterator[Server]:
    """Serve the sample images."""
    with serving(pictures) as running:
        yield running


def errors_of(frame: pl.DataFrame) -> list[str | None]:
    """Return the errors of the rows."""
    return frame["path_imgmeta"].struct.field("error").to_list()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("properties", ["standard", "geometry"])
def test_local_and_remote_images_have_the_same_values(
    engine: str, properties: PropertyName, sample_folder: Path, server: Server
) -> None:
    """Values and errors are the same for local and remote images."""
    names = [file.name for file in sorted((sample_folder / "photos").iterdir())]
    local = [str(sample_folder / "photos" / name) for name in names]
    remote = [server.url(f"/{name}") for name in names]
    mixed = [path for pair in zip(local, remote, strict=True) for path in pair]
    done = run(
        engine,
        pl.DataFrame({"path": [*mixed, None]}),
        lambda frame: frame.imgmeta.extract("path", properties),
    )["path_imgmeta"]
    assert done.null_count() == 1
    assert_series_equal(done.gather_every(2).head(len(names)), done.gather_every(2, 1))
    assert done.struct.field("error").null_count() > 9


@pytest.mark.parametrize("name", TYPICAL)
def test_geometry_reads_ranges(name: str) -> None:
    """The header of an image of a megabyte or more takes a few kilobytes."""
    data = TYPICAL[name]()
    with serving({"/a": data}) as server:
        frame = im.extract(pl.DataFrame({"path": [server.url("/a")]}), "path", "geometry")
        sent = server.bytes_sent
        assert errors_of(frame) == [None]
        assert frame["path_imgmeta"].struct.field("size").item() in {1000**2, 400**2}
        heads = 300 * len(server.requests)
        assert sent <= (64 << 10) + heads
        whole = im.add(frame, "brightness")
        assert errors_of(whole) == [None]
        assert server.bytes_sent - sent <= len(data) + 300


def test_a_server_without_ranges_sends_the_whole_once() -> None:
    """A server that ignores ranges gets a single request."""
    data = TYPICAL["PNG with metadata"]()
    with serving({"/a": Response(data)}) as server:
        frame = im.extract(pl.DataFrame({"path": [server.url("/a")]}), "path", "geometry")
        assert errors_of(frame) == [None]
        assert len(server.requests) == 1


def test_all_properties_take_one_request(server: Server) -> None:
    """All properties of an image take one request, for any number of rows."""
    urls = [server.url(path) for path in ("/dusk.png", "/noise.png", "/dusk.png")] * 20
    frame = im.extract(pl.DataFrame({"path": urls}), "path")
    assert sorted(server.targets) == ["/dusk.png", "/noise.png"]
    assert errors_of(frame) == [None] * 60
    im.extract(frame, "path")
    im.remove(frame, "width")
    assert len(server.requests) == 2


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_concurrent_requests_reach_their_limit(
    concurrency: int, pictures: dict[str, bytes]
) -> None:
    """The number of concurrent requests reaches the limit, and never exceeds it."""
    together = threading.Barrier(concurrency)
    lock = threading.Lock()
    inside = maximum = 0

    def answer(_: Request) -> bytes:
        nonlocal inside, maximum
        with lock:
            inside += 1
            maximum = max(maximum, inside)
        together.wait(20)
        with lock:
            inside -= 1
        return pictures["/dusk.png"]

    with serving(answer) as server:
        urls = [server.url(f"/{number}") for number in range(3 * concurrency)]
        frame = im.extract(
            pl.DataFrame({"path": urls}), "path", access=im.Access(concurrency=concurrency)
        )
    assert errors_of(frame) == [None] * len(urls)
    assert maximum == concurrency
    assert server.connections <= concurrency


@pytest.mark.slow
def test_declared_sizes_do_not_exhaust_the_budget(
    pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that declare huge sizes and send nothing delay no other image."""
    monkeypatch.setattr(DEFAULT, "transfer_bytes", Budget(1 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n"
    all_served = threading.Event()
    served: list[str] = []

    def promise(wire: Wire) -> None:
        wire.send(head)
        # Until all other images have been served.
        if not all_served.wait(20):
            served.append("too late")
        wire.reset()

    def answer(request: Request) -> Answer:
        if "bad" in request.path:
            return promise
        served.append(request.path)
        if len(served) == 50:
            all_served.set()
        return pictures["/dusk.png"]

    with serving(answer) as server:
        bad = [server.url(f"/bad{number}") for number in range(6)]
        good = [server.url(f"/{number}") for number in range(50)]
        frame = im.extract(
            pl.DataFrame({"path": bad + good}), "path", access=im.Access(concurrency=8, timeout=20)
        )
    assert "too late" not in served
    errors = errors_of(frame)
    assert errors[6:] == [None] * 50
    assert all(error and error.startswith("unreachable: ") for error in errors[:6])
    assert DEFAULT.transfer_bytes.held == 0


class Unexpected(BaseException):
    """What no decoder raises."""


@pytest.mark.parametrize("properties", ["geometry", "standard"])
def test_an_unexpected_exception_releases_memory(
    properties: PropertyName, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no failure of an image is raised, and the memory of fetched ones is released."""

    def fail(_: object) -> None:
        raise Unexpected

    monkeypatch.setattr(headers, "read_header", fail)
    frame = pl.DataFrame({"path": [server.url("/dusk.png"), server.url("/noise.png")] * 20})
    with pytest.raises(Unexpected):
        im.extract(frame, "path", properties)
    assert DEFAULT.transfer_bytes.held == 0


def test_a_small_budget_is_enough(
    pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that do not fit into the budget together are fetched in turn, of unknown size too."""
    monkeypatch.setattr(DEFAULT, "transfer_bytes", Budget(10_000))
    data = pictures["/noise.png"]
    assert len(data) > 10_000
    with serving(
        lambda request: Response(data, chunks=True) if "odd" in request.path else data
    ) as server:
        urls = [server.url(f"/{'odd' if number % 2 else 'even'}{number}") for number in range(40)]
        frame = im.extract(pl.DataFrame({"path": urls}), "path")
    assert errors_of(frame) == [None] * 40
    assert DEFAULT.transfer_bytes.held == 0


FAULTS: dict[str, Answers] = {
    "gone": Response(status=404),
    "denied": Response(status=403),
    "broken": Response(status=500),
    "busy": Response(status=429, headers={"Retry-After": "1000"}),
    "reset": reset(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
    "silent": silence(),
    "endless": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000),
    "huge": Response(headers={"Content-Length": "99999999999"}),
    "loop": redirect("/loop"),
    "page": Response(b"<html>"),
    "empty": Response(b""),
}
KINDS = {
    "gone": "not_found",
    "denied": "access_denied",
    "broken": "unreachable",
    "busy": "unreachable",
    "reset": "unreachable",
    "silent": "unreachable",
    "endless": "too_large",
    "huge": "too_large",
    "loop": "unreachable",
    "page": "unsupported",
    "empty": "corrupt",
}


@pytest.mark.parametrize("properties", ["width", "brightness"])
def test_a_fault_affects_its_row_only(properties: PropertyName, pictures: dict[str, bytes]) -> None:
    """Each fault has its kind, within the timeout, and intact images are complete."""
    access = im.Access(timeout=1.5, max_bytes=1 << 20)
    routes: dict[str, Answers] = {f"/{name}": fault for name, fault in FAULTS.items()}
    routes |= pictures
    with serving(routes) as server:
        urls = {name: server.url(f"/{name}?key={SECRET}") for name in FAULTS}
        sound = [server.url("/dusk.png"), server.url("/noise.png")]
        frame = pl.DataFrame({"path": [sound[0], *urls.values(), sound[1]]})
        started = time.monotonic()
        done = im.extract(frame, "path", properties, access=access)
        assert time.monotonic() - started < 15
    errors = errors_of(done)
    assert errors[0] is errors[-1] is None
    found = dict(zip(FAULTS, errors[1:-1], strict=True))
    assert {name: str(error).partition(":")[0] for name, error in found.items()} == KINDS
    for error in found.values():
        assert SECRET not in str(error)
        assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_failing_row_is_raised(
    engine: str, server: Server, pictures: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The message contains the URL without secrets, and no log contains them."""
    caplog.set_level(logging.DEBUG)
    failing = {"/empty.jpg", "/notes.jpg", "/truncated.png"}
    good = [server.url(path) for path in pictures if path not in failing]
    gone = [server.url(f"/gone{n}.png?key={SECRET}", user=f"me:{SECRET}") for n in range(2)]
    frame = pl.DataFrame({"path": [*good, *gone, *good]})
    with pytest.raises(im.NotFoundError) as caught:
        run(engine, frame, lambda frame: frame.imgmeta.extract("path", on_error="raise"))
    message = str(caught.value).splitlines()[0]
    assert message == f"'{server.url('/gone0.png')}?...': {GONE.partition(': ')[2]}"
    assert SECRET not in caplog.text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_failing_row_is_raised_at_once(scheme: str) -> None:
    """An error is raised without waiting for the images behind it."""
    with serving({"/a": [silence(), b""]}) as server:
        url = server.url("/a") if scheme == "http" else "s3://bucket/a"
        options = {"aws_endpoint_url": server.url(""), "aws_region": "eu-central-1"}
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "word"}
        started = time.monotonic()
        with pytest.raises(im.NotFoundError, match=r"^'gone\.png': no such file"):
            im.extract(
                pl.DataFrame({"path": ["gone.png", url]}),
                "path",
                on_error="raise",
                storage_options=options | keys,
            )
        assert time.monotonic() - started < 20
    with serving({"/a": b""}) as server, pytest.raises(im.CorruptError):
        im.extract(pl.DataFrame({"path": [server.url("/a"), "gone.png"]}), "path", on_error="raise")


def test_failed_rows_are_retried(pictures: dict[str, bytes]) -> None:
    """A retry reads the failed rows only."""
    with serving(
        {**pictures, "/late.png": [Response(status=404), pictures["/dusk.png"]]}
    ) as server:
        frame = pl.DataFrame({"path": [server.url("/noise.png"), server.url("/late.png")]})
        frame = im.extract(frame, "path", "brightness")
        assert errors_of(frame) == [None, GONE]
        frame = im.retry(frame)
        assert errors_of(frame) == [None, None]
        assert sorted(server.targets) == ["/late.png", "/late.png", "/noise.png"]


def test_a_redirect_cannot_leave_what_is_allowed(pictures: dict[str, bytes]) -> None:
    """No request is sent to the target of a forbidden redirect."""
    with serving(pictures) as inside, serving({"/a": redirect(inside.url("/dusk.png"))}) as outside:
        frame = pl.DataFrame({"path": [outside.url("/a", host="localhost")]})
        access = im.Access(schemes=["http"], hosts=["localhost"])
        assert errors_of(im.extract(frame, "path", "width", access=access)) == [
            "access_denied: not among the allowed hosts"
        ]
        assert inside.connections == 0
        assert errors_of(im.extract(frame, "path", "width")) == [None]


def test_local_addresses_can_be_denied(server: Server) -> None:
    """Local addresses can be denied by any name, for thumbnails as well as for properties."""
    hosts = ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"]
    frame = pl.DataFrame({"path": [server.url("/dusk.png", host=host) for host in hosts]})
    access = im.Access(public_addresses_only=True)
    kinds = {
        str(error).partition(":")[0]
        for error in errors_of(im.extract(frame, "path", access=access))
    }
    assert kinds <= {"access_denied", "invalid_locator"}
    done = im.extract(frame.head(1), "path", "brightness")
    asked = len(server.requests)
    assert "data:image" not in im.show(done, access=access)._repr_html_()
    assert len(server.requests) == asked
    assert "data:image" in im.show(done)._repr_html_()


@pytest.mark.parametrize("place", ["{}", "s3://bucket"])
def test_an_interrupt_ends_a_call(place: str, tmp_path: Path) -> None:
    """An interrupt ends a call to a silent server, and neither the next call nor the exit waits."""
    code = """if True:
        import _thread, threading, time
        import polars as pl, polars_imgmeta as im
        store = {"aws_endpoint_url": "URL", "aws_region": "a", "skip_signature": "true"}
        options = {"storage_options": store, "access": im.Access(timeout=1000, concurrency=1)}
        threading.Timer(0.5, _thread.interrupt_main).start()
        started = time.monotonic()
        try:
            im.extract(pl.DataFrame({"path": ["PLACE/a"]}), "path", **options)
        except KeyboardInterrupt:
            frame = im.extract(pl.DataFrame({"path": ["PLACE/empty"]}), "path", **options)
            print(frame["path_imgmeta"].struct.field("error").item())
            print(time.monotonic() - started < 60)
    """
    headers = {"ETag": '"a"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    empty = Response(headers=headers)
    with serving(lambda request: empty if "empty" in request.path else silence()) as server:
        url = server.url("")
        started = time.monotonic()
        done = run_python(code.replace("PLACE", place.format(url)).replace("URL", url), tmp_path)
        assert time.monotonic() - started < 90
    assert (done.stdout, done.stderr) == ("corrupt: the file is empty\nTrue\n", "")


def test_an_interrupt_ends_a_streaming_query(tmp_path: Path) -> None:
    """The streaming engine calls from its own threads, which Python does not interrupt."""
    code = (
        "import os, signal, threading, time\n"
        "import polars as pl, polars_imgmeta as im\n"
        "frame = pl.LazyFrame({'path': [f'URL{i}' for i in range(100)]})\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "started = time.monotonic()\n"
        "try:\n"
        "    try:\n"
        "        access = im.Access(timeout=1000)\n"
        "        im.extract(frame, 'path', access=access).collect(engine='streaming')\n"
        "    finally:\n"
        "        time.sleep(0.1)\n"  # Python raises again after Polars has
        "except KeyboardInterrupt:\n"
        "    print(time.monotonic() - started < 60)\n"
        "print(im.extract(pl.DataFrame({'path': ['GOOD']}), 'path', 'width').height)\n"
    )
    with serving(lambda request: b"" if request.path == "/good" else silence()) as server:
        code = code.replace("URL", server.url("/a")).replace("GOOD", server.url("/good"))
        done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("True\n1\n", "")


@given(status=st.sampled_from([200, 404, 500]))
def test_lazy_frames_make_no_request_before_collect(status: int) -> None:
    """Building a plan opens no connection."""
    with serving({"/a": Response(status=status)}) as server:
        lazy = pl.LazyFrame({"path": [server.url("/a")]})
        im.add(im.extract(lazy, "path", "width"), "brightness").explain()
        assert server.connections == 0


WITHOUT_EXTRA = """
import sys
sys.modules.update(urllib3=None, obstore=None)
import polars as pl
import polars_imgmeta as im
paths = ["photos/dusk.png", "https://example.invalid/a.png", "gs://bucket/a.png"]
frame = im.extract(pl.DataFrame({"path": paths}), "path", "width")
print(*frame["path_imgmeta"].struct.field("error"), sep="\\n")
for call in (
    lambda: im.extract(frame, "path", storage_options={"aws_region": "a"}),
    lambda: im.scan_images("s3://bucket"),
    lambda: im.run("s3://bucket/folder", "table"),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_without_the_extra(sample_folder: Path) -> None:
    """What needs the extra reports it, in its row or at once; all else works."""
    done = run_python(WITHOUT_EXTRA, sample_folder)
    assert done.stderr == ""
    install = "needs an extra: pip install 'polars-imgmeta[remote]'"
    assert done.stdout.splitlines() == [
        "None",
        f"unreachable: https:// {install}",
        f"unreachable: gs:// {install}",
        f"`storage_options` {install}",
        f"s3:// {install}",
        f"s3:// {install}",
    ]


def test_the_extra_is_loaded_when_it_is_needed(sample_folder: Path) -> None:
    """Neither the import nor local files load the extra."""
    code = (
        "import sys, polars_imgmeta as im\n"
        "im.scan_images('photos').imgmeta.extract('path').collect()\n"
        "print('urllib3' in sys.modules, 'obstore' in sys.modules)"
    )
    assert run_python(code, sample_folder).stdout == "False False\n"


FORK = """
import os, signal, sys, threading, warnings
from functools import partial
import polars as pl, polars_imgmeta as im
from polars_imgmeta.catalogue.registry import PropertySet
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.runtime import DEFAULT
from polars_imgmeta.io.remote import Storage
from polars_imgmeta.measuring.measurement import measure_all
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImagePrefetcher

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
url, path = sys.argv[1:]
wanted = PropertySet(im.CATALOGUE.resolve("standard"))
requests = [(url, wanted), (path, wanted)] * 20

def errors():
    found = scheduler.run(
        partial(measure_all, reading=Reading()),
        requests,
        prefetcher=ImagePrefetcher(Storage(), range(0, 40, 2)),
    )
    return [str(one.error) for _, one in sorted(sum(found, []))]

# Threads, fetchers, connections and threads for look-ups are there, and one is decoding.
expected = errors()
assert expected == ["None", expected[1]] * 20 and expected[1] != "None"
inside = threading.Event()
def decode():
    with isolated():
        inside.set()
        threading.Event().wait()
threading.Thread(target=decode, daemon=True).start()
assert inside.wait(60)
DEFAULT.pixels.take(DEFAULT.pixels.amount)
DEFAULT.transfer_bytes.take(DEFAULT.transfer_bytes.amount)
DEFAULT.gate.acquire()
if (child := os.fork()) == 0:
    signal.alarm(60)
    threads = cv2.getNumThreads()
    done = errors() == expected == errors()
    print("child", done, threads > 1 or os.cpu_count() == 1, flush=True)
    cv2.imread(path)  # is heard, since nothing decodes here
    os._exit(0)
print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


def test_a_forked_child_reads_what_its_parent_was_reading(server: Server, tmp_path: Path) -> None:
    """Pools, clients, look-ups, budgets, the gate and isolation are made anew in it."""
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, "JPEG")
    path = tmp_path / "damaged.jpg"
    path.write_bytes(data.getvalue()[:-2000])
    done = subprocess.run(
        [sys.executable, "-c", FORK, server.url("/dusk.png", host="localhost"), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "child True True\nexit 0\n", done.stderr
    assert done.stderr == "Premature end of JPEG file\n"
