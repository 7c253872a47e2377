"""Arrow, Parquet, Delta and Iceberg with metadata that people and other tools can read.

This package recognises a column by its fields and judges its rows by their markers alone.
Export adds metadata for other tools: on the field of the column the flag and the locator
column, on the field of each property its description, unit and version, and in a Parquet file
the versions of the libraries.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import PIL
import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, Catalogue, Property
from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.io import replacement
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    # pyarrow takes longer to import than this package, so functions import it when called.
    import deltalake
    import pyarrow as pa
    import pyiceberg.catalog
    import pyiceberg.table

FILE_KEY = "imgmeta"
# As large as Polars' own, a group of rows would hold back output for hours.
_ROW_GROUP = 20_000
# A disk, a quota or a file that has no room for more.
_FULL = [getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)]
_FLAG = {"imgmeta.auto_extracted": "true"}
_COLUMN_DOC = "Properties of images, extracted by polars-imgmeta"


def to_arrow(
    frame: Frame,
    *,
    catalogue: Catalogue = CATALOGUE,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> pa.Table:
    """Return the frame as an Arrow table with field metadata.

    Args:
        frame: The frame; a lazy one is collected.
        catalogue: The properties to describe, where a caller's own ones are among them.
        options: Options of `polars.DataFrame.to_arrow`.

    Returns:
        The table that Polars makes, with metadata on the field of each auto-extracted column
        and on the fields of its properties.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "brightness")
        >>> field = im.to_arrow(df).schema.field("path_imgmeta")
        >>> field.metadata[b"imgmeta.locator"]
        b'path'
        >>> field.type.field("brightness").metadata[b"imgmeta.description"]
        b'Mean intensity, over 255'
    """
    structs.schema_of(frame)
    eager = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    table = eager.to_arrow(**options)
    return table.cast(_annotated(table.schema, eager, catalogue))


def write_parquet(
    frame: pl.DataFrame,
    file: str | Path | IO[bytes],
    *,
    catalogue: Catalogue = CATALOGUE,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> None:
    """Write a data frame to Parquet with field metadata.

    A local file is written beside its final name and then moved there, so that an existing
    file stays whole until the new one is.

    Args:
        frame: The data frame.
        file: The path, URL or file to write to.
        catalogue: The properties to describe, where a caller's own ones are among them.
        options: Options of `polars.DataFrame.write_parquet`. Metadata of the caller's own are
            kept beside ours.

    Raises:
        TypeError: If the frame is lazy.
        ColumnError: If pyarrow does not know the dtype of a column.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "width")
        >>> im.write_parquet(df, "dusk.parquet")
        >>> im.provenance(pl.read_parquet("dusk.parquet")).locators
        ('path',)
    """
    _require_eager(frame, "sink_parquet")
    if not options.get("use_pyarrow"):
        options = _with_metadata(frame, frame.schema, catalogue, options)
    with _whole(file, options) as target:
        if options.get("use_pyarrow"):
            _write_with_pyarrow(frame, target, catalogue, **options)
        else:
            frame.write_parquet(target, **options)


def sink_parquet(
    frame: pl.LazyFrame,
    path: str | Path | IO[bytes] | pl.PartitionBy,
    *,
    catalogue: Catalogue = CATALOGUE,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> pl.LazyFrame | None:
    """Stream a lazy frame to Parquet with field metadata.

    A local file is written beside its final name and then moved there, so that an existing
    file stays whole until the new one is, except under `lazy=True`.

    Args:
        frame: The lazy frame.
        path: The path, URL, file or `polars.PartitionBy` to write to.
        catalogue: The properties to describe, where a caller's own ones are among them.
        options: Options of `polars.LazyFrame.sink_parquet`. Metadata of the caller's own are
            kept beside ours.

    Returns:
        None, or under `lazy=True` the plan.

    Raises:
        TypeError: If the frame is not lazy.
        ColumnError: If pyarrow does not know the dtype of a column.

    Examples:
        >>> lf = im.extract(im.scan_images("photos"), "path", "width")
        >>> im.sink_parquet(lf, "photos.parquet")
        >>> im.properties(pl.scan_parquet("photos.parquet"))
        ['width']
    """
    _require_lazy(frame, "write_parquet")
    schema = _file_schema(frame, path)
    options = {"row_group_size": _ROW_GROUP, **_with_metadata(frame, schema, catalogue, options)}
    with _whole(path, options) as target:
        plan: pl.LazyFrame | None = frame.sink_parquet(target, **options)
    return plan


def write_delta(
    frame: pl.DataFrame,
    target: str | Path | deltalake.DeltaTable,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> deltalake.table.TableMerger | None:
    """Write a data frame to a Delta table with the flag in the field metadata.

    Fields that are new to the table get `imgmeta.auto_extracted`, and no other key: Delta
    refuses to append a field whose metadata has another value for a key of the table, so that
    keys which depend on the frame or the release would break later appends. Frames without
    metadata can be appended too. To add properties by `schema_mode="merge"` takes deltalake
    1.6: before 1.4 it matches the fields of structs by position.

    Args:
        frame: The data frame.
        target: The URI of a table, or a table.
        options: Options of `polars.DataFrame.write_delta`.

    Returns:
        None, or under `mode="merge"` what Polars returns, to be executed.

    Raises:
        TypeError: If the frame is lazy.
        ImportError: If deltalake is not installed.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "width")
        >>> im.write_delta(df, "dusk", mode="overwrite")
        >>> im.properties(pl.read_delta("dusk"))
        ['width']
    """
    _require_eager(frame, "collect")
    merger: deltalake.table.TableMerger | None = _Flagged(frame).write_delta(target, **options)
    return merger


def sink_iceberg(
    frame: pl.LazyFrame,
    table: str | pyiceberg.table.Table,
    *,
    catalogue: Catalogue = CATALOGUE,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> pl.DataFrame:
    """Sink a lazy frame to an Iceberg table, with descriptions as `doc` of its fields.

    Iceberg keeps no other field metadata. Where the call may change the schema of the table,
    by `create_if_not_exists` or `schema_mode`, fields without a `doc` get one, in a second
    commit of metadata alone.

    Args:
        frame: The lazy frame.
        table: A table, or its identifier in the catalog.
        catalogue: The properties to describe, where a caller's own ones are among them.
        options: Options of `polars.LazyFrame.sink_iceberg`; `mode` is required.

    Returns:
        What Polars returns: the path of the metadata of the commit of the rows.

    Raises:
        TypeError: If the frame is not lazy.
        ImportError: If pyiceberg is not installed.

    Examples:
        >>> from pyiceberg.catalog.sql import SqlCatalog
        >>> catalog = SqlCatalog("ours", uri="sqlite:///catalog.db", warehouse="warehouse")
        >>> catalog.create_namespace("set")
        >>> lf = im.extract(im.scan_images("photos"), "path", "width")
        >>> table = catalog.create_table("set.photos", im.to_arrow(lf).schema)
        >>> result = im.sink_iceberg(lf, table, mode="append")
        >>> table.schema().find_field("path_imgmeta.width").doc
        'Columns of the picture'
        >>> catalog.close()
    """
    _require_lazy(frame, "lazy")
    result: pl.DataFrame = frame.sink_iceberg(table, **options)
    if options.get("create_if_not_exists") or options.get("schema_mode"):
        columns = structs.find(structs.schema_of(frame))
        with _loaded(table, options.get("catalog")) as loaded:
            _describe_fields(loaded, columns, catalogue)
    return result


def write_frames(
    frames: Iterable[pl.DataFrame],
    file: IO[bytes],
    *,
    metadata: Mapping[str, str],
    catalogue: Catalogue = CATALOGUE,
) -> None:
    """Write frames of the same schema one after the other into one Parquet file.

    Args:
        frames: The frames, at least one; each is dropped before the next one is taken.
        file: The file to write to.
        metadata: Metadata of the file, beside our own.
        catalogue: The properties to describe.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - see above

    writer = None
    try:
        for frame in frames:
            table = to_arrow(frame, catalogue=catalogue)
            if writer is None:
                schema = table.schema.with_metadata(_file_metadata(dict(metadata)))
                writer = pq.ParquetWriter(file, schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
        if writer is not None:
            writer.close()
    except BaseException:
        if writer is not None:
            writer.is_open = False  # or it would write an end when it is deleted, and complain
        raise


@contextlib.contextmanager
def _whole(target: Any, options: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ANN401 - as Polars takes
    """Give what to write to, so that a local file is replaced once the new one is whole."""
    path = Path(target).expanduser() if isinstance(target, str | Path) else None
    # Not what is written later or to several files, nor devices and pipes.
    partitioned = (options.get("pyarrow_options") or {}).get("partition_cols")
    several = options.get("lazy") or options.get("partition_by") or partitioned
    if path is None or several or "://" in str(target) or (path.exists() and not path.is_file()):
        yield target
        return
    if options.get("mkdir"):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.is_dir():
        yield target  # Polars says what is wrong
        return
    with replacement.replacing(path) as unfinished:
        try:
            yield unfinished
        except pl.exceptions.PolarsError as error:
            for code in _FULL:  # which Polars calls a file out of specification
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code), str(path)) from None
            raise


def _require_eager(frame: object, alternative: str) -> None:
    if not isinstance(frame, pl.DataFrame):
        msg = (
            f"`frame` must be a polars DataFrame, got {type(frame).__name__}"
            f"\n\nHint: for a LazyFrame use `{alternative}`"
        )
        raise TypeError(msg)


def _require_lazy(frame: object, alternative: str) -> None:
    if not isinstance(frame, pl.LazyFrame):
        msg = (
            f"`frame` must be a polars LazyFrame, got {type(frame).__name__}"
            f"\n\nHint: for a DataFrame use `{alternative}`"
        )
        raise TypeError(msg)


class _Flagged(pl.DataFrame):
    """A data frame whose Arrow stream has the flag, and no other metadata of ours."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        # Also without string views, over which deltalake panics in Categorical columns.
        table = self.to_arrow()
        schema = _annotated(table.schema, self, None)
        return table.cast(schema).__arrow_c_stream__(requested_schema)


@contextlib.contextmanager
def _loaded(
    table: str | pyiceberg.table.Table,
    catalog: Any,  # noqa: ANN401 - Polars' own
) -> Iterator[pyiceberg.table.Table]:
    """Give the current state of a table, from the catalog that Polars takes."""
    import pyiceberg.catalog  # noqa: PLC0415 - only where it is used

    if not isinstance(table, str):
        yield table.refresh()
    elif isinstance(catalog, pyiceberg.catalog.Catalog):
        yield catalog.load_table(table)
    else:
        config = isinstance(catalog, pl.io.iceberg.IcebergCatalogConfig)
        made = (
            catalog.class_(catalog.name, **catalog.properties)
            if config
            else pyiceberg.catalog.load_catalog()
        )
        with contextlib.closing(made):
            yield made.load_table(table)


def _describe_fields(
    table: pyiceberg.table.Table, columns: Mapping[str, StructColumn], catalogue: Catalogue
) -> None:
    """Give fields of auto-extracted columns a `doc`, where they have none."""
    from pyiceberg.exceptions import CommitFailedException  # noqa: PLC0415 - see above

    docs: dict[tuple[str, ...], str] = {}
    for field in table.schema().fields:
        if (column := columns.get(field.name)) is None:
            continue
        if field.doc is None:
            docs[field.name,] = _COLUMN_DOC
        for child in getattr(field.field_type, "fields", ()):
            known = catalogue.get(child.name) if child.name in column.properties else None
            if known and known.description and child.doc is None:
                docs[field.name, child.name] = known.description
    # The rows are committed: a writer that came in between must not make this call fail.
    with contextlib.suppress(CommitFailedException), table.update_schema() as update:
        for path, doc in docs.items():
            update.update_column(path, doc=doc)


def _file_schema(frame: pl.LazyFrame, path: object) -> pl.Schema:
    """Return the schema of the files that Polars writes: keys of partitions may be left out."""
    inner = path._pl_partition_by if isinstance(path, pl.PartitionBy) else None  # noqa: SLF001 - its only record
    if inner is None or not inner.key:
        return structs.schema_of(frame)
    keys = [pl.Expr._from_pyexpr(key) for key in inner.key]  # noqa: SLF001 - as above
    if inner.include_key in {None, True}:
        return frame.with_columns(keys).collect_schema()
    left_out = frame.select(keys).collect_schema()
    schema = structs.schema_of(frame)
    return pl.Schema({name: schema[name] for name in schema if name not in left_out})


def _with_metadata(
    frame: Frame, schema: pl.Schema, catalogue: Catalogue, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return Polars' options with our metadata beside the caller's."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    theirs = options.get("arrow_schema")
    arrow_schema = _arrow_schema(schema) if theirs is None else pa.schema(theirs)
    return {
        **options,
        "arrow_schema": _annotated(arrow_schema, frame, catalogue),
        "metadata": _file_metadata(options.get("metadata")),
    }


def _arrow_schema(schema: pl.Schema) -> pa.Schema:
    """Return the Arrow schema that Polars gives to Parquet files."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    try:
        return pl.DataFrame(schema=schema).to_arrow().schema
    except pa.ArrowInvalid as error:
        msg = (
            f"each column must be of a dtype that pyarrow knows, got {schema}: {error}"
            "\n\nHint: cast the column, or use Polars' own writer, which writes no metadata"
        )
        raise ColumnError(msg) from None


def _file_metadata(theirs: Any) -> Any:  # noqa: ANN401 - a dict or a function, as Polars takes
    # Read from the modules: OpenCV and others are distributed under several names.
    versions = {
        "polars-imgmeta": version("polars-imgmeta"),
        "polars": pl.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
    ours = {FILE_KEY: json.dumps({"versions": versions}, sort_keys=True)}
    if callable(theirs):
        return lambda context: {**ours, **theirs(context)}
    return {**ours, **(theirs or {})}


def _annotated(schema: pa.Schema, frame: Frame, catalogue: Catalogue | None) -> pa.Schema:
    """Return the schema with metadata on auto-extracted columns; without catalogue the flag."""
    for name, column in structs.find(structs.schema_of(frame)).items():
        if (index := schema.get_field_index(name)) < 0:
            continue
        locator = None if catalogue is None else structs.find_locator(frame, column, None)
        field = annotated_field(schema.field(index), column, locator, catalogue)
        schema = schema.set(index, field)
    return schema


def annotated_field(
    field: pa.Field,
    column: StructColumn,
    locator: str | None,
    catalogue: Mapping[str, Property] | None,
) -> pa.Field:
    """Return the field of an auto-extracted column with metadata.

    Args:
        field: The field, whose own metadata are kept.
        column: The column.
        locator: The name of its locator column, if that is known.
        catalogue: The properties to describe; None for the flag alone.
    """
    import pyarrow as pa  # noqa: PLC0415 - see above

    children = [
        _annotated_child(child, catalogue) if child.name in column.properties else child
        for child in field.type
    ]
    field = pa.field(field.name, pa.struct(children), field.nullable, field.metadata)
    if catalogue is None:
        return _with_keys(field)
    release = version("polars-imgmeta")
    return _with_keys(field, doc=_COLUMN_DOC, locator=locator, version=release)


def _annotated_child(field: pa.Field, catalogue: Mapping[str, Property] | None) -> pa.Field:
    """Return the field of a property with its metadata."""
    one = None if catalogue is None else catalogue.get(field.name)
    if one is None:
        return _with_keys(field)
    keys = {"description": one.description or None, "unit": one.unit or None}
    return _with_keys(field, doc=one.description, **keys, version=one.version)


def _with_keys(field: pa.Field, doc: str | None = None, **keys: object) -> pa.Field:
    """Return the field with our keys beside those that it has; Iceberg reads `doc`."""
    ours = {f"imgmeta.{key}": str(value) for key, value in keys.items() if value is not None}
    ours |= {"doc": doc} if doc else {}
    return field.with_metadata({**ours, **_FLAG, **(field.metadata or {})})


def _write_with_pyarrow(
    frame: pl.DataFrame,
    file: str | Path | IO[bytes],
    catalogue: Catalogue,
    *,
    compression: str = "zstd",
    metadata: dict[str, str] | None = None,
    pyarrow_options: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> None:
    """Write as Polars does under `use_pyarrow=True`, where it takes no metadata."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - see above

    known = {
        "statistics": "write_statistics",
        "compression_level": "",
        "row_group_size": "",
        "data_page_size": "",
    }
    if unknown := options.keys() - known.keys() - {"use_pyarrow"}:
        msg = f"under `use_pyarrow=True` Polars does not take {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    table = to_arrow(frame, catalogue=catalogue)
    if callable(metadata):
        msg = "under `use_pyarrow=True` `metadata` must be a dict, got a function"
        raise TypeError(msg)
    table = table.replace_schema_metadata(_file_metadata(metadata))
    settings = {
        "compression": None if compression == "uncompressed" else compression,
        **{known[key] or key: options[key] for key in known if key in options},
        **(pyarrow_options or {}),
    }
    if settings.get("partition_cols"):
        pq.write_to_dataset(table, file, **settings)
    else:
        pq.write_table(table, file, **settings)
