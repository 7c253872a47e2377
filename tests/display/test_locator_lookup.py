"""Locators of the rows that are shown: the right ones, and no more images than needed."""

from __future__ import annotations

import gc
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.column.deduplication import parts_of
from polars_imgmeta.display.formatting import locator_text
from polars_imgmeta.display.locator_lookup import LocatorLookup

IMAGES = 200
IMAGE_BYTES = 1 << 20
SHOWN = 10


def image(shade: int) -> bytes:
    """Return a PNG of one shade, padded to a megabyte behind its end."""
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4 + shade % 7, 3), shade, np.uint8)).save(stream, "PNG")
    return stream.getvalue().ljust(IMAGE_BYTES, b"\0")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of images as bytes, with a copy of them in a column of the user."""
    path = tmp_path_factory.mktemp("images") / "images.parquet"
    data = pl.Series("image", [image(number) for number in range(IMAGES)])
    frame = im.extract(pl.DataFrame([data]), "image", ["width", "brightness"])
    frame.with_columns(mask=pl.struct(bytes="image")).write_parquet(path, row_group_size=20)
    return path


def count_bytes(values: pl.Series) -> int:
    """Count the bytes of binary values, also within structs."""
    if isinstance(values.dtype, pl.Struct):
        return sum(map(count_bytes, values.struct.unnest()))
    return int(values.bin.size().sum()) if values.dtype == pl.Binary else 0


@contextmanager
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Record the binary bytes of every frame that Polars collects."""
    sizes: list[int] = []
    collect = pl.LazyFrame.collect

    def record(plan: pl.LazyFrame, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        frame = collect(plan, *arguments, **options)
        with monkeypatch.context() as patch:
            patch.setattr(pl.LazyFrame, "collect", collect)
            sizes.append(sum(map(count_bytes, frame)))
        return frame

    with monkeypatch.context() as patch:
        patch.setattr(pl.LazyFrame, "collect", record)
        yield sizes


@pytest.mark.parametrize("locator", ["image", "mask"])
@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "eager"])
@pytest.mark.parametrize(
    ("draw", "shown"),
    [
        # A sample, and five extremes on each side of two properties.
        (lambda f, path, at: im.report(f, path, sample=SHOWN, locator=at), SHOWN + 2 * 2 * 5),
        (
            lambda f, path, at: im.report(f, path, sample=SHOWN, thumbnails=False, locator=at),
            0,
        ),
        (
            lambda f, _, at: im.plot(f, "width", "brightness", pictures=SHOWN, locator=at),
            SHOWN,
        ),
        (
            lambda f, _, at: im.plot(f, "brightness", "width", pictures=0, locator=at),
            0,
        ),
    ],
    ids=["report", "report without thumbnails", "plot", "plot without pictures"],
)
def test_no_more_images_are_held_than_shown(
    draw: Callable[[pl.DataFrame | pl.LazyFrame, Path, str], object],
    shown: int,
    file: Path,
    locator: str,
    *,
    lazy: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No frame that is collected holds more bytes than the pictures that are shown."""
    frame = pl.scan_parquet(file) if lazy else pl.read_parquet(file)
    if not lazy:  # other columns of an eager frame are in memory anyway
        frame = frame.select(locator, "image_imgmeta")
    with collected(monkeypatch) as sizes:
        draw(frame, tmp_path / "page.html", locator)
    assert max(sizes) <= shown * IMAGE_BYTES


LOCATORS: dict[str, pl.Series] = {
    "paths": pl.Series(["b.png", None, "a.png", "b.png"]),
    "categories": pl.Series(["b.png", None, "a.png", "b.png"], dtype=pl.Categorical),
    "bytes": pl.Series([b"b", None, b"a", b"b"]),
    "structs": pl.Series(
        [
            {"bytes": b"b", "path": "x"},
            {"bytes": None, "path": None},
            {"bytes": None, "path": "b"},
            {"bytes": b"b", "path": "y"},
        ]
    ),
    "structs of paths": pl.Series([{"path": "b"}, None, {"path": "a"}, {"path": "b"}]),
    "nulls": pl.Series([None, None, None, None]),
}


def located(locators: pl.Series) -> list[object]:
    """Return the image or path of each row."""
    rows = parts_of(locators).iter_rows()
    return [next((part for part in row if part is not None), None) for row in rows]


@pytest.mark.parametrize("name", LOCATORS)
@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "eager"])
def test_keys_find_their_locators(name: str, *, lazy: bool) -> None:
    """Each key returns its locator, whatever the dtype, and equal images have equal hashes."""
    frame = pl.DataFrame({"at": LOCATORS[name]})
    lookup = LocatorLookup(frame.lazy() if lazy else frame, "at")
    rows = frame.select(key=lookup.key, image=lookup.image)
    found = lookup.find(rows["key"], rows["key"].head(3))
    parts = located(frame["at"])
    assert rows["image"].is_null().to_list() == [part is None for part in parts]
    assert rows["image"].n_unique() == len(set(parts))
    texts = [text or "null" for text in found["text"]]
    assert texts == [locator_text(locator) for locator in frame["at"]]
    pictured = rows["key"].is_in(rows["key"].head(3).implode()).fill_null(value=False)
    assert located(found["locator"]) == [
        part if chosen else None for part, chosen in zip(parts, pictured, strict=True)
    ]


def test_rows_that_are_gone_have_no_picture(sample_folder: Path) -> None:
    """A plan that returns other rows the second time shows no picture instead of a wrong one."""
    folder = sample_folder / "photos"
    images = [(folder / name).read_bytes() for name in ("dusk.png", "fog.png")]
    runs = iter([images, images[1:]])
    plan = pl.LazyFrame({"row": [0]}).map_batches(
        lambda _: pl.DataFrame({"image": next(runs)}), schema={"image": pl.Binary()}
    )
    lookup = LocatorLookup(plan, "image")
    keys = plan.select(lookup.key).collect().to_series()
    found = lookup.find(keys, keys)
    assert found["locator"].to_list() == [None, images[1]]


def test_a_pending_extraction_is_computed_once(sample_folder: Path, tmp_path: Path) -> None:
    """The second pass over a lazy frame selects the locators, and extracts nothing."""
    folder = sample_folder / "photos"
    rows = pl.DataFrame({"at": [{"bytes": None, "path": str(folder / "dusk.png")}]})
    with count_reads(folder) as opened:
        im.report(im.extract(rows.lazy(), "at"), tmp_path / "page.html", thumbnails=False)
        assert opened == {"dusk.png": 1}
        im.plot(im.extract(rows.lazy(), "at"), "brightness", "width", pictures=1)
    assert opened == {"dusk.png": 3}  # one for the values of each, one for the picture


@pytest.mark.parametrize(
    "change",
    [
        lambda plan, value: plan.filter(value > 0),
        lambda plan, value: plan.sort(value),
        lambda plan, value: plan.filter(value > 0).head(3),
        lambda plan, value: plan.with_columns(dark=value < 0.5),
    ],
    ids=["filter", "sort", "head", "new column"],
)
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Struct({"path": pl.String})])
def test_images_are_measured_once(
    change: Callable[[pl.LazyFrame, pl.Expr], pl.LazyFrame],
    dtype: pl.DataType,
    sample_folder: Path,
    tmp_path: Path,
) -> None:
    """Also where the rows depend on the values, so that a second run would measure again."""
    folder = sample_folder / "photos"
    paths = [str(folder / name) for name in ("dusk.png", "fog.png", "portrait.jpg", "blobs.png")]
    at = pl.Series("at", paths)
    at = pl.Series("at", [{"path": path} for path in paths]) if dtype == pl.Struct else at
    value = pl.col("at_imgmeta").struct.field("brightness")
    plan = change(im.extract(pl.LazyFrame([at.cast(dtype)]), "at", "brightness"), value)
    names = {Path(locator_text(locator)).name for locator in plan.collect()["at"]}
    with count_reads(folder) as opened:
        im.report(plan, tmp_path / "page.html", thumbnails=False)
    assert max(opened.values()) == 1
    for y in (None, "brightness"):
        with count_reads(folder) as opened:
            data: Any = im.plot(plan, "brightness", y).data
        assert max(opened.values()) == 2  # for its value, and for its picture
        assert {Path(text).name for text in data["locator"]} - {""} <= names
        assert data["image"].str.len_chars().max() > 0


def test_images_in_the_frame_are_not_written(file: Path) -> None:
    """Those that a plan extracts from are collected again for the rows shown."""
    plan = im.extract(pl.scan_parquet(file).select("image"), "image", "width", into="again")
    plan = plan.filter(pl.col("again").struct.field("width") > 0)
    assert not LocatorLookup(plan, "image").spills
    assert not LocatorLookup(plan.with_columns(image=pl.struct(bytes="image")), "image").spills


def test_locators_that_are_not_shown_are_not_held(
    sample_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in a file, which is gone when the chart or report is there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    original = sample_folder / "photos" / "dusk.png"
    paths = [str(tmp_path / "photos" / f"{number}.png") for number in range(40)]
    (tmp_path / "photos").mkdir()
    for path in paths:
        Path(path).symlink_to(original)
    plan = im.extract(pl.LazyFrame({"at": paths}), "at", "brightness", "width")
    plan = plan.filter(pl.col("at_imgmeta").struct.field("width") > 0)
    counts: list[int] = []
    collect = pl.LazyFrame.collect

    def record(plan: pl.LazyFrame, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        frame = collect(plan, *arguments, **options)
        texts = [one for one in frame if one.dtype == pl.String]
        counts.append(sum(value in paths for one in texts for value in one.to_list()))
        return frame

    monkeypatch.setattr(pl.LazyFrame, "collect", record)
    data: Any = im.plot(plan, "brightness", pictures=3).data
    assert (data["image"].str.len_chars() > 0).sum() in {1, 2, 3}
    im.report(plan, tmp_path / "page.html", sample=3)
    assert 0 < max(counts) <= 3 + 2 * 2 * 5
    gc.collect()
    assert not list(tmp_path.glob("imgmeta-*"))
