"""Every engine gives what Polars gives, row for row, whatever happens to its workers."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import own_properties
import polars as pl
import pytest
import servers
from faults import serving
from hosts import EngineError, Host, host_of
from PIL import Image
from polars.testing import assert_frame_equal
from servers import aws, s3_client

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import PropertyLike

WANTED = ["standard", "source"]
PARAMETERS = [
    pytest.param("ray", marks=pytest.mark.slow),
    pytest.param("dask", marks=pytest.mark.slow),
    pytest.param("spark", marks=[pytest.mark.slow, pytest.mark.java]),
    pytest.param("daft", marks=[pytest.mark.slow, pytest.mark.daft]),
]


@pytest.fixture(scope="module", params=PARAMETERS)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A host of each engine."""
    name = request.param
    python = request.getfixturevalue("daft_python") if name == "daft" else sys.executable
    with host_of(name, python, tmp_path_factory.mktemp(name)) as running:
        yield running


THREADS = {"ray": 1, "dask": 2, "spark": 1, "daft": 1}


@pytest.fixture(scope="module")
def images(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the sample images, some of which are damaged, and copies of them."""
    folder = tmp_path_factory.mktemp("images")
    for file in (sample_folder / "photos").iterdir():
        for copy in range(4):
            shutil.copy2(file, folder / f"{copy}-{file.name}")
    return folder


@pytest.fixture(scope="module")
def frame(images: Path) -> pl.DataFrame:
    """Photos, damaged files, missing ones, nulls, and images that several rows name."""
    paths = [str(file) for file in sorted(images.iterdir())]
    rows = [*paths, None, str(images / "gone.png"), *paths[::5], None]
    frame = pl.DataFrame({"id": range(len(rows)), "path": rows})
    return frame.with_columns(label=(pl.col("id") % 3).cast(pl.String))


def check(result: tuple[pl.DataFrame, im.Digest], expected: pl.DataFrame) -> None:
    """Rows, columns and digests are equal; order is the engine's."""
    rows, digest = result
    assert_frame_equal(rows.sort("id"), expected)
    assert digest == im.digest(expected)


def test_files(host: Host, frame: pl.DataFrame) -> None:
    """Rows and digests are those of Polars, and the work was done by several processes."""
    check(host.extract(frame, properties=WANTED), im.extract(frame, "path", WANTED))


def test_complete_rows_pass_through(host: Host, frame: pl.DataFrame, tmp_path: Path) -> None:
    """They are not read: their files are gone. What lacks is computed."""
    moved = tmp_path / "moved"
    shutil.copytree(Path(frame["path"][0]).parent, moved)
    paths = pl.col("path").str.replace(r"^.*/", f"{moved}/")
    complete = im.extract(frame.with_columns(paths), "path")
    partly = complete.with_columns(
        path_imgmeta=pl.when(pl.col("id") % 4 > 0).then(pl.col("path_imgmeta"))
    )
    lacking = partly.filter(pl.col("path_imgmeta").is_null())["path"].drop_nulls()
    for file in moved.iterdir():
        if str(file) not in set(lacking):
            file.unlink()
    result = host.extract(partly)
    check(result, complete)
    shutil.rmtree(moved)
    check(host.extract(result[0].sort("id")), complete)


def test_http(host: Host, images: Path) -> None:
    """Each image is asked for once; the schema asks for none."""
    files = {f"/{file.name}": file.read_bytes() for file in images.iterdir()}
    with serving(files) as server:
        urls = [server.url(name) for name in [*sorted(files), "/gone.png"]]
        frame = pl.DataFrame({"id": range(len(urls)), "path": urls})
        assert host.names(frame) == ["id", "path", "path_imgmeta"]
        assert not server.requests
        result = host.extract(frame)
        requested = Counter(server.targets)
        check(result, im.extract(frame, "path"))
    assert set(requested) == {*files, "/gone.png"}
    assert set(requested.values()) == {1}


@pytest.fixture(scope="module")
def moto(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server with the images."""
    with servers.s3_server(tmp_path_factory.mktemp("moto")) as url:
        client = s3_client(url)
        client.create_bucket(Bucket="photos")
        for file in images.iterdir():
            client.put_object(Bucket="photos", Key=file.name, Body=file.read_bytes())
        yield url


@pytest.mark.server
def test_s3(host: Host, images: Path, moto: str) -> None:
    """Options of storage reach the workers."""
    names = [*sorted(file.name for file in images.iterdir())[:12], "gone.png"]
    paths = [f"s3://photos/{name}" for name in names]
    frame = pl.DataFrame({"id": range(len(paths)), "path": paths})
    expected = im.extract(frame, "path", storage_options=aws(moto))
    assert expected.imgmeta.errors().height < len(names)  # type: ignore[attr-defined]
    check(host.extract(frame, storage_options=aws(moto)), expected)


def test_raising(host: Host, frame: pl.DataFrame) -> None:
    """The task fails, with the locator in the message."""
    rows = frame.filter(pl.col("path").str.ends_with("dusk.png"))
    gone = frame.filter(pl.col("path").str.ends_with("gone.png"))
    check(host.extract(rows, on_error="raise"), im.extract(rows, "path"))
    with pytest.raises(EngineError, match=r"/gone\.png': no such file"):
        host.extract(pl.concat([rows, gone]), on_error="raise")


def test_a_killed_worker(
    host: Host, frame: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dies in the middle, its task runs twice, and the result is equal."""
    monkeypatch.setenv(own_properties.MARKER_FILE, str(host.marker))
    if host.name == "daft":  # whose local runner does not start a process again
        with pytest.raises(EngineError, match="UDF process"):
            killed(host, "survived", frame, tmp_path)
        wanted = ["width", "own_properties:survived"]
        result = host.extract(deadly(frame, tmp_path), properties=wanted)
    else:
        result = killed(host, "survived", frame, tmp_path)
    assert host.marker.exists()
    check(result, im.extract(deadly(frame, tmp_path), "path", ["width", own_properties.survived]))


def deadly(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The frame with an image in the middle at which workers die."""
    path = folder / "deadly.png"
    if not path.exists():
        Image.new("RGB", (own_properties.DEADLY_WIDTH, 5)).save(path)
    middle = pl.col("id") == len(frame) // 2
    return frame.with_columns(path=pl.when(middle).then(pl.lit(str(path))).otherwise("path"))


def killed(
    host: Host, name: str, frame: pl.DataFrame, folder: Path
) -> tuple[pl.DataFrame, im.Digest]:
    """Extract with a property that kills once."""
    host.marker.unlink(missing_ok=True)
    return host.extract(deadly(frame, folder), properties=["width", f"own_properties:{name}"])


def test_grants(host: Host, frame: pl.DataFrame) -> None:
    """Workers use the threads that the engine granted, or that were set."""
    wanted = ["own_properties:thread_count", "own_properties:process"]
    rows, _ = host.extract(frame, properties=wanted)
    image = rows["path_imgmeta"].struct
    assert set(image.field("thread_count").drop_nulls()) == {THREADS[host.name]}
    assert image.field("process").drop_nulls().n_unique() >= 2
    rows, _ = host.extract(frame, properties=wanted, threads=3)
    assert set(rows["path_imgmeta"].struct.field("thread_count").drop_nulls()) == {3}


@pytest.mark.java
@pytest.mark.slow
def test_a_killed_machine(
    frame: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark has two executors, as on two machines; one dies, and the result is equal."""
    with host_of("spark-cluster", sys.executable, tmp_path) as host:
        monkeypatch.setenv(own_properties.MARKER_FILE, str(host.marker))
        result = killed(host, "executor_survived", frame, tmp_path)
        assert host.marker.exists()
    wanted: list[PropertyLike] = ["width", own_properties.executor_survived]
    check(result, im.extract(deadly(frame, tmp_path), "path", wanted))
