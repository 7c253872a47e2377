"""What a job reads and writes, and what a second run does."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.column import runs
from polars_imgmeta.execution import progress
from polars_imgmeta.jobs import parts
from polars_imgmeta.jobs.known import KnownRows, hashes


@pytest.fixture(autouse=True)
def _small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with images, in parts of few rows."""
    monkeypatch.chdir(tmp_path)
    make_samples(tmp_path / "photos")
    monkeypatch.setattr(parts, "_PART_ROWS", 5)
    monkeypatch.setattr(parts, "_FIRST_BATCH", 2)
    monkeypatch.setattr(parts, "_SMALLEST_BATCH", 2)
    monkeypatch.setattr(parts, "_LARGEST_BATCH", 3)


@pytest.fixture
def table() -> pl.DataFrame:
    """Rows with labels, of which some are equal and some have no image."""
    paths = im.scan_images("photos").select("path").collect()["path"].to_list()
    return pl.DataFrame({"path": [*paths, paths[0], None, paths[0]], "label": ["a"] * 15})


def extracted(frame: pl.DataFrame, properties: Any = "standard") -> pl.DataFrame:  # noqa: ANN401
    """Return what a plain call makes."""
    return im.extract(frame, "path", properties)


SOURCES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "frame": lambda df: df,
    "lazy frame": lambda df: df.lazy(),
    "t.parquet": lambda df: df.write_parquet("t.parquet"),
    "t.csv": lambda df: df.write_csv("t.csv"),
    "t.ndjson": lambda df: df.write_ndjson("t.ndjson"),
    "t.arrow": lambda df: df.write_ipc("t.arrow"),
    "t-*.parquet": lambda df: [
        df.slice(n, 5).write_parquet(f"t-{n:02}.parquet") for n in range(0, 15, 5)
    ],
    "delta": lambda df: df.write_delta("delta"),
    "hive": lambda df: df.write_parquet("hive", partition_by="label", mkdir=True),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_source(source: str, table: pl.DataFrame) -> None:
    """Any source gives what a plain call gives, and a second run adds nothing."""
    made = SOURCES[source](table)
    given_source = made if source.endswith("frame") else source
    summary = im.run(given_source, "out", "path", "geometry")
    result = pl.read_parquet("out")
    assert_frame_equal(result, extracted(table, "geometry"), check_row_order=source != "hive")
    assert (summary.rows, summary.new, summary.failures) == (
        15,
        15,
        {"corrupt": 1, "unsupported": 1},
    )
    assert len(list(Path("out").glob("part-*.parquet"))) == 3
    with count_reads(Path("photos")) as opened:
        again = im.run(given_source, "out", "path", "geometry")
    assert not opened
    assert (again.rows, again.new, again.changed, again.not_in_source) == (15, 0, 0, 0)


def test_parts_are_flagged(table: pl.DataFrame) -> None:
    """The Arrow field metadata is that of `write_parquet`."""
    im.write_parquet(extracted(table, "geometry"), "whole.parquet")
    for output in ("out", "one.parquet"):
        im.run(table, output, "path", "geometry")
    expected = pq.read_schema("whole.parquet").field("path_imgmeta")
    for file in ("out/part-00000.parquet", "one.parquet"):
        field = pq.read_schema(file).field("path_imgmeta")
        assert field.metadata == expected.metadata
        assert field.type.field("width").metadata == expected.type.field("width").metadata


@pytest.mark.parametrize("output", ["out", "one.parquet"])
def test_a_source_that_grows_and_changes(output: str, table: pl.DataFrame) -> None:
    """New rows are added, changed images read again if wanted, and nothing else is opened."""
    im.run(table, output, "path", ["geometry", "source"])
    shutil.copy("photos/fog.png", "photos/new.png")
    more = pl.concat([pl.DataFrame({"path": ["photos/new.png"], "label": ["b"]}), table])
    with count_reads(Path("photos")) as opened:
        summary = im.run(more, output, "path", ["geometry", "source"])
    assert list(opened) == ["new.png"]
    assert (summary.rows, summary.new) == (16, 1)
    assert_frame_equal(
        pl.read_parquet(output), extracted(more, ["geometry", "source"]), check_row_order=False
    )
    shutil.copy("photos/dusk.png", "photos/dawn.png")
    with count_reads(Path("photos")) as opened:
        summary = im.run(more, output, "path", ["geometry", "source"], refresh=True)
    assert set(opened) == {"dawn.png"}
    assert summary.changed == 1
    with count_reads(Path("photos")) as opened:
        assert im.run(more.head(3), output, "path", "geometry").not_in_source == 13
    assert not opened


def test_properties_are_added_and_kept(table: pl.DataFrame) -> None:
    """A later run computes what the output lacks, and new rows get all that others have."""
    im.run(table.head(4), "out", "path", "brightness")
    summary = im.run(table, "out", "path", "geometry")
    assert (summary.new, summary.changed) == (11, 4)
    assert_frame_equal(pl.read_parquet("out"), extracted(table, ["geometry", "brightness"]))


def test_failed_rows_are_retried_when_told(table: pl.DataFrame) -> None:
    """Only rows with an error of the given kinds are read again."""
    im.run(table, "out", "path", "brightness", max_pixels=10_000)
    shutil.copy("photos/dusk.png", "photos/notes.jpg")
    assert im.run(table, "out", "path", "brightness").changed == 0
    with count_reads(Path("photos")) as opened:
        summary = im.run(table, "out", "path", "brightness", retry="unsupported")
    assert set(opened) == {"notes.jpg"}
    assert summary.changed == 1
    assert im.run(table, "out", "path", "brightness", retry=True).failures == {"corrupt": 2}
    with pytest.raises(ValueError, match="`kinds` must be among"):
        im.run(table, "out", "path", retry="unreadable")  # type: ignore[arg-type]


def test_overwriting_begins_anew(table: pl.DataFrame) -> None:
    """It must be said, where another job has made the output."""
    im.run(table, "out", "path", "width")
    with pytest.raises(im.JobError, match="another source") as caught:
        im.run(table.drop("label"), "out", "path", "width")
    assert "now:  path (String)" in str(caught.value)
    with pytest.raises(im.JobError, match="another name of the column"):
        im.run(table, "out", "path", "width", into="image")
    assert im.run(table.drop("label"), "out", "path", "width", overwrite=True).new == 15
    assert pl.read_parquet("out").columns == ["path", "path_imgmeta"]


def test_an_output_that_is_something_else(table: pl.DataFrame) -> None:
    """Nothing is written over what no job has made."""
    before = {one: one.read_bytes() for one in Path("photos").iterdir()}
    with pytest.raises(im.JobError, match="must be a new or empty folder"):
        im.run(table, "photos", "path", overwrite=True)
    assert {one: one.read_bytes() for one in Path("photos").iterdir()} == before
    table.write_parquet("table.parquet")
    with pytest.raises(im.JobError, match="no job has made it"):
        im.run(table, "table.parquet", "path")
    assert_frame_equal(pl.read_parquet("table.parquet"), table)
    Path("other").mkdir()
    table.write_parquet("other/part-00000.parquet")
    with pytest.raises(im.JobError, match="no record of the job"):
        im.run(table, "other", "path")
    Path("notes").write_text("text")
    with pytest.raises(im.InvalidLocatorError, match="must be a folder, or a file"):
        im.run(table, "notes", "path")
    for name in ("notes.txt", "table.csv.gz", "table.PQ"):
        with pytest.raises(im.JobError, match="must be a folder or a file that ends"):
            im.run(table, name, "path")


def test_a_source_that_is_the_output(table: pl.DataFrame) -> None:
    """It would be written while it is read."""
    im.run(table, "out", "path", "width")
    Path("link").symlink_to("out")
    for output in ("out", "out/", "link"):
        with pytest.raises(im.JobError, match="must not be the source"):
            im.run("out", output, "path", "height")
    assert im.properties(pl.scan_parquet("out")) == ["width"]


def test_an_output_may_be_renamed(table: pl.DataFrame) -> None:
    """It holds its own record."""
    im.run(table.head(4), "out", "path", "width")
    Path("out").rename("moved")
    assert im.run(table, "moved", "path", "width").new == 11


def test_a_part_that_is_gone_or_foreign(table: pl.DataFrame) -> None:
    """Rows of a part that was deleted are computed again; one of another job is refused."""
    im.run(table, "out", "path", "width")
    part = Path("out/part-00001.parquet")
    lost = len(pl.read_parquet(part))
    part.unlink()
    assert im.run(table, "out", "path", "width").new == lost
    table.write_parquet("out/part-00077.parquet")
    with pytest.raises(im.JobError, match="no part of the job"):
        im.run(table, "out", "path", "width")


def test_what_a_killed_run_left_beside_its_file_is_deleted(table: pl.DataFrame) -> None:
    """As it was making the file of its parts; files of other names stay."""
    Path(".one.parquet.01234567.tmp").write_text("unfinished")
    Path(".one.parquets.01234567.tmp").write_text("of another program")
    im.run(table, "one.parquet", "path", "width")
    assert sorted(one.name for one in Path().glob("*one*")) == [
        ".one.parquets.01234567.tmp",
        "one.parquet",
    ]


def test_two_runs_at_once(table: pl.DataFrame) -> None:
    """The second one is told, by whom it is written to, and changes nothing."""
    told: list[str] = []

    def interfere(_: im.Progress) -> None:
        with pytest.raises(im.JobError) as caught:
            im.run(table, "out", "path", "height")
        told.append(str(caught.value))

    im.run(table, "out", "path", "width", progress=interfere)
    assert f"another run is writing to out: process {os.getpid()}" in told[0]
    assert im.properties(pl.scan_parquet("out")) == ["width"]


@pytest.mark.parametrize("output", ["out", "one.parquet"])
def test_no_rows(output: str, table: pl.DataFrame) -> None:
    """The output has a schema nevertheless."""
    summary = im.run(table.clear(), output, "path", "width")
    assert summary.rows == 0
    assert_frame_equal(pl.read_parquet(output), extracted(table.clear(), "width"))
    assert im.run(table, output, "path", "width").rows == 15


def test_all_rows_fail(table: pl.DataFrame) -> None:
    """It is a result like any other."""
    lost = table.with_columns(path=pl.lit("lost/") + pl.int_range(pl.len()).cast(pl.String))
    assert im.run(lost, "out", "path").failures == {"not_found": 15}


def test_a_failure_that_raises_keeps_what_is_done(table: pl.DataFrame) -> None:
    """Under `on_error="raise"` the parts before it stay."""
    with pytest.raises(im.CorruptError, match="empty"):
        im.run(table, "out", "path", "width", on_error="raise")
    kept = len(pl.read_parquet("out"))
    assert 0 < kept < 5
    assert im.run(table, "out", "path", "width").new == 15 - kept


def test_mistakes_are_named_before_anything_is_written(table: pl.DataFrame) -> None:
    """As in every verb."""
    with pytest.raises(im.ColumnError, match="did you mean 'path'"):
        im.run(table, "out", "pth")
    with pytest.raises(im.ColumnError, match="must name the column of the table"):
        im.run(table, "out")
    with pytest.raises(im.PropertyError, match="did you mean 'width'"):
        im.run(table, "out", "path", "widht")
    with pytest.raises(im.NotFoundError, match=r"'no\.csv': no such file"):
        im.run("no.csv", "out", "path")
    assert not Path("out").exists()


def test_a_source_that_cannot_be_read_to_its_end(table: pl.DataFrame) -> None:
    """What came before is kept, and the next run goes on once it is mended."""
    table.head(7).write_parquet("t-0.parquet")
    table.slice(7).write_parquet("t-1.parquet")
    good = Path("t-1.parquet").read_bytes()
    Path("t-1.parquet").write_bytes(good[:200] + b"?" * 400 + good[600:])
    with pytest.raises(pl.exceptions.PolarsError):
        im.run("t-*.parquet", "out", "path", "width")
    Path("t-1.parquet").write_bytes(good)
    im.run("t-*.parquet", "out", "path", "width")
    assert_frame_equal(pl.read_parquet("out"), extracted(table, "width"))


def test_images_in_the_table() -> None:
    """Encoded images are a locator column too, alone or in structs."""
    data = [one.read_bytes() for one in sorted(Path("photos").iterdir())]
    frame = pl.DataFrame({"image": [{"bytes": one, "path": None} for one in data]})
    im.run(frame, "out", "image", "width")
    assert_frame_equal(pl.read_parquet("out"), im.extract(frame, "image", "width"))


def test_an_image_that_many_rows_name_is_read_once() -> None:
    """Also if they are in different batches, and in different parts."""
    paths = ["photos/dusk.png", "photos/fog.png"] * 20
    for path in set(paths):
        os.utime(path, (1, 1))
    time.sleep(2 * runs._TICK_SECONDS)  # noqa: SLF001 - files are older than their reading
    with count_reads(Path("photos")) as opened:
        im.run(pl.DataFrame({"path": paths}), "out", "path", "brightness")
    assert opened == {"dusk.png": 1, "fog.png": 1}
    values = pl.read_parquet("out").select(pl.col("path_imgmeta").struct.field("brightness"))
    assert values.to_series().round(3).to_list() == [0.2, 0.803] * 20


def test_own_properties_and_unknown_ones(table: pl.DataFrame) -> None:
    """A run that does not know a property of the output keeps it, and gives new rows a null."""

    @im.custom_property(needs="header", dtype=pl.Int64)
    def area(header: Any) -> int:  # noqa: ANN401 - a header
        return int(header.width * header.height)

    im.run(table.head(4), "out", "path", ["width", area])
    im.run(table, "out", "path", "width")
    area_of = pl.col("path_imgmeta").struct.field("area")
    values = pl.read_parquet("out").select(area_of).to_series()
    assert values.head(4).to_list() == [76_800] * 4
    assert values.tail(11).is_null().all()


def test_progress(
    table: pl.DataFrame, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback, lines in the log, and JSON at the end."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_CALL_SECONDS", 0.0)
    seen: list[im.Progress] = []
    with caplog.at_level(logging.INFO, "polars_imgmeta"):
        summary = im.run(table, "out", "path", "width", progress=seen.append)
    assert [one.total for one in seen] == [15] * len(seen)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[-1].done == 15
    assert seen[-1].failures == {"corrupt": 1, "unsupported": 1}
    assert seen[-1].seconds_left == 0
    assert "15 of 15 rows" in str(seen[-1])
    assert "2 failed (" in caplog.text
    assert caplog.messages[-1] == summary.to_json()


@given(
    st.lists(st.sampled_from(["a", "b", None])),
    st.lists(st.sampled_from(["a", "b", "c", None])),
    st.integers(1, 4),
)
def test_known_rows(known: list[str | None], source: list[str | None], size: int) -> None:
    """Of each value as many rows are new as the source has more than the output."""
    schema = pl.Schema({"value": pl.String})
    frame = pl.DataFrame({"value": known}, schema=schema)
    rows = KnownRows(frame.select(hashes(["value"], schema)).to_series(), ["value"])
    whole = pl.DataFrame({"value": source}, schema=schema)
    new = [
        value
        for start in range(0, len(source), size)
        for value in rows.without(whole.slice(start, size))["value"].to_list()
    ]
    for value in ("a", "b", "c", None):
        assert new.count(value) == max(0, source.count(value) - known.count(value))
    assert len(rows) == sum(
        max(0, known.count(value) - source.count(value)) for value in ("a", "b", None)
    )


@pytest.mark.server
@pytest.mark.parametrize("cloud", ["s3_tables", "azure_tables"])
@pytest.mark.parametrize("name", ["folder", "file.parquet"])
def test_cloud_storage(
    cloud: str, name: str, table: pl.DataFrame, request: pytest.FixtureRequest
) -> None:
    """Parts are uploaded, a second run finds them, and another one at once is told."""
    root, options = request.getfixturevalue(cloud)
    output = f"{root}/{name}"
    told: list[str] = []

    def interfere(_: im.Progress) -> None:
        with pytest.raises(im.JobError) as caught:
            im.run(table, output, "path", "width", storage_options=options)
        told.append(str(caught.value))

    im.run(table.head(7), output, "path", "width", storage_options=options, progress=interfere)
    assert "another run is writing" in told[0]
    with count_reads(Path("photos")) as opened:
        summary = im.run(table, output, "path", "width", storage_options=options)
    assert summary.new == 8
    assert "carpet.png" not in opened
    url = output if name.endswith(".parquet") else f"{output}/*.parquet"
    assert_frame_equal(pl.read_parquet(url, storage_options=options), extracted(table, "width"))
    assert im.run(table, output, "path", "width", storage_options=options).new == 0


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_a_summary_needs_no_row(output: str, table: pl.DataFrame) -> None:
    """Each file has one of its rows, also after a change."""
    for properties in ("geometry", "brightness"):
        im.run(table, output, "path", properties)
        files = [output] if output.endswith(".parquet") else sorted(Path(output).glob("part-*"))
        assert im.Summary.from_parquet(files) == im.summarise(pl.scan_parquet(output))
