"""An image that rows of several batches name is read once in a run, and anew in the next one."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.column import recall

ROWS, BATCH = 600, 50
BRIGHTNESS = pl.col("path_imgmeta").struct.field("brightness")


@pytest.fixture
def folder(sample_folder: Path, tmp_path: Path) -> Path:
    """Images that are older than any reading of them."""
    shutil.copytree(sample_folder / "photos", tmp_path / "photos")
    time.sleep(2 * recall._TICK_SECONDS)  # noqa: SLF001
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _small_batches() -> Iterator[None]:
    """Have Polars hand out batches of few rows."""
    pl.Config.set_streaming_chunk_size(BATCH)
    yield
    pl.Config.set_streaming_chunk_size(None)


def rows_of(folder: Path) -> pl.DataFrame:
    """Return many rows that name three images, one of which cannot be read, and none."""
    names = ["dusk.png", "fog.png", "notes.jpg", None]
    paths = [None if name is None else str(folder / name) for name in names]
    return pl.DataFrame({"path": paths * (ROWS // 4)})


def test_it_is_read_once_in_a_run(folder: Path) -> None:
    """But for batches that begin at the same time; values are those of an eager call."""
    frame = rows_of(folder)
    plan = im.extract(frame.lazy(), "path", "brightness")
    with count_reads(folder) as opened:
        result = plan.collect(engine="streaming")
    assert 1 <= opened["dusk.png"] <= pl.thread_pool_size()
    assert_frame_equal(result, im.extract(frame, "path", "brightness"))


def test_a_file_that_changes_between_runs_is_read_again(folder: Path) -> None:
    """However soon after the first run the second one begins."""
    plan = im.extract(rows_of(folder).lazy(), "path", "brightness")
    first = plan.collect(engine="streaming")
    shutil.copy(folder / "carpet.png", folder / "dusk.png")
    second = plan.collect(engine="streaming")
    assert first.select(BRIGHTNESS).to_series().round(3)[0] == 0.2
    assert second.select(BRIGHTNESS).to_series().round(3)[0] == 0.5


def test_nothing_is_recalled_in_a_later_run(folder: Path) -> None:
    """A plan reads again each time."""
    plan = im.extract(rows_of(folder).lazy(), "path", "brightness")
    plan.collect(engine="streaming")
    time.sleep(2 * recall._GAP_SECONDS)  # noqa: SLF001
    with count_reads(folder) as opened:
        plan.collect(engine="streaming")
    assert opened["dusk.png"] >= 1


def test_what_is_kept_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest results make room for new ones."""
    monkeypatch.setattr(recall, "_MOST_ENTRIES", 2)
    frame = pl.DataFrame({"path": [str(one) for one in sorted(folder.iterdir())] * 20})
    result = im.extract(frame.lazy(), "path", "brightness").collect(engine="streaming")
    assert_frame_equal(result, im.extract(frame, "path", "brightness"))
    assert len(recall._STORE._entries) <= 2  # noqa: SLF001


def test_a_plan_stays_plain_data(folder: Path) -> None:
    """It is pickled as before, and results are not part of it."""
    plan = im.extract(rows_of(folder).lazy(), "path", "brightness")
    before = len(pickle.dumps(plan))
    plan.collect(engine="streaming")
    assert len(pickle.dumps(plan)) == before


def test_an_early_head_reads_few_images(folder: Path) -> None:
    """A listing comes in small batches, whatever their size elsewhere."""
    pl.Config.set_streaming_chunk_size(None)
    many = folder / "many"
    many.mkdir()
    for number in range(4_000):
        (many / f"{number:04}.png").hardlink_to(folder / "dusk.png")
    plan = im.scan_images(many).select("path").imgmeta.extract("path", "width")  # type: ignore[attr-defined]
    width = pl.col("path_imgmeta").struct.field("width")
    with count_reads(many) as opened:
        assert len(plan.filter(width > 0).head(5).collect()) == 5
    assert len(opened) < 2_500
