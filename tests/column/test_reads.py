"""What is read: each image once, and none for nothing."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from engines import ENGINES, run
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples

NAMES = ["blobs.png", "dusk.png", "noise.png"]


@pytest.fixture
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture
def frame(photos: Path) -> pl.DataFrame:
    """A frame of three sound images."""
    return pl.DataFrame({"path": [str(photos / name) for name in NAMES]})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("properties", ["standard", "geometry", "brightness"])
def test_each_image_is_opened_once(
    engine: str, properties: str, frame: pl.DataFrame, photos: Path
) -> None:
    """However many properties are asked for, an image is opened once."""
    with count_reads(photos) as opened:
        run(engine, frame, lambda f: f.imgmeta.extract("path", properties))
    assert opened == Counter(NAMES)


def test_the_counter_counts(photos: Path) -> None:
    """The counter that the budget relies on hears every way to open, once."""
    path = photos / "dusk.png"
    with count_reads(photos) as opened:
        os.close(os.open(path, os.O_RDONLY))
        with open(path, "rb", opener=os.open):
            pass
        path.read_bytes()
    assert opened == Counter({"dusk.png": 3})


def test_a_locator_that_repeats_is_read_once(frame: pl.DataFrame, photos: Path) -> None:
    """Rows that share a locator share one reading."""
    repeated = pl.concat([frame] * 20)
    with count_reads(photos) as opened:
        result = im.extract(repeated, "path")
    assert opened == Counter(NAMES)
    assert result.equals(pl.concat([im.extract(frame, "path")] * 20))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_extraction_opens_nothing(engine: str, frame: pl.DataFrame, photos: Path) -> None:
    """Extracting what is there already reads no image and changes nothing."""
    once = im.extract(frame, "path")
    with count_reads(photos) as opened:
        twice = run(engine, once, lambda f: f.imgmeta.extract("path"))
        twice = run(engine, twice, lambda f: f.imgmeta.add("width", "symmetry"))
        twice = run(engine, twice, lambda f: f.imgmeta.configure("standard"))
        twice = run(engine, twice, lambda f: f.imgmeta.retry())
    assert not opened
    assert twice.equals(once)
    assert twice.schema == once.schema


@pytest.mark.parametrize("engine", ENGINES)
def test_remove_opens_nothing(engine: str, frame: pl.DataFrame, photos: Path) -> None:
    """Removing properties reads no image."""
    full = im.extract(frame, "path")
    with count_reads(photos) as opened:
        less = run(engine, full, lambda f: f.imgmeta.remove("geometry"))
        none = run(engine, full, lambda f: f.imgmeta.remove("standard"))
    assert not opened
    assert im.properties(less) == list(im.GROUPS["standard"][4:])
    assert none.equals(frame)


def test_only_appended_rows_are_read(frame: pl.DataFrame, photos: Path) -> None:
    """Rows that have no values yet are filled; complete ones are not read."""
    yesterday = im.extract(frame.head(2), "path")
    today = pl.concat([yesterday, frame.tail(1)], how="diagonal")
    with count_reads(photos) as opened:
        result = im.extract(today, "path")
    assert opened == Counter([NAMES[2]])
    assert result.equals(im.extract(frame, "path"))


def test_filter_and_head_behind_an_extraction_spare_what_they_drop(
    frame: pl.DataFrame, photos: Path
) -> None:
    """A lazy plan reads the images that its result needs."""
    lazy = im.extract(frame.lazy(), "path")
    with count_reads(photos) as opened:
        lazy.head(1).collect()
    assert opened == Counter(NAMES[:1])
    with count_reads(photos) as opened:
        lazy.filter(pl.col("path").str.ends_with("noise.png")).collect()
    assert opened == Counter(["noise.png"])
    with count_reads(photos) as opened:
        lazy.select("path").collect()
    assert not opened


def test_geometry_is_read_without_decoding(tmp_path: Path, photos: Path) -> None:
    """A file whose pixels are gone still tells its geometry, without an error."""
    whole = (photos / "noise.png").read_bytes()
    (tmp_path / "header.png").write_bytes(whole[:100])
    frame = pl.DataFrame({"path": [str(tmp_path / "header.png")]})
    row = im.unnest(im.extract(frame, "path", "geometry")).row(0, named=True)
    assert (row["width"], row["height"], row["error"]) == (320, 240, None)
    row = im.unnest(im.extract(frame, "path", ["width", "brightness"])).row(0, named=True)
    assert (row["width"], row["brightness"]) == (320, None)
    assert row["error"].startswith("corrupt: ")


def test_adding_geometry_decodes_nothing(tmp_path: Path, photos: Path) -> None:
    """Geometry is added to rows with pixel properties from their headers alone."""
    path = tmp_path / "image.png"
    whole = (photos / "noise.png").read_bytes()
    path.write_bytes(whole)
    frame = im.extract(pl.DataFrame({"path": [str(path)]}), "path", "brightness")
    path.write_bytes(whole[:100] + bytes(len(whole) - 100))
    row = im.unnest(im.add(frame, "geometry")).row(0, named=True)
    assert row["error"] is None
    assert (row["width"], row["height"]) == (320, 240)
    assert row["brightness"] == pytest.approx(0.5, abs=0.01)


def test_a_failed_row_is_left_alone_until_something_new_is_asked(tmp_path: Path) -> None:
    """An error is no reason to read again; a new property is, and then everything."""
    frame = pl.DataFrame({"path": [str(tmp_path / "late.png")]})
    failed = im.extract(frame, "path", "width")
    assert im.errors(failed)["kind"].to_list() == ["not_found"]
    make_samples(tmp_path)
    (tmp_path / "dusk.png").rename(tmp_path / "late.png")
    with count_reads(tmp_path) as opened:
        assert im.extract(failed, "path", "width").equals(failed)
    assert not opened
    with count_reads(tmp_path) as opened:
        result = im.add(failed, "height")
    assert opened == Counter(["late.png"])
    assert im.unnest(result).select("width", "height", "error").row(0) == (320, 240, None)


def test_an_error_of_another_row_does_not_spread(tmp_path: Path, photos: Path) -> None:
    """Of two rows that share a file, only the one that lacks something has the error."""
    path = tmp_path / "a.png"
    whole = (photos / "noise.png").read_bytes()
    path.write_bytes(whole)
    row = pl.DataFrame({"path": [str(path)]})
    complete = im.extract(row, "path", ["width", "brightness"])
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    both = im.add(pl.concat([complete, row], how="diagonal"), "height")
    errors = both["path_imgmeta"].struct.field("error").to_list()
    assert errors[0] is None
    assert errors[1].startswith("corrupt: ")
    assert im.unnest(both)["brightness"].is_null().to_list() == [False, True]


def test_retry_reads_failed_rows_alone(tmp_path: Path, frame: pl.DataFrame) -> None:
    """A nightly retry opens the files of failed rows and no others."""
    late = str(tmp_path / "late.png")
    mixed = pl.concat([frame, pl.DataFrame({"path": [late, None]})])
    failed = im.extract(mixed, "path", ["width", "contrast"])
    make_samples(tmp_path)
    (tmp_path / "dusk.png").rename(late)
    folder = Path(frame["path"][0]).parent
    with count_reads(tmp_path) as late_opened, count_reads(folder) as opened:
        result = im.retry(failed)
    assert late_opened == Counter(["late.png"])
    assert not opened
    assert result.equals(im.extract(mixed, "path", ["width", "contrast"]))
    assert im.errors(result).is_empty()
