"""The flag stays on the column wherever Polars and other tools take it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from interpreters import run_python
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.typing import PropertyName

NAMES = ["dusk.png", "truncated.png", "noise.png", "gone.png"]
PROPERTIES: list[PropertyName] = ["width", "symmetry"]


@pytest.fixture(scope="module")
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture(scope="module")
def frame(photos: Path) -> pl.DataFrame:
    """Complete, failed and null rows, beside a key and a group."""
    paths = [*(str(photos / name) for name in NAMES), None]
    frame = pl.DataFrame({"path": paths, "id": range(5), "set": list("ababa")})
    return im.extract(frame, "path", ["width", "symmetry"])


OPERATIONS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "select": lambda df: df.select("path_imgmeta"),
    "rename": lambda df: df.rename({"path_imgmeta": "meta"}),
    "filter": lambda df: df.filter(pl.col("path_imgmeta").struct.field("width") > 0),
    "sort": lambda df: df.sort("path_imgmeta", descending=True),
    "sort by field": lambda df: df.sort(pl.col("path_imgmeta").struct.field("symmetry")),
    "inner join": lambda df: df.select("id", "path_imgmeta").join(df.select("id", "set"), on="id"),
    "left join": lambda df: pl.DataFrame({"id": [0, 9]}).join(df, on="id", how="left"),
    "join asof": lambda df: df.select("id").join_asof(df.select("id", "path_imgmeta"), on="id"),
    "group_by first": lambda df: df.group_by("set").agg(pl.col("path_imgmeta").first()),
    "group_by and explode": lambda df: (
        df.group_by("set").agg("path_imgmeta").explode("path_imgmeta")
    ),
    "concat vertical": lambda df: pl.concat([df, df]),
    "concat diagonal": lambda df: pl.concat([df, df.select("id")], how="diagonal"),
    "concat relaxed": lambda df: pl.concat([df, im.remove(df, "width")], how="vertical_relaxed"),
    "concat horizontal": lambda df: pl.concat([df, df.select(other="id")], how="horizontal"),
    "extend": lambda df: df.clone().extend(df),
    "unique": lambda df: df.unique(),
    "sample": lambda df: df.sample(3, seed=0),
    "head": lambda df: df.head(2),
    "clear": lambda df: df.clear(),
    "lazy streaming": lambda df: df.lazy().filter(pl.col("id") > 0).collect(engine="streaming"),
    "sql": lambda df: pl.SQLContext(t=df).execute("SELECT * FROM t WHERE id > 0", eager=True),
    "pickle": lambda df: pickle.loads(pickle.dumps(df)),  # noqa: S301
    "serialize": lambda df: pl.LazyFrame.deserialize(df.lazy().serialize()).collect(),
    "arrow": lambda df: pl.DataFrame(pl.from_arrow(df.to_arrow())),
    "readable arrow": lambda df: pl.DataFrame(pl.from_arrow(im.to_arrow(df))),
    "with_fields": lambda df: df.with_columns(
        pl.col("path_imgmeta").struct.with_fields(width=pl.field("width"))
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_polars_operations_keep_the_flag(operation: str, frame: pl.DataFrame) -> None:
    """The column is found again, with all that its record holds."""
    result = OPERATIONS[operation](frame)
    (column,) = im.columns(result)
    assert result[column].dtype == frame["path_imgmeta"].dtype
    assert im.properties(result) == PROPERTIES
    assert im.provenance(result).locator == "path"
    assert im.provenance(result).edition == 1


def test_a_plain_boolean_is_recognised(frame: pl.DataFrame, photos: Path) -> None:
    """Engines that know no extension types leave a Boolean: the verbs work on."""
    plain = frame.with_columns(
        pl.col("path_imgmeta").struct.with_fields(pl.field("auto_extracted").ext.storage())
    )
    assert im.columns(plain) == ["path_imgmeta"]
    record = im.provenance(plain)
    assert (record.properties, record.locator, record.edition) == (tuple(PROPERTIES), None, None)
    with count_reads(photos) as opened:
        again = im.extract(plain, "path", PROPERTIES)
    assert not opened
    assert_frame_equal(again, frame)
    assert_frame_equal(im.add(plain, "height"), im.add(frame, "height"))
    assert_frame_equal(im.extract(im.remove(plain, "width"), "path", "width"), frame)


def round_trip_by_polars(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read Parquet by Polars alone."""
    frame.write_parquet(folder / "a.parquet")
    return pl.read_parquet(folder / "a.parquet")


def round_trip_by_ipc(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read an Arrow IPC file."""
    frame.write_ipc(folder / "a.arrow", compression="zstd")
    return pl.read_ipc(folder / "a.arrow")


def round_trip_by_ipc_stream(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and read an Arrow IPC stream."""
    frame.write_ipc_stream(folder / "a.arrows")
    return pl.read_ipc_stream(folder / "a.arrows")


def round_trip_by_pyarrow(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write by Polars, read and write by pyarrow, and take it from there."""
    im.write_parquet(frame, folder / "a.parquet")
    pq.write_table(pq.read_table(folder / "a.parquet"), folder / "b.parquet")
    return pl.read_parquet(folder / "b.parquet")


def round_trip_by_pyarrow_dataset(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write by pyarrow and scan lazily."""
    pq.write_table(im.to_arrow(frame), folder / "a.parquet")
    return pl.scan_parquet(folder / "a.parquet").filter(pl.col("id") >= 0).collect()


def round_trip_by_delta(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write and append to a Delta table, and read it back."""
    frame.head(3).write_delta(str(folder / "table"))
    frame.tail(2).write_delta(str(folder / "table"), mode="append")
    assert deltalake.DeltaTable(str(folder / "table")).version() == 1
    return pl.read_delta(str(folder / "table")).sort("id")


def round_trip_by_duckdb(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Filter and write by DuckDB, which knows the struct as an ordinary one."""
    frame.write_parquet(folder / "a.parquet")
    source, target = folder / "a.parquet", folder / "b.parquet"
    with duckdb.connect() as connection:
        widths = connection.execute(
            f"SELECT path_imgmeta.width FROM '{source}' WHERE path_imgmeta.auto_extracted"  # noqa: S608
        ).fetchall()
        assert widths == [(320,), (320,), (320,), (None,)]
        connection.execute(f"COPY (SELECT * FROM '{source}') TO '{target}'")  # noqa: S608
    return pl.read_parquet(target)


TRIPS: dict[str, Callable[[pl.DataFrame, Path], pl.DataFrame]] = {
    "parquet by polars": round_trip_by_polars,
    "ipc file": round_trip_by_ipc,
    "ipc stream": round_trip_by_ipc_stream,
    "parquet by pyarrow": round_trip_by_pyarrow,
    "pyarrow to scan": round_trip_by_pyarrow_dataset,
    "delta lake": round_trip_by_delta,
    "duckdb": round_trip_by_duckdb,
}


@pytest.mark.parametrize("trip", TRIPS)
def test_other_tools_keep_the_flag(
    trip: str, frame: pl.DataFrame, photos: Path, tmp_path: Path
) -> None:
    """After a round trip the column is found, read no more, and is the same again."""
    result = TRIPS[trip](frame, tmp_path)
    assert im.columns(result) == ["path_imgmeta"]
    assert im.properties(result) == PROPERTIES
    with count_reads(photos) as opened:
        again = im.extract(result, "path", PROPERTIES)
    assert not opened
    assert_frame_equal(again, frame, check_row_order=False)


def test_a_reader_without_the_package_sees_an_ordinary_struct(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    """A process that never imports the package reads, and writes the flag back."""
    frame.write_parquet(tmp_path / "a.parquet")
    code = (
        "import json, sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "import polars as pl\n"
        "wide = pl.col('path_imgmeta').struct.field('width') > 0\n"
        "df = pl.read_parquet('a.parquet').filter(wide)\n"
        "df.unnest('path_imgmeta').drop('auto_extracted').write_csv('b.csv')\n"
        "df.write_parquet('b.parquet')\n"
        "assert 'polars_imgmeta' not in sys.modules\n"
        "print(json.dumps(df['path_imgmeta'].struct.field('width').to_list()))"
    )
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [320, 320, 320]
    assert_frame_equal(pl.read_parquet(tmp_path / "b.parquet"), frame.head(3))


def test_a_frame_loaded_before_the_import_is_recognised(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    """A generic extension dtype, from before the registration, is the same flag."""
    frame.write_parquet(tmp_path / "a.parquet")
    code = (
        "import polars as pl\n"
        "df = pl.read_parquet('a.parquet')\n"
        "import polars_imgmeta as im\n"
        "print(im.provenance(df))\n"
        "again = im.extract(df, 'path', ['width', 'symmetry'])\n"
        "assert im.unnest(again).equals(im.unnest(df))\n"
        "print(im.properties(im.add(df, 'height')))"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "Provenance(column='path_imgmeta', properties=('width', 'symmetry'), locator='path',"
        " edition=1)\n['width', 'height', 'symmetry']\n"
    )


def test_fields_of_another_dtype_become_ours_again(frame: pl.DataFrame, photos: Path) -> None:
    """An engine that widens integers does no harm."""
    widened = frame.with_columns(
        pl.col("path_imgmeta").struct.with_fields(pl.field("width").cast(pl.Int64))
    )
    with count_reads(photos) as opened:
        assert_frame_equal(im.extract(widened, "path", PROPERTIES), frame)
    assert not opened


def of_edition(frame: pl.DataFrame, edition: int) -> pl.DataFrame:
    """The frame as another edition of the formulas would have made it."""
    table = im.to_arrow(frame)
    index = table.schema.get_field_index("path_imgmeta")
    column = table.schema.field(index)
    metadata = {
        "ARROW:extension:name": "imgmeta",
        "ARROW:extension:metadata": f'{{"edition":{edition},"locator":"path"}}',
    }
    children = [
        child.with_metadata(metadata) if child.name == "auto_extracted" else child
        for child in column.type
    ]
    schema = table.schema.set(index, pa.field(column.name, pa.struct(children)))
    return pl.DataFrame(pl.from_arrow(table.cast(schema)))


def test_another_edition_is_never_mixed(frame: pl.DataFrame, photos: Path) -> None:
    """`extract` computes such a column anew; the verbs that would add to it say so."""
    wrong = pl.col("path_imgmeta").struct.with_fields(width=pl.lit(-1, pl.Int32))
    stale = of_edition(frame.with_columns(wrong), 0)
    described = im.to_arrow(stale).schema.field("path_imgmeta").metadata
    assert described[b"imgmeta.edition"] == b"0"
    assert im.provenance(stale).edition == 0
    assert not im.provenance(stale).current
    message = (
        "'path_imgmeta' was made by edition 0 of the formulas, this is edition 1: values of both"
        " must not mix\n\nHint: `extract` computes the whole column anew"
    )
    verbs: list[Callable[[], object]] = [
        lambda: im.add(stale, "height"),
        lambda: im.configure(stale, "height"),
        lambda: im.retry(stale),
    ]
    for verb in verbs:
        with pytest.raises(im.ColumnError) as caught:
            verb()
        assert str(caught.value) == message
    with count_reads(photos) as opened:
        renewed = im.extract(stale, "path", "height")
    assert set(opened) >= {"dusk.png", "truncated.png", "noise.png"}
    assert_frame_equal(renewed, im.add(frame, "height"))
    assert im.properties(im.remove(stale, "width")) == ["symmetry"]


def test_a_renamed_locator_column_is_named(frame: pl.DataFrame) -> None:
    """With `locator=` the verbs go on, and the record follows."""
    renamed = frame.rename({"path": "file"})
    expected = im.add(frame, "height").rename({"path": "file"})
    for result in (
        im.add(renamed, "height", locator="file"),
        im.extract(renamed, "file", "height", into="path_imgmeta"),
    ):
        assert im.provenance(result).locator == "file"
        assert_frame_equal(im.unnest(result), im.unnest(expected))
    assert im.errors(renamed, locator="file")["kind"].to_list() == ["corrupt", "not_found"]
    assert im.retry(renamed, locator="file").height == 5


def test_a_struct_of_somebody_elses_is_not_taken_for_ours() -> None:
    """Only the marker, or a Boolean of its name beside `error`, makes a column ours."""
    ordinary = pl.DataFrame(
        {
            "a": [{"width": 1}],
            "b": [{"width": 1, "auto_extracted": True}],
            "c": [{"auto_extracted": "yes", "error": None}],
            "d": [datetime(2026, 1, 1)],  # noqa: DTZ001
        }
    )
    assert im.columns(ordinary) == []
    plain = pl.DataFrame({"e": [{"width": 1, "error": "x: y", "auto_extracted": True}]})
    assert im.columns(plain) == ["e"]
