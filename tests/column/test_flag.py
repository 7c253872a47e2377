"""The flag, a plain String in each row, survives Polars and every other tool."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dataframely as dy
import deltalake
import duckdb
import lance
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from engines import ENGINES, run
from iceberg import make_catalog
from interpreters import run_python
from polars.testing import assert_frame_equal
from reads import count_reads
from typical import captured_photo

import polars_imgmeta as im
from polars_imgmeta.typing import GroupName, PropertyName

NAMES = ["dusk.png", "truncated.png", "noise.png", "gone.png"]
PROPERTIES: list[PropertyName | GroupName] = ["width", "symmetry"]
CATALOGUE: list[PropertyName | GroupName] = list(im.GROUPS)


@pytest.fixture(scope="module")
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture(scope="module")
def frame(photos: Path) -> pl.DataFrame:
    """Complete, failed and null rows, beside a key and a group."""
    paths = [*(str(photos / name) for name in NAMES), None]
    frame = pl.DataFrame({"path": paths, "id": range(5), "set": list("ababa")})
    return im.extract(frame, "path", PROPERTIES)


@pytest.fixture(scope="module")
def captured(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The same rows with all properties of the catalogue, and a photo of which Exif tells more."""
    photo = tmp_path_factory.mktemp("captured") / "photo.jpg"
    photo.write_bytes(captured_photo())
    paths = [str(photo), *(str(photos / name) for name in NAMES[1:]), None]
    frame = pl.DataFrame({"path": paths, "id": range(5), "set": list("ababa")})
    frame = im.extract(frame, "path", CATALOGUE)
    first = frame["path_imgmeta"][0]
    assert [name for name in im.CATALOGUE if first[name] is None] == ["etag"]
    assert first["captured"] == datetime(2021, 3, 4, 5, 6, 7, 250_001)  # noqa: DTZ001 - of the camera
    return frame


@pytest.fixture(autouse=True)
def _planner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Polars plan Iceberg scans by pyiceberg, without a warning that it is slower."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


def check_unread(
    result: pl.DataFrame,
    photos: Path,
    properties: Sequence[str] = PROPERTIES,
) -> pl.DataFrame:
    """The column is found, and a second extract opens no file; return its result."""
    assert im.columns(result) == ["path_imgmeta"]
    assert im.properties(result) == [one.name for one in im.CATALOGUE.resolve(properties)]
    assert im.provenance(result).locators in {("path",), ()}
    with count_reads(photos) as opened:
        again = im.extract(result, "path", properties)
    assert not opened
    return again


KEYS: dict[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
    "datetime": pl.Datetime("us"),
    "categorical": pl.Categorical(),
    "enum": pl.Enum([str(number) for number in range(7)]),
}
JOINS: dict[str, Callable[[Any, Any], Any]] = {
    "inner": lambda a, b: a.join(b, on="key"),
    "inner, images right": lambda a, b: b.join(a, on="key"),
    "left": lambda a, b: a.join(b, on="key", how="left"),
    "left, images right": lambda a, b: b.join(a, on="key", how="left"),
    "right": lambda a, b: a.join(b, on="key", how="right"),
    "right, images right": lambda a, b: b.join(a, on="key", how="right"),
    "full": lambda a, b: a.join(b, on="key", how="full", coalesce=True),
    "semi": lambda a, b: a.join(b, on="key", how="semi"),
    "anti": lambda a, b: a.join(b, on="key", how="anti"),
    "cross": lambda a, b: a.join(b, how="cross"),
    "asof": lambda a, b: a.join_asof(b, on="order", by="key"),
    "asof, images right": lambda a, b: b.join_asof(a, on="order", by="key"),
    "update": lambda a, b: a.update(b.select("key", "label"), on="key"),
    "update images": lambda a, _: a.update(
        a.select("key", pl.col("path", "path_imgmeta").reverse()), on="key", how="full"
    ),
    "update images where missing": lambda a, b: b.join(a, on="key", how="left").update(
        a.select("key", "path", "path_imgmeta"), on="key"
    ),
}


def with_key(frame: pl.DataFrame, numbers: list[int], dtype: pl.DataType) -> pl.DataFrame:
    """The frame with a key of a dtype, and a column in ascending order for asof joins."""
    key = pl.Series("key", numbers)
    text = isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
    key = (key.cast(pl.String) if text else key).cast(dtype)
    return frame.with_columns(key, order=pl.int_range(pl.len())).set_sorted("order")


def in_chunks(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a chunk for each row."""
    return pl.concat([frame[row : row + 1] for row in range(frame.height)], rechunk=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chunks", ["one", "several"])
@pytest.mark.parametrize("dtype", KEYS)
@pytest.mark.parametrize("join", JOINS)
def test_joins_keep_the_flag(
    join: str, dtype: str, chunks: str, engine: str, *, frame: pl.DataFrame, photos: Path
) -> None:
    """Every kind of join, on every kind of key, in one chunk or several, by every engine."""
    images = with_key(frame.with_columns(label=pl.lit(0)), [3, 1, 2, 5, 4], KEYS[dtype])
    labels = pl.DataFrame({"label": range(4)})
    labels = with_key(labels, [2, 1, 6, 3], KEYS[dtype])
    if chunks == "several":
        images, labels = in_chunks(images), in_chunks(labels)
    result = run(engine, images, JOINS[join], labels)
    again = check_unread(result, photos)
    assert_frame_equal(again, result)
    known = dict(frame.select("path", "path_imgmeta").iter_rows())
    assert result.height >= 2
    for path, struct in again.select("path", "path_imgmeta").iter_rows():
        assert struct == known[path]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_join_that_changes_locators_is_noticed(
    engine: str, frame: pl.DataFrame, photos: Path
) -> None:
    """Rows whose locator was replaced are read again, and no others."""
    corrected = pl.DataFrame({"id": [0, 3], "path": [str(photos / "carpet.png")] * 2})
    result = run(engine, frame, lambda a, b: a.update(b, on="id"), corrected)
    with count_reads(photos) as opened:
        again = im.extract(result, "path", PROPERTIES)
    assert set(opened) == {"carpet.png"}
    assert_frame_equal(again, im.extract(result.drop("path_imgmeta"), "path", PROPERTIES))


OPERATIONS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "rename": lambda df: df.rename({"id": "key"}),
    "filter": lambda df: df.filter(pl.col("path_imgmeta").struct.field("width") > 0),
    "filter by the flag": lambda df: df.filter(
        pl.col("path_imgmeta").struct.field("auto_extracted").is_not_null()
    ),
    "sort": lambda df: df.sort("path_imgmeta", descending=True),
    "sort by field": lambda df: df.sort(pl.col("path_imgmeta").struct.field("symmetry")),
    "group_by first": lambda df: df.group_by("set").agg(pl.col("path", "path_imgmeta").first()),
    "group_by and explode": lambda df: (
        df.group_by("set").agg("path", "path_imgmeta").explode("path", "path_imgmeta")
    ),
    "over": lambda df: df.with_columns(pl.col("path", "path_imgmeta").first().over("set")),
    "concat vertical": lambda df: pl.concat([df, df]),
    "concat diagonal": lambda df: pl.concat([df, df.select("id")], how="diagonal"),
    "concat horizontal": lambda df: pl.concat([df, df.select(other="id")], how="horizontal"),
    "concat align": lambda df: pl.concat([df, df.select("id", other="set")], how="align"),
    "extend": lambda df: df.clone().extend(df),
    "vstack": lambda df: df.vstack(df),
    "unique": lambda df: df.unique(),
    "sample": lambda df: df.sample(3, seed=0),
    "clear": lambda df: df.clear(),
    "lazy": lambda df: df.lazy().filter(pl.col("id") > 0).collect(),
    "streaming": lambda df: df.lazy().filter(pl.col("id") > 0).collect(engine="streaming"),
    "sql": lambda df: pl.SQLContext(t=df).execute(
        "SELECT * FROM t WHERE path_imgmeta.width > 0", eager=True
    ),
    "sql join": lambda df: pl.SQLContext(t=df).execute(
        "SELECT t.*, u.id AS other FROM t LEFT JOIN t AS u ON t.id = u.id", eager=True
    ),
    "pickle": lambda df: pickle.loads(pickle.dumps(df)),  # noqa: S301
    "serialize": lambda df: pl.LazyFrame.deserialize(df.lazy().serialize()).collect(),
    "arrow": lambda df: pl.DataFrame(pl.from_arrow(df.to_arrow())),
    "readable arrow": lambda df: pl.DataFrame(pl.from_arrow(im.to_arrow(df))),
    "accessor": lambda df: pl.DataFrame(df.imgmeta),  # type: ignore[attr-defined]
    "with_fields": lambda df: df.with_columns(
        pl.col("path_imgmeta").struct.with_fields(width=pl.field("width"))
    ),
    "cast": lambda df: df.cast(df.schema),
    "cast fields": lambda df: df.with_columns(
        pl.col("path_imgmeta").struct.with_fields(
            pl.field("width").cast(pl.Int64),
            pl.field("auto_extracted").cast(pl.Categorical).cast(pl.String),
        )
    ),
    "rows": lambda df: pl.DataFrame(df.rows(), schema=df.schema, orient="row"),
    "dicts": lambda df: pl.DataFrame(df.to_dicts()),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_polars_operations_keep_the_flag(operation: str, frame: pl.DataFrame, photos: Path) -> None:
    """The column is found again, with all that its rows record."""
    check_unread(OPERATIONS[operation](frame), photos)


def test_frames_of_different_properties_go_together(frame: pl.DataFrame, photos: Path) -> None:
    """Only what a part lacks is read."""
    first, second = frame.head(2), frame.tail(3)
    for lacking, read in (
        (im.remove(second, "width"), {"noise.png", "gone.png"}),
        (im.add(second, "height"), set()),
    ):
        for how in ("vertical_relaxed", "diagonal_relaxed"):
            together = pl.concat([first, lacking], how=how)
            with count_reads(photos) as opened:
                again = im.configure(together, PROPERTIES)
            assert set(opened) == read
            assert_frame_equal(again, frame)


def test_frames_of_different_locators_go_together(frame: pl.DataFrame, photos: Path) -> None:
    """The rows record another locator column, whose name the frame has no more."""
    other = im.extract(frame.select("id", "set", file="path"), "file", PROPERTIES)
    other = other.rename({"file": "path", "file_imgmeta": "path_imgmeta"})
    together = pl.concat([frame.head(3), other.tail(2).select(frame.columns)])
    assert im.provenance(together).locators == ("path", "file")
    with count_reads(photos) as opened:
        again = im.extract(together, "path", PROPERTIES)
    assert not opened
    assert_frame_equal(again, frame)


def test_frames_of_different_versions_go_together(frame: pl.DataFrame, photos: Path) -> None:
    """Rows of the former version are computed anew, and no others."""
    first = im.custom_property(needs="header", dtype=pl.Int32)(shout)
    second = replace(first, version=2)
    old = im.extract(frame, "path", [*PROPERTIES, first])
    new = im.extract(frame, "path", [*PROPERTIES, second])
    together = pl.concat([old.head(2), new.tail(3)])
    assert im.provenance(together).versions["shout"] == (1, 2)
    with count_reads(photos) as opened:
        again = im.extract(together, "path", [*PROPERTIES, second])
    assert set(opened) == {"dusk.png", "truncated.png"}
    assert_frame_equal(again, new)


def shout(header: object) -> int:
    """A property of the tests."""
    return len(type(header).__name__)


def by_parquet(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read Parquet by Polars alone."""
    frame.write_parquet(folder / "a.parquet")
    return pl.read_parquet(folder / "a.parquet")


def by_readable_parquet(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write by this package, read and write by pyarrow, and read by Polars."""
    im.write_parquet(frame, folder / "a.parquet")
    pq.write_table(pq.read_table(folder / "a.parquet"), folder / "b.parquet")
    return pl.read_parquet(folder / "b.parquet")


def by_hive(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read a hive-partitioned dataset, without its key in the files."""
    target = pl.PartitionBy(folder / "set", key="set", include_key=False)
    im.sink_parquet(frame.lazy(), target, mkdir=True)
    return pl.read_parquet(folder / "set").select(frame.columns)


def by_ipc(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read an Arrow IPC file and a stream."""
    frame.write_ipc(folder / "a.arrow", compression="zstd")
    pl.read_ipc(folder / "a.arrow").write_ipc_stream(folder / "a.arrows")
    return pl.read_ipc_stream(folder / "a.arrows")


def by_avro(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read Avro."""
    frame.write_avro(folder / "a.avro")
    return pl.read_avro(folder / "a.avro")


def by_ndjson(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read lines of JSON, which has no dtypes."""
    frame.write_ndjson(folder / "a.ndjson")
    return pl.read_ndjson(folder / "a.ndjson")


def by_json(frame: pl.DataFrame, _: Path) -> pl.DataFrame:
    """Write and read JSON, which has no dtypes."""
    return pl.read_json(io.BytesIO(frame.write_json().encode()))


def by_csv(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read flat columns."""
    im.unnest(frame, marker=True).write_csv(folder / "a.csv")
    return im.nest(pl.read_csv(folder / "a.csv"), "path_imgmeta").select(frame.columns)


def by_unnest(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write flat columns with no function of this package."""
    frame.unnest("path_imgmeta").write_csv(folder / "a.csv")
    return im.nest(pl.read_csv(folder / "a.csv"), "path_imgmeta").select(frame.columns)


def by_adbc(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read a table of SQLite, which has few dtypes and none for a column of nulls."""
    uri = f"sqlite:///{folder}/a.db"
    im.unnest(frame, marker=True).write_database("photos", uri, engine="adbc")
    flat = pl.read_database_uri("SELECT * FROM photos", uri, engine="adbc")
    return im.nest(flat, "path_imgmeta").select(frame.columns)


def by_pandas(frame: pl.DataFrame, _: Path) -> pl.DataFrame:
    """Turn structs into objects and back."""
    return pl.from_pandas(frame.to_pandas())


def by_arrow_pandas(frame: pl.DataFrame, _: Path) -> pl.DataFrame:
    """Keep Arrow's dtypes in pandas."""
    return pl.from_pandas(frame.to_pandas(use_pyarrow_extension_array=True))


def by_pyarrow_dataset(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write by pyarrow, and scan its dataset."""
    ds.write_dataset(im.to_arrow(frame), folder / "set", format="parquet", partitioning=["set"])
    dataset = ds.dataset(folder / "set", partitioning=["set"])
    return pl.scan_pyarrow_dataset(dataset).collect().select(frame.columns)


def by_delta(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Create a Delta table, and append to it with and without field metadata."""
    im.write_delta(frame[:1], folder / "table")
    frame[1:2].write_delta(folder / "table", mode="append")
    im.write_delta(frame[2:3], folder / "table", mode="append")
    deltalake.write_deltalake(folder / "table", im.to_arrow(frame[3:]), mode="append")
    return pl.read_delta(str(folder / "table"))


def by_delta_merge(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Merge rows into a Delta table."""
    frame.head(3).write_delta(folder / "table")
    options = {"predicate": "s.id = t.id", "source_alias": "s", "target_alias": "t"}
    merger = im.write_delta(frame, folder / "table", mode="merge", delta_merge_options=options)
    assert merger is not None
    merger.when_matched_update_all().when_not_matched_insert_all().execute()
    return pl.read_delta(str(folder / "table"))


def by_iceberg(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Create an Iceberg table, append by Polars and by pyiceberg, and scan it."""
    catalog = make_catalog(folder)
    table = catalog.create_table("n.photos", schema=im.to_arrow(frame).schema)
    im.sink_iceberg(frame[:2].lazy(), table, mode="append")
    frame[2:3].lazy().sink_iceberg(table, mode="append")
    table.append(im.to_arrow(frame[3:]))
    return pl.scan_iceberg(table).collect()


def by_lance(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and append to a Lance dataset."""
    lance.write_dataset(im.to_arrow(frame[:2]), folder / "a.lance")
    dataset = lance.write_dataset(frame[2:].to_arrow(), folder / "a.lance", mode="append")
    return pl.DataFrame(pl.from_arrow(dataset.to_table()))


def by_duckdb(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Filter and write by DuckDB, which sees an ordinary struct."""
    frame.write_parquet(folder / "a.parquet")
    source, target = folder / "a.parquet", folder / "b.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM '{source}') TO '{target}'")  # noqa: S608
        return pl.DataFrame(connection.sql(f"SELECT * FROM '{target}'"))  # noqa: S608


def by_dataframely(frame: pl.DataFrame, _: Path) -> pl.DataFrame:
    """Validate by a schema."""
    fields: dict[str, dy.Column] = {
        "width": dy.Int32(nullable=True),
        "symmetry": dy.Float64(nullable=True),
        "error": dy.String(nullable=True),
        "auto_extracted": dy.String(),
    }

    class Photos(dy.Schema):
        path = dy.String(nullable=True)
        id = dy.Int64(primary_key=True)
        set = dy.String()
        path_imgmeta = dy.Struct(fields, nullable=True)

    return pl.DataFrame(Photos.validate(frame, cast=True))


TRIPS: list[Callable[[pl.DataFrame, Path], pl.DataFrame]] = [
    by_parquet,
    by_readable_parquet,
    by_hive,
    by_ipc,
    by_avro,
    by_ndjson,
    by_json,
    by_csv,
    by_unnest,
    by_adbc,
    by_pandas,
    by_arrow_pandas,
    by_pyarrow_dataset,
    by_delta,
    by_delta_merge,
    by_iceberg,
    by_lance,
    by_duckdb,
    by_dataframely,
]


@pytest.mark.parametrize("rows", [5, 1])
@pytest.mark.parametrize("trip", TRIPS)
def test_other_tools_keep_the_flag(
    trip: Callable[[pl.DataFrame, Path], pl.DataFrame],
    rows: int,
    frame: pl.DataFrame,
    photos: Path,
    tmp_path: Path,
) -> None:
    """After a round trip, with and without errors, `extract` reads nothing and restores all."""
    frame = frame.head(rows)
    again = check_unread(trip(frame, tmp_path), photos)
    assert_frame_equal(again.sort("id"), frame)


# Polars writes no time zone to Avro. pandas turns integers beside nulls into floats, which cannot
# hold 64 bits, so that they are computed anew.
LOST: dict[Callable[[pl.DataFrame, Path], pl.DataFrame], tuple[PropertyName, ...]] = {
    by_avro: ("modified",),
    by_pandas: ("perceptual_hash",),
}


@pytest.mark.parametrize("rows", [5, 1])
@pytest.mark.parametrize("trip", [trip for trip in TRIPS if trip is not by_dataframely])
def test_other_tools_keep_the_whole_catalogue(
    trip: Callable[[pl.DataFrame, Path], pl.DataFrame],
    rows: int,
    captured: pl.DataFrame,
    photos: Path,
    tmp_path: Path,
) -> None:
    """So do all properties, among them times with and without a zone, texts and truth values."""
    frame = captured.head(rows)
    if trip in LOST:
        frame = im.remove(frame, *LOST[trip])
    again = check_unread(trip(frame, tmp_path), photos, im.properties(frame))
    assert_frame_equal(again.sort("id"), frame)


@pytest.mark.parametrize("rows", [["whole", "fraction", "failed", "null"], ["failed", "null"]])
def test_a_database_keeps_the_source(rows: list[str], photos: Path, tmp_path: Path) -> None:
    """Times come back from SQLite as text, and columns of nulls as integers."""
    for name, nanoseconds in (("whole", 1_700_000_000_000_000_000), ("fraction", -123_456_000)):
        shutil.copy(photos / "dusk.png", tmp_path / name)
        os.utime(tmp_path / name, ns=(0, nanoseconds))
    shutil.copy(photos / "truncated.png", tmp_path / "failed")
    paths = [None if row == "null" else str(tmp_path / row) for row in rows]
    selected: list[PropertyName | GroupName] = ["width", "source"]
    frame = im.extract(pl.DataFrame({"path": paths}), "path", selected)
    result = by_adbc(frame, tmp_path)
    assert_frame_equal(result, frame)
    with count_reads(tmp_path) as opened:
        again = im.extract(result, "path", selected)
    assert not opened
    assert_frame_equal(again, frame)


def test_a_delta_table_evolves(frame: pl.DataFrame, photos: Path, tmp_path: Path) -> None:
    """An added property is null in the former rows, which alone are read for it."""
    table = str(tmp_path / "table")
    frame.head(3).write_delta(table)
    options = {"schema_mode": "merge"}
    added = im.add(frame, "height")
    im.write_delta(added.tail(2), table, mode="append", delta_write_options=options)
    frame.head(1).write_delta(table, mode="append", delta_write_options=options)
    result = pl.read_delta(table).unique("id").sort("id")
    assert_frame_equal(im.configure(result, PROPERTIES), frame)
    with count_reads(photos) as opened:
        again = im.extract(result, "path", [*PROPERTIES, "height"])
    assert set(opened) == {"dusk.png", "truncated.png", "noise.png"}
    assert_frame_equal(again, added)


def test_an_iceberg_table_evolves(frame: pl.DataFrame, photos: Path, tmp_path: Path) -> None:
    """An added property is null in the former rows, which alone are read for it."""
    catalog = make_catalog(tmp_path)
    table = catalog.create_table("n.photos", schema=im.to_arrow(frame).schema)
    im.sink_iceberg(frame.head(3).lazy(), table, mode="append")
    added = im.add(frame, "height")
    im.sink_iceberg(added.tail(2).lazy(), table, mode="append", schema_mode="merge")
    result = pl.scan_iceberg(table).collect().sort("id")
    with count_reads(photos) as opened:
        again = im.extract(result, "path", [*PROPERTIES, "height"])
    assert set(opened) == {"dusk.png", "truncated.png", "noise.png"}
    assert_frame_equal(again, added)


def test_parts_of_several_writers_are_scanned_together(
    frame: pl.DataFrame, photos: Path, tmp_path: Path
) -> None:
    """Polars, this package, pyarrow and DuckDB each write a part."""
    frame[:1].write_parquet(tmp_path / "a.parquet")
    im.write_parquet(frame[1:2], tmp_path / "b.parquet")
    pq.write_table(frame[2:3].to_arrow(), tmp_path / "c.parquet")
    frame[3:].write_parquet(tmp_path / "d.tmp")
    with duckdb.connect() as connection:
        source, target = tmp_path / "d.tmp", tmp_path / "d.parquet"
        connection.execute(f"COPY (FROM read_parquet('{source}')) TO '{target}'")
        scanned = pl.DataFrame(connection.sql(f"FROM '{tmp_path}/*.parquet'"))
    for result in (pl.scan_parquet(tmp_path / "*.parquet").collect(), scanned):
        assert_frame_equal(check_unread(result, photos).sort("id"), frame)


def test_a_process_without_the_package_sees_an_ordinary_struct(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    """It filters, unnests to CSV, casts, and writes the flag back."""
    frame.write_parquet(tmp_path / "a.parquet")
    code = (
        "import json, sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "import polars as pl\n"
        "field = pl.col('path_imgmeta').struct.field\n"
        "df = pl.read_parquet('a.parquet').filter(field('auto_extracted').is_not_null())\n"
        "df.unnest('path_imgmeta').write_csv('b.csv')\n"
        "df.cast(df.schema).write_parquet('b.parquet')\n"
        "assert 'polars_imgmeta' not in sys.modules\n"
        "print(json.dumps(df['path_imgmeta'].struct.field('width').to_list()))"
    )
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [320, 320, 320, None]
    assert_frame_equal(pl.read_parquet(tmp_path / "b.parquet"), frame.head(4))
    flat = im.nest(pl.read_csv(tmp_path / "b.csv"), "path_imgmeta")
    assert_frame_equal(flat, frame.head(4).select(flat.columns))


def test_the_time_of_the_import_does_not_matter(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Frames, schemas and plans from before the import are the same as those from after it."""
    frame.write_parquet(tmp_path / "a.parquet")
    code = (
        "import pickle\n"
        "import polars as pl\n"
        "df = pl.read_parquet('a.parquet')\n"
        "plan = pl.scan_parquet('a.parquet').filter(pl.col('id') >= 0)\n"
        "schema, pickled = plan.collect_schema(), pickle.dumps(plan)\n"
        "import polars_imgmeta as im\n"
        "assert im.extract(df, 'path', ['width', 'symmetry']).equals(df)\n"
        "for lazy in (plan, pickle.loads(pickled)):\n"
        "    assert lazy.collect_schema() == schema\n"
        "    assert im.extract(lazy, 'path', ['width', 'symmetry']).collect().equals(df)\n"
        "    print(im.properties(im.add(lazy, 'height')), im.provenance(lazy).locators)"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['width', 'height', 'symmetry'] ('path',)\n" * 2


def test_a_plan_of_an_extraction_is_pickled(frame: pl.DataFrame, tmp_path: Path) -> None:
    """A process that unpickles it needs no import of its own."""
    plan = im.extract(frame.lazy().select("path", "id", "set"), "path", PROPERTIES)
    (tmp_path / "plan").write_bytes(pickle.dumps(plan))
    code = (
        "import pickle\n"
        "plan = pickle.loads(open('plan', 'rb').read())\n"
        "plan.collect().write_parquet('a.parquet')"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert_frame_equal(pl.read_parquet(tmp_path / "a.parquet").select(frame.columns), frame)


PATTERNS = ["^p.*$", "^.*$", "*", "path_[a-z]+", ""]
VERBS: dict[str, Callable[[pl.DataFrame, str], Any]] = {
    "extract": lambda df, name: im.extract(df, name, "height"),
    "extract where": lambda df, name: im.extract(df, name, "height", where=pl.col("id") > 1),
    "add": lambda df, name: im.add(df, "height", column=f"{name}_imgmeta"),
    "add by locator": lambda df, name: im.add(df, "height", column=f"{name}_imgmeta", locator=name),
    "remove": lambda df, name: im.remove(df, "width", column=f"{name}_imgmeta"),
    "remove all": lambda df, name: im.remove(df, *PROPERTIES, column=f"{name}_imgmeta"),
    "configure": lambda df, name: im.configure(df, "height", column=f"{name}_imgmeta"),
    "retry": lambda df, name: im.retry(df, column=f"{name}_imgmeta"),
    "refresh": lambda df, name: im.refresh(df, column=f"{name}_imgmeta"),
    "status": lambda df, name: im.status(df, column=f"{name}_imgmeta", check_sources=True),
    "errors": lambda df, name: im.errors(df, column=f"{name}_imgmeta"),
    "properties": lambda df, name: im.properties(df, f"{name}_imgmeta"),
    "provenance": lambda df, name: im.provenance(df, f"{name}_imgmeta").versions,
    "locators": lambda df, name: im.provenance(df, f"{name}_imgmeta").locators == (name,),
    "unnest": lambda df, name: im.unnest(df, f"{name}_imgmeta"),
    "nest": lambda df, name: im.nest(
        im.unnest(df, f"{name}_imgmeta", marker=True), f"{name}_imgmeta"
    ),
    "test_cases": lambda df, name: im.test_cases(df, "width", [100], column=f"{name}_imgmeta"),
    "to_arrow": lambda df, name: (
        im.to_arrow(df).schema.field(f"{name}_imgmeta").metadata[b"imgmeta.locator"]
        == name.encode()
    ),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", PATTERNS)
def test_columns_are_addressed_by_name(
    name: str, verb: str, *, lazy: bool, frame: pl.DataFrame, photos: Path
) -> None:
    """A name that Polars could take for a pattern means the column of that name alone."""
    other = pl.lit(str(photos / "carpet.png"))

    def apply(name: str) -> Any:  # noqa: ANN401 - what a verb returns
        named = frame.select(
            pl.Series(name, frame["path"]), "id", pl.lit(0).alias("other"), other.alias("paths")
        )
        named = im.extract(im.extract(named, name, PROPERTIES), "paths", "width")
        if verb == "nest":
            named = named.drop("paths_imgmeta")
        result = VERBS[verb](named.lazy() if lazy else named, name)  # type: ignore[arg-type]
        result = result.collect() if isinstance(result, pl.LazyFrame) else result
        if not isinstance(result, pl.DataFrame):
            return result
        if (column := f"{name}_imgmeta") in result.columns:
            struct = result.get_column(column).struct
            fields = struct.unnest().with_columns(
                auto_extracted=struct.field("auto_extracted").str.strip_prefix(f"{name}@")
            )
            result = result.with_columns(fields.to_struct(column))
        result.columns = [one.replace(name, "path") if name else one for one in result.columns]
        if not name:
            result.columns = [
                {"": "path", "_imgmeta": "path_imgmeta"}.get(one, one) for one in result.columns
            ]
        return result

    result, expected = apply(name), apply("path")
    if isinstance(expected, pl.DataFrame):
        assert_frame_equal(result, expected)
    else:
        assert result == expected


def test_fields_of_another_dtype_are_cast_back(frame: pl.DataFrame, photos: Path) -> None:
    """An engine that widens integers does no harm."""
    widened = frame.with_columns(
        pl.col("path_imgmeta").struct.with_fields(pl.field("width").cast(pl.Int64))
    )
    assert_frame_equal(check_unread(widened, photos), frame)


def test_a_renamed_locator_column_is_named(frame: pl.DataFrame) -> None:
    """With `locator=` the verbs go on, and the rows record the new name."""
    renamed = frame.rename({"path": "file"})
    expected = im.add(frame, "height").rename({"path": "file"})
    for result in (
        im.add(renamed, "height", locator="file"),
        im.extract(renamed, "file", "height", into="path_imgmeta"),
    ):
        assert im.provenance(result).locators == ("file",)
        assert_frame_equal(im.unnest(result), im.unnest(expected))
    assert im.errors(renamed, locator="file")["kind"].to_list() == ["corrupt", "not_found"]
    assert im.retry(renamed, locator="file").height == 5


def test_other_structs_are_not_taken_for_extracted_ones() -> None:
    """A column needs both flags, of String or Null, and one more field."""
    ordinary = pl.DataFrame(
        {
            "a": [{"width": 1}],
            "b": [{"width": 1, "auto_extracted": "yes"}],
            "c": [{"auto_extracted": "yes", "error": None}],
            "d": [datetime(2026, 1, 1)],  # noqa: DTZ001
            "e": [{"width": 1, "error": "x: y", "auto_extracted": True}],
        }
    )
    assert im.columns(ordinary) == []
    flagged = pl.DataFrame({"f": [{"width": 1, "error": None, "auto_extracted": None}]})
    assert im.columns(flagged) == ["f"]


def test_consumers_of_arrow_take_the_accessor(frame: pl.DataFrame) -> None:
    """`df.imgmeta` is an Arrow stream with the field metadata."""
    stream: Any = frame.imgmeta  # type: ignore[attr-defined]
    assert pa.table(stream).equals(im.to_arrow(frame), check_metadata=True)
    with duckdb.connect() as connection:
        connection.register("photos", stream)
        query = "SELECT path_imgmeta.width FROM photos WHERE path_imgmeta.auto_extracted <> ''"
        assert connection.execute(query).fetchall() == [(320,), (320,), (320,), (None,)]
