"""The readable metadata of Arrow and Parquet, read back by pyarrow."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from iceberg import make_catalog
from polars.testing import assert_frame_equal
from pyiceberg.table import Table
from pyiceberg.types import StructType

import polars_imgmeta as im

FLAG = {b"imgmeta.auto_extracted": b"true"}
COLUMN = {
    **FLAG,
    b"imgmeta.locator": b"path",
    b"imgmeta.version": im.__version__.encode(),
    b"doc": b"Properties of images, extracted by polars-imgmeta",
}
FIELDS = {
    **{
        name: {
            **FLAG,
            b"imgmeta.description": im.CATALOGUE[name].description.encode(),
            b"imgmeta.unit": im.CATALOGUE[name].unit.encode(),
            b"imgmeta.version": b"1",
            b"doc": im.CATALOGUE[name].description.encode(),
        }
        for name in ("width", "symmetry")
    },
    "error": None,
    "auto_extracted": None,
}


@pytest.fixture(scope="module")
def frame(sample_folder: Path) -> pl.DataFrame:
    """A frame with columns of many dtypes around the auto-extracted one."""
    names = ["dusk.png", "gone.png", "mirror.png"]
    frame = pl.DataFrame({"path": [str(sample_folder / "photos" / name) for name in names]})
    frame = frame.with_columns(
        label=pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        kind=pl.Series(["x", "y", "x"], dtype=pl.Enum(["x", "y"])),
        boxes=pl.Series([[1, 2], [], None], dtype=pl.List(pl.Int16)),
        raw=pl.Series([b"1", None, b"3"]),
        price=pl.Series([1, 2, 3]).cast(pl.Decimal(10, 2)),
        taken=pl.Series([1, 2, 3]).cast(pl.Datetime("ms", "UTC")),
        nothing=pl.Series([None] * 3),
        point=pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
    )
    return im.extract(frame, "path", ["width", "symmetry"])


def check(schema: pa.Schema) -> None:
    """The schema carries the metadata exactly."""
    column = schema.field("path_imgmeta")
    assert column.metadata == COLUMN
    assert {field.name: field.metadata for field in column.type} == FIELDS
    assert schema.field("path").metadata is None


def test_the_field_metadata_of_an_arrow_table(frame: pl.DataFrame) -> None:
    """Column and properties say what they are; the values are Polars' own."""
    table = im.to_arrow(frame)
    check(table.schema)
    assert table.cast(frame.to_arrow().schema) == frame.to_arrow()
    assert_frame_equal(pl.DataFrame(pl.from_arrow(table)), frame)
    check(im.to_arrow(frame.lazy()).schema)
    newest = im.to_arrow(frame, compat_level=pl.CompatLevel.newest())
    assert newest.schema.field("path").type == pa.string_view()
    check(newest.schema)


WRITERS: dict[str, Callable[[pl.DataFrame, Path, dict[str, Any]], object]] = {
    "write": lambda df, file, options: im.write_parquet(df, file, **options),
    "write with pyarrow": lambda df, file, options: im.write_parquet(
        df, file, use_pyarrow=True, **options
    ),
    "sink": lambda df, file, options: im.sink_parquet(df.lazy(), file, **options),
    "namespace write": lambda df, file, options: df.imgmeta.write_parquet(file, **options),  # type: ignore[attr-defined]
    "namespace sink": lambda df, file, options: df.lazy().imgmeta.sink_parquet(file, **options),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip", "statistics": False, "row_group_size": 2, "compression_level": 3},
        {"metadata": {"owner": "us"}, "compression": "uncompressed"},
    ],
)
def test_the_metadata_of_a_parquet_file(
    writer: str, options: dict[str, Any], frame: pl.DataFrame, tmp_path: Path
) -> None:
    """Every writer attaches them at column, property and file level, and passes options on."""
    file = tmp_path / "photos.parquet"
    WRITERS[writer](frame, file, options)
    check(pq.read_schema(file))
    metadata = pq.read_metadata(file)
    assert json.loads(metadata.metadata[b"imgmeta"]) == {
        "versions": {
            "polars-imgmeta": im.__version__,
            "polars": version("polars"),
            "numpy": version("numpy"),
            "opencv": cv2.__version__,
            "pillow": version("pillow"),
        },
    }
    assert metadata.metadata.get(b"owner") == (b"us" if "metadata" in options else None)
    codec = {"gzip": "GZIP", "uncompressed": "UNCOMPRESSED"}.get(
        options.get("compression", ""), "ZSTD"
    )
    assert metadata.row_group(0).column(0).compression == codec
    assert metadata.num_row_groups == (2 if "row_group_size" in options else 1)
    assert_frame_equal(pl.read_parquet(file), frame)
    assert im.provenance(pl.scan_parquet(file)) == im.provenance(frame)


def test_metadata_from_a_function(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Metadata that the caller computes stand beside ours."""
    im.write_parquet(frame, tmp_path / "a.parquet", metadata=lambda _: {"owner": "us"})
    assert {b"owner", b"imgmeta"} <= pq.read_metadata(tmp_path / "a.parquet").metadata.keys()


def test_an_arrow_schema_of_the_callers_own_is_kept(frame: pl.DataFrame, tmp_path: Path) -> None:
    """What the caller attached to any field stays."""
    schema = frame.to_arrow().schema
    column = schema.get_field_index("path_imgmeta")
    schema = schema.set(0, schema.field(0).with_metadata({"theirs": "1"}))
    schema = schema.set(column, schema.field(column).with_metadata({"theirs": "2"}))
    im.write_parquet(frame, tmp_path / "a.parquet", arrow_schema=schema)
    written = pq.read_schema(tmp_path / "a.parquet")
    assert written.field("path").metadata == {b"theirs": b"1"}
    assert written.field("path_imgmeta").metadata == {**COLUMN, b"theirs": b"2"}


def test_partitioned_files(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Each file of a partitioned data set carries the metadata, whatever columns it has."""
    im.write_parquet(frame, str(tmp_path / "a"), partition_by="kind", mkdir=True)
    half = pl.col("taken").dt.millisecond() // 2
    targets: dict[str, Any] = {
        "b": {"key": "kind"},
        "c": {"key": "kind", "include_key": False},
        "d": {"key": ["kind", half.alias("half")], "include_key": False},
        "e": {"key": {"kind": half, "half": half}},
        "f": {"max_rows_per_file": 1},
    }
    for name, options in targets.items():
        ours, theirs = (
            pl.PartitionBy(tmp_path / folder / name, **options) for folder in (".", "polars")
        )
        im.sink_parquet(frame.lazy(), ours, mkdir=True)
        frame.lazy().sink_parquet(theirs, mkdir=True)
        for file in sorted((tmp_path / name).rglob("*.parquet")):
            check(pq.read_schema(file))
            same = tmp_path / "polars" / file.relative_to(tmp_path)
            assert pq.read_schema(file).equals(pq.read_schema(same))
        assert len(list((tmp_path / name).rglob("*.parquet"))) >= 2
    for name in "abcf":
        read = pl.read_parquet(tmp_path / name, hive_schema={"kind": frame.schema["kind"]})
        assert_frame_equal(read.select(frame.columns), frame, check_row_order=False)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "snappy", "row_group_size": 2, "data_page_size": 100},
        {"compression": "zstd", "compression_level": 5, "statistics": "full"},
        {"statistics": False, "compression": "uncompressed"},
    ],
)
def test_the_file_is_otherwise_that_of_polars(
    options: dict[str, Any], *, lazy: bool, frame: pl.DataFrame, tmp_path: Path
) -> None:
    """Schema, row groups, statistics, compression and values are the same."""
    frame = frame.drop("price")  # pyarrow 21 cannot read statistics of decimals
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    if lazy:
        im.sink_parquet(frame.lazy(), ours, **options)
        frame.lazy().sink_parquet(theirs, **options)
    else:
        im.write_parquet(frame, ours, **options)
        frame.write_parquet(theirs, **options)
    first, second = pq.read_metadata(ours), pq.read_metadata(theirs)
    assert first.schema.equals(second.schema)
    assert first.created_by == second.created_by
    assert first.num_row_groups == second.num_row_groups
    for number in range(first.num_row_groups):
        assert first.row_group(number).to_dict() == second.row_group(number).to_dict()
    assert pl.read_parquet_schema(ours) == pl.read_parquet_schema(theirs)
    assert_frame_equal(pl.read_parquet(ours), pl.read_parquet(theirs))


def test_remote_paths_and_options_are_passed_on(
    frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polars gets the URL and the options of the store as they came."""
    calls: list[tuple[object, object]] = []

    def write(_: object, target: object, **options: Any) -> None:  # noqa: ANN401 - Polars' own
        calls.append((target, options["storage_options"]))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write)
    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", write)
    options: dict[str, Any] = {"storage_options": {"region": "eu"}}
    im.write_parquet(frame, "s3://bucket/a.parquet", **options)
    im.sink_parquet(frame.lazy(), "s3://bucket/a.parquet", **options)
    assert calls == [("s3://bucket/a.parquet", {"region": "eu"})] * 2


def test_own_properties_are_described(sample_folder: Path, tmp_path: Path) -> None:
    """A catalogue gives the description and unit of properties of one's own."""

    @im.custom_property(
        needs="header", dtype=pl.Int32, description="Twice two", unit="things", version=3
    )
    def four(_: object) -> int:
        return 4

    ours = im.Catalogue([four])
    frame = pl.DataFrame({"path": [str(sample_folder / "photos" / "dusk.png")]})
    frame = im.extract(frame, "path", ["width", "four"], catalogue=ours)
    file = tmp_path / "a.parquet"
    expected = {
        **FLAG,
        b"imgmeta.description": b"Twice two",
        b"imgmeta.unit": b"things",
        b"imgmeta.version": b"3",
        b"doc": b"Twice two",
    }
    for write in (
        lambda: im.write_parquet(frame, file, catalogue=ours),
        lambda: im.write_parquet(frame, file, catalogue=ours, use_pyarrow=True),
        lambda: im.sink_parquet(frame.lazy(), file, catalogue=ours),
        lambda: pq.write_table(im.to_arrow(frame, catalogue=ours), file),
    ):
        write()
        struct = pq.read_schema(file).field("path_imgmeta").type
        assert struct.field("four").metadata == expected
    assert im.to_arrow(frame).schema.field("path_imgmeta").type.field("four").metadata == FLAG


def delta_metadata(table: Path) -> dict[str, dict[str, str]]:
    """The field metadata of the struct column of a Delta table, and of its fields."""
    (column,) = (
        field for field in deltalake.DeltaTable(table).schema().fields if "imgmeta" in field.name
    )
    assert isinstance(column.type, deltalake.schema.StructType)
    return {one.name: one.metadata for one in (column, *column.type.fields)}


def test_delta_tables_carry_the_flag(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Only what is true of each later row is written, so that any frame can be appended."""
    frame = frame.select("path", "label", "path_imgmeta")
    table = tmp_path / "table"
    flag = {"imgmeta.auto_extracted": "true"}
    im.write_delta(frame, table)
    assert delta_metadata(table) == {
        "path_imgmeta": flag,
        "width": flag,
        "symmetry": flag,
        "error": {},
        "auto_extracted": {},
    }
    frame = frame.cast({"label": pl.String})
    merge = {"schema_mode": "merge"}
    added = im.add(frame, "height")
    frame.write_delta(table, mode="append")
    im.write_delta(frame, deltalake.DeltaTable(table), mode="append")
    im.write_delta(added, table, mode="append", delta_write_options=merge)
    deltalake.write_deltalake(table, im.to_arrow(frame), mode="append", schema_mode="merge")
    assert delta_metadata(table)["height"] == flag
    assert im.properties(pl.read_delta(str(table))) == ["width", "height", "symmetry"]
    added.imgmeta.write_delta(table, mode="overwrite")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="must be a polars DataFrame, got LazyFrame"):
        im.write_delta(frame.lazy(), table)  # type: ignore[arg-type]


def test_appends_to_described_delta_tables(frame: pl.DataFrame, tmp_path: Path) -> None:
    """A table made of `to_arrow` takes frames of another release, if they come without keys."""
    table = tmp_path / "table"
    frame = frame.select("path", "path_imgmeta")
    described = im.to_arrow(frame)
    column = described.schema.field("path_imgmeta")
    other = column.with_metadata({**COLUMN, b"imgmeta.version": b"0.0"})
    deltalake.write_deltalake(table, described.cast(described.schema.set(1, other)))
    with pytest.raises(deltalake.exceptions.SchemaMismatchError, match="Cannot merge metadata"):
        deltalake.write_deltalake(table, described, mode="append")
    im.write_delta(frame, table, mode="append")
    assert_frame_equal(pl.read_delta(str(table)), pl.concat([frame, frame]))


# Polars 2.0 creates no Iceberg tables.
CREATES = "create_if_not_exists" in inspect.signature(pl.LazyFrame.sink_iceberg).parameters


def iceberg_docs(table: Table) -> dict[str, str | None]:
    """The `doc` of the struct column of an Iceberg table, and of its fields."""
    column = table.schema().find_field("path_imgmeta")
    assert isinstance(column.field_type, StructType)
    return {one.name: one.doc for one in (column, *column.field_type.fields)}


def test_iceberg_tables_carry_descriptions(frame: pl.DataFrame, tmp_path: Path) -> None:
    """A table that is created or evolves gets `doc`; others stay as they are."""
    frame = frame.select("path", "path_imgmeta")
    catalog = make_catalog(tmp_path)
    docs = {
        "path_imgmeta": "Properties of images, extracted by polars-imgmeta",
        "width": im.CATALOGUE["width"].description,
        "symmetry": im.CATALOGUE["symmetry"].description,
        "error": None,
        "auto_extracted": None,
    }
    made = catalog.create_table("n.made", schema=im.to_arrow(frame).schema)
    assert iceberg_docs(made) == docs
    plain = catalog.create_table("n.plain", schema=frame.to_arrow().schema)
    im.sink_iceberg(frame.lazy(), plain, mode="append")
    assert set(iceberg_docs(plain).values()) == {None}
    added = im.add(frame.lazy(), "height")
    added.imgmeta.sink_iceberg(plain, mode="append", schema_mode="merge")  # type: ignore[attr-defined]
    docs["height"] = im.CATALOGUE["height"].description
    assert iceberg_docs(plain) == docs
    with pytest.raises(TypeError, match="must be a polars LazyFrame, got DataFrame"):
        im.sink_iceberg(frame, plain, mode="append")  # type: ignore[arg-type]


def test_iceberg_tables_are_created_with_descriptions(frame: pl.DataFrame, tmp_path: Path) -> None:
    """By a catalog or its configuration, and with a caller's own `doc` untouched."""
    catalog = make_catalog(tmp_path)
    lazy = frame.select("path", "path_imgmeta").lazy()
    configured = pl.io.iceberg.IcebergCatalogConfig.from_catalog(catalog)
    for name, given in (("n.a", catalog), ("n.b", configured)):
        options: dict[str, Any] = {"create_if_not_exists": True}
        if not CREATES:
            catalog.create_table(
                name, schema=frame.select("path", "path_imgmeta").to_arrow().schema
            )
            options = {"schema_mode": "merge"}
        for _ in range(2):
            im.sink_iceberg(lazy, name, mode="append", catalog=given, **options)
        table = catalog.load_table(name)
        assert iceberg_docs(table)["width"] == im.CATALOGUE["width"].description
        assert len(table.metadata.schemas) == 2
        with table.update_schema() as update:
            update.update_column(("path_imgmeta", "width"), doc="theirs")
        im.sink_iceberg(lazy, name, mode="append", catalog=given, schema_mode="merge")
        assert iceberg_docs(table.refresh())["width"] == "theirs"


def test_a_lazy_sink_is_a_plan(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Polars' own `lazy=True` defers the writing."""
    file = tmp_path / "later.parquet"
    plan = im.sink_parquet(frame.lazy(), file, lazy=True)
    assert plan is not None
    assert not file.exists()
    plan.collect()
    check(pq.read_schema(file))


def test_a_frame_without_auto_extracted_columns_is_written_as_it_is(tmp_path: Path) -> None:
    """Export needs no auto-extracted column."""
    frame = pl.DataFrame({"a": [1]})
    im.write_parquet(frame, tmp_path / "a.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "a.parquet"), frame)
    assert im.to_arrow(frame) == frame.to_arrow()


def test_pyarrow_takes_its_options(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Options for pyarrow pass through, and those it has not are named."""
    file = tmp_path / "a.parquet"
    im.write_parquet(frame, file, use_pyarrow=True, pyarrow_options={"version": "1.0"})
    assert pq.read_metadata(file).format_version == "1.0"
    im.write_parquet(
        frame, tmp_path / "set", use_pyarrow=True, pyarrow_options={"partition_cols": ["kind"]}
    )
    assert len(list(tmp_path.glob("set/kind=*/*.parquet"))) == 2
    with pytest.raises(ValueError, match="does not take mkdir"):
        im.write_parquet(frame, file, use_pyarrow=True, mkdir=True)
