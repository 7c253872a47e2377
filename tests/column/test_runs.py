"""A lazy plan has batches by their cost, and reads each image once in a run, anew in the next."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.column import marker, pacing, runs
from polars_imgmeta.column.pacing import Pace
from polars_imgmeta.column.runs import Run

ROWS = 600
BRIGHTNESS = pl.col("path_imgmeta").struct.field("brightness")
WIDTH = pl.col("path_imgmeta").struct.field("width")


@pytest.fixture
def folder(sample_folder: Path, tmp_path: Path) -> Path:
    """Images that are older than any reading of them."""
    shutil.copytree(sample_folder / "photos", tmp_path / "photos")
    time.sleep(2 * runs._TICK_SECONDS)  # noqa: SLF001
    return tmp_path / "photos"


@pytest.fixture
def many(folder: Path) -> list[str]:
    """The paths of many images."""
    (folder / "many").mkdir()
    paths = [str(folder / "many" / f"{number:04}.png") for number in range(4_000)]
    for path in paths:
        Path(path).hardlink_to(folder / "dusk.png")
    return paths


@pytest.fixture
def _small_batches() -> Iterator[None]:
    """Have Polars hand out batches of few rows."""
    pl.Config.set_streaming_chunk_size(50)
    yield
    pl.Config.set_streaming_chunk_size(None)


def rows_of(folder: Path) -> pl.DataFrame:
    """Return many rows that name three images, one of which cannot be read, and none."""
    names = ["dusk.png", "fog.png", "notes.jpg", None]
    paths = [None if name is None else str(folder / name) for name in names]
    return pl.DataFrame({"path": paths * (ROWS // 4)})


def scanned(frame: pl.DataFrame, how: str, folder: Path) -> pl.LazyFrame:
    """Return a frame as a plan that reads it in batches of its own."""
    file = folder / f"table.{how}"
    match how:
        case "csv":
            frame.write_csv(file)
            return pl.scan_csv(file)
        case "ndjson":
            frame.write_ndjson(file)
            return pl.scan_ndjson(file)
        case "parquet":
            frame.write_parquet(file, row_group_size=len(frame))
            return pl.scan_parquet(file)
    return frame.lazy()


SOURCES = ["csv", "ndjson", "parquet", "frame"]


@im.custom_property(needs="header", dtype=pl.Int32)
def slow_width(header: Any) -> int:  # noqa: ANN401 - as `needs` says
    """The width, at the cost of a larger image: Polars needs some time to stop."""
    time.sleep(0.002)
    width: int = header.width
    return width


SLOW_WIDTH = pl.col("path_imgmeta").struct.field("slow_width")


@pytest.mark.parametrize("source", SOURCES)
def test_an_early_head_reads_few_images(source: str, many: list[str], tmp_path: Path) -> None:
    """Whatever batches the reader of the table makes."""
    rows = scanned(pl.DataFrame({"path": many}), source, tmp_path)
    plan = im.extract(rows, "path", slow_width).filter(SLOW_WIDTH > 0).head(5)
    with count_reads(tmp_path) as opened:
        assert len(plan.collect()) == 5
    assert sum(opened[Path(path).name] for path in many) < 1_000


def test_python_ends_while_batches_are_computed(many: list[str]) -> None:
    """Those that are in progress when an early `head` has enough do not abort the process."""
    code = (
        "import polars as pl\n"
        "import polars_imgmeta as im\n"
        "rows = im.scan_images('.').select('path').collect()\n"
        "image = pl.col('path_imgmeta').struct\n"
        "plan = im.extract(rows.lazy(), 'path').filter(image.field('width') > 0)\n"
        "print(len(plan.head(5).collect()))\n"
    )
    for _ in range(4):
        done = run_python(code, Path(many[0]).parent)
        assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


@pytest.mark.parametrize("source", SOURCES)
def test_output_is_steady(source: str, many: list[str], tmp_path: Path) -> None:
    """The first rows are handed on when few images have been read."""
    read_before: list[int] = []

    def see(batch: pl.Series) -> pl.Series:
        read_before.append(sum(opened.values()))
        return batch

    paths = pl.DataFrame({"path": many[:2_000]})
    plan = im.extract(scanned(paths, source, tmp_path), "path", slow_width)
    seen = SLOW_WIDTH.map_batches(see, return_dtype=pl.Int32, is_elementwise=True)
    with count_reads(Path(many[0]).parent) as opened:
        plan.select(seen.alias("width")).sink_parquet(tmp_path / "out.parquet")
    assert min(read_before) < 500
    assert sum(opened.values()) == len(paths)


@pytest.mark.parametrize("source", SOURCES)
def test_filters_and_columns_reach_the_source(source: str, many: list[str], tmp_path: Path) -> None:
    """Images of rows that are dropped are not read, and none for columns that are not asked for."""
    frame = pl.DataFrame({"path": many, "number": range(len(many))})
    plan = im.extract(scanned(frame, source, tmp_path), "path", "width")
    with count_reads(Path(many[0]).parent) as opened:
        assert plan.select(pl.len()).collect().item() == len(many)
        assert_frame_equal(plan.drop("path_imgmeta").collect(), frame)
        assert plan.select(pl.col("number").sum()).collect().item() == sum(range(len(many)))
    assert not opened
    with count_reads(Path(many[0]).parent) as opened:
        result = plan.filter(pl.col("number") < 7).collect()
    assert len(opened) == 7
    assert_frame_equal(result, im.extract(frame.head(7), "path", "width"))
    with count_reads(Path(many[0]).parent) as opened:
        assert_frame_equal(plan.head(7).collect(), result)
    assert len(opened) == 7


PLANS: dict[str, Callable[[Any], Any]] = {
    "self join": lambda frame: frame.join(
        frame.group_by("number").agg(WIDTH.max().alias("max")), on="number", maintain_order="left"
    ),
    "twice": lambda frame: im.extract(im.extract(frame, "path", "height"), "path", "brightness"),
    "two columns": lambda frame: im.extract(frame, "path", "height", into="other"),
    "concatenated": lambda frame: pl.concat([frame, frame.filter(pl.col("number") > 1)]),
    "retried": im.retry,
    "unnested": lambda frame: im.unnest(frame, "path_imgmeta"),
    "sorted": lambda frame: frame.sort(WIDTH, "number"),
    "sliced": lambda frame: frame.slice(3, 200).filter(WIDTH.is_not_null()),
}


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("name", PLANS)
def test_values_are_those_of_eager_calls(name: str, engine: Any, folder: Path) -> None:  # noqa: ANN401 - a literal of Polars
    """Whatever follows the extraction."""
    frame = rows_of(folder).with_row_index("number")
    expected = PLANS[name](im.extract(frame, "path", "width"))
    plan = PLANS[name](im.extract(frame.lazy(), "path", "width"))
    assert plan.collect_schema() == expected.schema
    assert_frame_equal(plan.collect(engine=engine), expected)


def test_a_part_of_a_plan_that_occurs_twice_is_read_once(folder: Path) -> None:
    """Also where Polars runs its source twice."""
    frame = im.scan_images(folder).select("path").collect().with_row_index("number")
    with count_reads(folder) as opened:
        PLANS["self join"](im.extract(frame.lazy(), "path", "width")).collect()
    assert set(opened.values()) == {1}


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_an_image_is_read_once_in_a_run(engine: Any, folder: Path) -> None:  # noqa: ANN401 - as above
    """Also one that cannot be read; values are those of an eager call."""
    frame = rows_of(folder)
    plan = im.extract(frame.lazy(), "path", "brightness")
    with count_reads(folder) as opened:
        result = plan.collect(engine=engine)
    assert opened == {"dusk.png": 1, "fog.png": 1, "notes.jpg": 1}
    assert_frame_equal(result, im.extract(frame, "path", "brightness"))
    more = im.add(result.lazy(), "contrast")
    with count_reads(folder) as opened:
        added = more.collect(engine=engine)
    assert opened == {"dusk.png": 1, "fog.png": 1, "notes.jpg": 1}
    assert_frame_equal(added, im.add(result, "contrast"))


@pytest.mark.usefixtures("_small_batches")
def test_an_expression_reads_an_image_once(folder: Path) -> None:
    """Its batches are those of Polars, and its run is known by calls that follow closely."""
    frame = rows_of(folder).filter(~pl.col("path").str.ends_with("notes.jpg"))
    plan = frame.lazy().with_columns(pl.col("path").imgmeta.extract("brightness"))  # type: ignore[attr-defined]
    with count_reads(folder) as opened:
        result = plan.collect(engine="streaming")
    assert opened == {"dusk.png": 1, "fog.png": 1}
    assert_frame_equal(result, im.extract(frame, "path", "brightness"))


@pytest.mark.usefixtures("_small_batches")
def test_a_file_that_changes_between_runs_is_read_again(folder: Path) -> None:
    """However soon after the first run the second one begins."""
    frame = rows_of(folder).lazy()
    verb = im.extract(frame, "path", "brightness")
    expression = frame.with_columns(pl.col("path").imgmeta.extract("brightness"))  # type: ignore[attr-defined]
    for number, plan in enumerate([verb, expression]):
        first = plan.collect(engine="streaming")
        shutil.copy(folder / ["carpet.png", "dawn.png"][number], folder / "dusk.png")
        second = plan.collect(engine="streaming")
        assert first.select(BRIGHTNESS).to_series().round(3)[0] == [0.2, 0.5][number]
        assert second.select(BRIGHTNESS).to_series().round(3)[0] != [0.2, 0.5][number]


def test_nothing_is_kept_after_a_run(folder: Path) -> None:
    """A plan reads again each time, and holds no memory meanwhile."""
    plan = im.extract(rows_of(folder).lazy(), "path", "brightness")
    for _ in range(2):
        with count_reads(folder) as opened:
            plan.collect(engine="streaming")
        assert opened["dusk.png"] == 1
        assert not runs._RUNS  # noqa: SLF001


def test_a_plan_stays_plain_data(folder: Path) -> None:
    """It is pickled without cloudpickle, as before its run, and another process does the same."""
    plan = im.extract(rows_of(folder).lazy(), "path", "brightness")
    data = pickle.dumps(plan)
    expected = plan.collect(engine="streaming")
    assert pickle.dumps(plan) == data
    (folder / "plan").write_bytes(data)
    code = (
        "import pickle, sys\n"
        "sys.modules['cloudpickle'] = None\n"
        "plan = pickle.load(open('plan', 'rb'))\n"
        "assert 'PYTHON SCAN' not in plan.explain()\n"  # which an engine could not distribute
        "pickle.dumps(plan)\n"
        "plan.collect().write_parquet('out.parquet')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=120)
    assert_frame_equal(pl.read_parquet(folder / "out.parquet"), expected)


def test_a_failure_of_the_source_keeps_its_class(folder: Path) -> None:
    """What Polars raises for the rows is what it raises without an extraction."""
    frame = rows_of(folder).with_columns(label=pl.lit("a"))
    rows = frame.lazy().with_columns(pl.col("label").cast(pl.Int32))
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion from `str`"):
        im.extract(rows, "path", "width").collect()
    missing = pl.scan_parquet(folder / "gone.parquet", schema={"path": pl.String})
    with pytest.raises(FileNotFoundError):
        im.extract(missing, "path", "width").collect()
    raising = im.extract(frame.lazy(), "path", "width", on_error="raise")
    with pytest.raises(im.UnsupportedError):
        im.extract(raising, "path", "width", into="other").collect()


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=8, unique=True), max_size=20),
    st.integers(1, 40),
    st.data(),
)
def test_shares(batches: list[list[int]], generation: int, data: st.DataObject) -> None:
    """Each batch gets what the batches found, and among the last images each is read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_GENERATION", generation)
        run = Run(marked=True)
        read: list[str] = []
        for batch in batches:
            paths = [str(one) for one in batch]
            share, known = run.claim(("width",), paths, im.Access())
            mine = list(share.paths)
            assert sorted([*mine, *(path for one in known.values() for path in one)]) == sorted(
                paths
            )
            assert set(mine).isdisjoint(read[-generation:])
            read += mine
            if data.draw(st.booleans()):  # otherwise it fails
                share.table = pl.DataFrame({"width": [int(path) for path in mine]})
            share.finish()
            for other, numbers in known.items():
                found = other.rows([*numbers.values()])
                if other.table is not None:
                    assert found is not None
                    assert found["width"].to_list() == [int(path) for path in numbers]
                else:
                    assert found is None


def test_batches_that_read_for_each_other_end(folder: Path) -> None:
    """Many threads that name the same images in different orders wait for each other's at most."""
    paths = [str(one) for one in sorted(folder.iterdir()) if one.is_file()]
    turned = [paths[n % len(paths) :] + paths[: n % len(paths)] for n in range(40)]
    extraction = pl.concat(
        [pl.LazyFrame({"path": one}).with_columns(number=pl.lit(n)) for n, one in enumerate(turned)]
    )
    with count_reads(folder) as opened:
        result = im.extract(extraction, "path", "brightness").collect()
    assert set(opened.values()) == {1}
    assert result.group_by("path").agg(BRIGHTNESS.n_unique())["brightness"].max() == 1


def test_batches_grow_whatever_else_takes_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine that takes longer for a batch than its images do makes no tiny batches."""
    monkeypatch.setattr(runs, "_BATCH_SECONDS", 0.5)
    monkeypatch.setattr(pacing, "_PATIENCE_SECONDS", 5.0)
    calls: list[int] = []
    digests = marker.digests

    def slowly(parts: pl.DataFrame) -> pl.Series:
        time.sleep(0.55)
        return digests(parts)

    monkeypatch.setattr(marker, "digests", slowly)
    learn = Pace.learn

    def count(pace: Pace, rows: int, seconds: float) -> None:
        calls.append(rows)
        learn(pace, rows, seconds)

    monkeypatch.setattr(Pace, "learn", count)
    paths = [str(one) for one in sorted(folder.iterdir()) if one.is_file()]
    frame = pl.LazyFrame({"path": (paths * 300)[:300]})
    result = im.extract(frame, "path", "width").collect(engine="streaming")
    assert sum(calls) == len(result) == 300
    assert len(calls) < 20


def test_the_pace_follows_the_cost() -> None:
    """Batches grow until they take the time that they should, and shrink with what they hold."""
    pace, rows = Pace(1.0, 4, 2, 10_000), pl.DataFrame({"path": ["a"] * 20_000})
    sizes = []
    for _ in range(14):
        sizes.append(pace.rows(rows))
        pace.learn(sizes[-1], sizes[-1] / 1_000)
    assert sizes[:5] == [4, 4, 8, 16, 32]
    assert set(sizes[10:]) == {1_000}
    pace.learn(4, 0.004)  # another that began long ago
    assert pace.rows(rows) == 1_000
    pace.learn(1_000, 1_000.0)
    assert pace.rows(rows) == 2
    assert pace.rows(pl.DataFrame({"image": [bytes(1 << 27)] * 2})) == 1
