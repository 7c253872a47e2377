"""The readable metadata of Arrow and Parquet, read back by pyarrow."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import polars_imgmeta as im

MARKER = {
    b"ARROW:extension:name": b"imgmeta",
    b"ARROW:extension:metadata": b'{"edition":1,"locator":"path"}',
}
COLUMN = {
    b"imgmeta.auto_extracted": b"true",
    b"imgmeta.locator": b"path",
    b"imgmeta.edition": b"1",
}
FIELDS = {
    "width": {
        b"imgmeta.auto_extracted": b"true",
        b"imgmeta.description": b"Columns of the picture",
        b"imgmeta.unit": b"pixels",
    },
    "symmetry": {
        b"imgmeta.auto_extracted": b"true",
        b"imgmeta.description": b"Likeness of the left half and the mirrored right half",
        b"imgmeta.unit": b"share",
    },
    "error": None,
    "auto_extracted": MARKER,
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
        "edition": 1,
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
    """Each file of a partitioned data set carries the metadata."""
    im.write_parquet(frame, str(tmp_path / "a"), partition_by="kind", mkdir=True)
    im.sink_parquet(frame.lazy(), pl.PartitionBy(tmp_path / "b", key="kind"), mkdir=True)
    without_key = im.to_arrow(frame.drop("kind")).schema
    im.sink_parquet(
        frame.lazy(),
        pl.PartitionBy(tmp_path / "c", key="kind", include_key=False),
        arrow_schema=without_key,
        mkdir=True,
    )
    files = sorted(tmp_path.rglob("*.parquet"))
    assert len(files) == 6
    for file in files:
        check(pq.read_schema(file))
    assert_frame_equal(
        pl.read_parquet(tmp_path / "a").select(frame.columns), frame, check_row_order=False
    )


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
