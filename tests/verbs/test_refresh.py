"""What changed at its source is read again, and nothing else; `status` says what that is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from engines import ENGINES, run
from faults import Answer, Request, Response, Server, ranged, redirect, serving
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.io.http import client as web
from polars_imgmeta.io.retries import RetryPolicy

PROPERTIES = ["geometry", "source"]
GONE = "not_found: the server answered 404 Not Found"


def image(width: int, height: int = 1) -> bytes:
    """Return an image whose size in bytes depends on its area."""
    return b"P6 %05d %05d 255\n" % (width, height) + bytes(3 * width * height)


def widths(frame: pl.DataFrame) -> list[int | None]:
    """Return the widths of the rows."""
    return frame["path_imgmeta"].struct.field("width").to_list()


def errors(frame: pl.DataFrame) -> list[str | None]:
    """Return the errors of the rows."""
    return frame["path_imgmeta"].struct.field("error").to_list()


def states(frame: pl.DataFrame) -> list[str | None]:
    """Return the states of the rows, from a check of their sources."""
    return im.status(frame, check_sources=True)["state"].to_list()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """A hundred images in files."""
    files = [tmp_path / f"{number:03}.ppm" for number in range(100)]
    for number, file in enumerate(files):
        file.write_bytes(image(number + 1))
        os.utime(file, (1_000_000_000, 1_000_000_000))
    return files


def of_files(paths: list[Path]) -> pl.DataFrame:
    """Return an extracted frame."""
    frame = pl.DataFrame({"path": list(map(str, paths))})
    return im.extract(frame, "path", PROPERTIES)


@pytest.mark.parametrize("engine", ENGINES)
def test_changed_files_are_read(engine: str, paths: list[Path], tmp_path: Path) -> None:
    """Another size, another time and a missing file each count; a second refresh reads nothing."""
    frame = of_files(paths)
    paths[3].write_bytes(image(1000))
    paths[50].write_bytes(image(1, 51))  # as large as before
    os.utime(paths[60])
    paths[99].unlink()
    assert Counter(states(frame)) == {"ok": 96, "changed": 3, "gone": 1}
    with count_reads(tmp_path) as opened:
        done = run(engine, frame, im.refresh)
    assert opened == {"003.ppm": 1, "050.ppm": 1, "060.ppm": 1, "099.ppm": 1}
    assert widths(done) == [
        {3: 1000, 50: 1, 99: None}.get(number, number + 1) for number in range(100)
    ]
    assert errors(done)[99] == "not_found: no such file"
    with count_reads(tmp_path) as opened:
        assert_frame_equal(run(engine, done, im.refresh), done)
    assert not opened
    assert_frame_equal(done, of_files(paths))


def test_states(paths: list[Path], tmp_path: Path) -> None:
    """Each state at once; without a check of sources nothing is asked."""
    frame = of_files(paths[:3])
    broken = tmp_path / "broken.ppm"
    broken.write_bytes(b"P6 what")
    late = tmp_path / "late.ppm"
    others = im.extract(pl.DataFrame({"path": [str(broken), str(late)]}), "path", PROPERTIES)
    new = pl.DataFrame({"path": [str(paths[5]), None]}).with_columns(
        pl.lit(None, frame.schema["path_imgmeta"]).alias("path_imgmeta")
    )
    other = frame[:1].with_columns(path=pl.lit(str(paths[8])))
    frame = pl.concat([frame, others, new, other])
    paths[0].unlink()
    os.utime(paths[1])
    known = ["ok", "ok", "ok", "failed", "failed", "missing", None, "stale"]
    assert im.status(frame)["state"].to_list() == known
    assert states(frame) == ["gone", "changed", *known[2:]]
    late.write_bytes(image(7))
    assert states(frame) == ["gone", "changed", "ok", "failed", "changed", *known[5:]]
    done = im.refresh(frame)
    assert widths(done) == [None, 2, 3, None, 7, None, None, 1]
    assert states(done) == ["failed", "ok", "ok", "failed", "ok", *known[5:]]
    assert_frame_equal(done[-1], frame[-1])
    assert_frame_equal(im.retry(frame)[-1], frame[-1])
    assert widths(im.extract(done, "path"))[5:] == [6, None, 9]


def test_what_is_ignored_does_not_count(paths: list[Path], tmp_path: Path) -> None:
    """After a touch nothing is read without times; another size is still seen."""
    frame = of_files(paths)
    for path in paths:
        os.utime(path)
    with count_reads(tmp_path) as opened:
        assert_frame_equal(im.refresh(frame, ignore=["modified"]), frame)
    assert not opened
    paths[7].write_bytes(image(5000))
    with count_reads(tmp_path) as opened:
        assert widths(im.refresh(frame, ignore=["modified", "etag"]))[7] == 5000
        assert opened == {"007.ppm": 1}
        assert_frame_equal(im.refresh(frame, ignore=["modified", "file_size"]), frame)


def test_without_the_group_sizes_are_compared(paths: list[Path]) -> None:
    """The marker records the size, whatever the column holds."""
    frame = im.extract(pl.DataFrame({"path": list(map(str, paths))}), "path", "width")
    paths[4].write_bytes(image(2000))
    os.utime(paths[5])
    assert [row for row, state in enumerate(states(frame)) if state != "ok"] == [4]
    assert widths(im.refresh(frame))[4] == 2000


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_never_change(engine: str) -> None:
    """Images in the frame have a size, and neither time nor tag."""
    frame = pl.DataFrame({"path": [image(3), b"", None, b"no image"]})
    frame = im.extract(frame, "path", PROPERTIES)
    fields = frame["path_imgmeta"].struct
    assert fields.field("file_size").to_list() == [len(image(3)), 0, None, 8]
    assert fields.field("modified").null_count() == fields.field("etag").null_count() == 4
    assert_frame_equal(run(engine, frame, im.refresh), frame)
    assert states(frame) == ["ok", "failed", None, "failed"]


@dataclass
class Site:
    """A web server of numbered images.

    Attributes:
        images: The bytes of each image; None for one that was deleted.
        tags: How often each image was written.
        head: Whether the server supports HEAD.
        validators: Whether it declares times and tags.
        down: Whether it answers 400 to everything.
        server: The running server.
    """

    images: dict[str, bytes | None]
    tags: Counter[str] = field(default_factory=Counter)
    head: bool = True
    validators: bool = True
    down: bool = False
    server: Server = field(init=False)

    def handle(self, request: Request) -> Answer:
        """Answer a request."""
        if self.down:
            return Response(status=400)
        if request.path.startswith("/moved"):
            return redirect(request.path.removeprefix("/moved"), body=b"")
        data = self.images.get(request.path)
        head = request.method == "HEAD"
        if data is None or (head and not self.head):
            return Response(status=404 if data is None else 405)
        response = ranged(data, request)
        headers = {**response.headers, "Content-Length": str(len(response.body))}
        if self.validators:
            tag = self.tags[request.path]
            headers |= {
                "ETag": f'{"W/" if head else ""}"{tag}"',
                "Last-Modified": f"Wed, 21 Oct 2015 07:28:{tag:02} GMT",
            }
        return Response(b"" if head else response.body, response.status, headers)

    def write(self, path: str, data: bytes | None) -> None:
        """Replace or delete an image."""
        self.images[path] = data
        self.tags[path] += 1

    def frame(self, prefix: str = "") -> pl.DataFrame:
        """Return the images, extracted, and forget the requests."""
        urls = [self.server.url(prefix + path) for path in self.images]
        frame = im.extract(pl.DataFrame({"path": urls}), "path", PROPERTIES)
        self.server.requests.clear()
        return frame

    def asked(self) -> dict[str, Counter[str]]:
        """Return the requested paths by method, and forget them."""
        found: dict[str, Counter[str]] = {"HEAD": Counter(), "GET": Counter()}
        for request in self.server.requests:
            found[request.method][request.path] += 1
        self.server.requests.clear()
        return found


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server of a hundred images."""
    monkeypatch.setattr(web, "RETRIES", RetryPolicy(first_pause=0.002))
    site = Site({f"/{number:03}.ppm": image(number + 1) for number in range(100)})
    with serving(site.handle) as site.server:
        yield site


@pytest.mark.server
@pytest.mark.parametrize("engine", ENGINES)
def test_each_object_is_asked_once(engine: str, site: Site) -> None:
    """One HEAD request an object, one GET request for each that changed."""
    frame = site.frame()
    once = dict.fromkeys(site.images, 1)
    assert_frame_equal(run(engine, frame, im.refresh), frame)
    assert site.asked() == {"HEAD": once, "GET": {}}
    site.write("/010.ppm", image(1000))
    site.write("/020.ppm", image(1, 21))  # as large as before
    site.write("/030.ppm", None)
    sent = site.server.bytes_sent
    done = run(engine, frame, im.refresh)
    assert site.server.bytes_sent - sent < 100 * 300 + 4000
    assert site.asked() == {
        "HEAD": once,
        "GET": {"/010.ppm": 1, "/020.ppm": 1, "/030.ppm": 1},
    }
    changed = {10: 1000, 20: 1, 30: None}
    assert widths(done) == [changed.get(number, number + 1) for number in range(100)]
    assert errors(done) == [GONE if number == 30 else None for number in range(100)]
    assert_frame_equal(run(engine, done, im.refresh), done)
    assert site.asked() == {"HEAD": once, "GET": {}}
    assert states(done).count("failed") == 1
    site.write("/030.ppm", image(77))
    assert states(done)[30] == "changed"
    assert widths(im.refresh(done))[30] == 77


@pytest.mark.server
def test_the_source_takes_no_request_more(site: Site) -> None:
    """Size, time and tag come from the read itself."""
    urls = pl.DataFrame({"path": [site.server.url(path) for path in site.images]})
    frame = im.extract(urls, "path", ["standard", "source"])
    assert site.asked() == {"HEAD": {}, "GET": dict.fromkeys(site.images, 1)}
    fields = frame["path_imgmeta"].struct
    assert fields.field("file_size").to_list() == [
        len(data or b"") for data in site.images.values()
    ]
    assert fields.field("etag").to_list() == ["0"] * 100
    assert str(fields.field("modified")[0]) == "2015-10-21 07:28:00+00:00"
    im.extract(urls, "path", "source")
    assert site.asked() == {"HEAD": {}, "GET": dict.fromkeys(site.images, 1)}


@pytest.mark.server
@pytest.mark.parametrize(("head", "validators"), [(False, True), (True, False), (False, False)])
def test_modest_servers(site: Site, head: bool, validators: bool) -> None:  # noqa: FBT001
    """Where HEAD is refused, the first byte is requested; without tags, sizes are compared."""
    site.head, site.validators = head, validators
    frame = site.frame()
    site.write("/010.ppm", image(1000))
    done = im.refresh(frame)
    assert widths(done)[10] == 1000
    asked = site.asked()
    assert asked["HEAD"] == dict.fromkeys(site.images, 1)
    assert asked["GET"].total() == (1 if head else 101)
    assert_frame_equal(im.refresh(done), done)


@pytest.mark.server
def test_facts_that_a_server_gives_later(site: Site) -> None:
    """A tag where none was recorded, or none where one was, is no change."""
    site.validators = False
    frame = site.frame()
    site.validators = True
    assert_frame_equal(im.refresh(frame), frame)
    tagged = site.frame()
    site.validators = False
    assert_frame_equal(im.refresh(tagged), tagged)


@pytest.mark.server
def test_an_unreachable_server_changes_nothing(site: Site) -> None:
    """Rows stay as they are, in the state that they have without a check."""
    site.images["/none.ppm"] = None
    frame = site.frame()
    site.down = True
    assert_frame_equal(im.refresh(frame), frame)
    assert states(frame) == ["ok"] * 100 + ["failed"]
    assert site.asked()["GET"] == {}
    with serving({}) as server:
        url = server.url("/000.ppm")
    moved = frame[:1].with_columns(path=pl.lit(url))  # the base name is the same
    assert states(moved) == ["ok"]
    assert_frame_equal(im.refresh(moved, access=im.Access(timeout=0.5)), moved)


@pytest.mark.server
def test_a_probe_keeps_to_the_policy(site: Site) -> None:
    """Redirects are followed; what is not allowed is not asked, and stays as it is."""
    frame = site.frame("/moved")
    site.write("/010.ppm", image(1000))
    assert widths(im.refresh(frame))[10] == 1000
    site.asked()
    denied = im.Access(hosts=["example.org"])
    assert_frame_equal(im.refresh(frame, access=denied), frame)
    assert im.status(frame, check_sources=True, access=denied)["state"].unique().to_list() == ["ok"]
    assert not site.server.requests


@pytest.mark.server
def test_files_and_objects_in_one_column(site: Site, paths: list[Path]) -> None:
    """Each row is asked where its locator leads; a repeated locator is asked once."""
    located = [str(paths[0]), site.server.url("/001.ppm"), None, site.server.url("/001.ppm")]
    frame = im.extract(pl.DataFrame({"path": located}), "path", PROPERTIES)
    site.asked()
    site.write("/001.ppm", image(9))
    paths[0].write_bytes(image(8))
    assert states(frame) == ["changed", "changed", None, "changed"]
    assert site.asked() == {"HEAD": {"/001.ppm": 1}, "GET": {}}
    assert widths(im.refresh(frame)) == [8, 9, None, 9]
    assert site.asked() == {"HEAD": {"/001.ppm": 1}, "GET": {"/001.ppm": 1}}
