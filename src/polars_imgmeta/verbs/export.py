"""Arrow and Parquet with metadata that people and other tools can read.

Polars by itself writes the marker, and that is all this package needs to find a
column again. Export adds what others can read without it: on the column's field
that it is auto-extracted, from what and by which edition; on the field of each
property its description and unit; in a file the versions of the libraries.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import PIL
import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, EDITION
from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    # At run time only where it is needed: it takes longer to import than we do.
    import pyarrow as pa

FILE_KEY = "imgmeta"


def to_arrow(frame: Frame, **options: Any) -> pa.Table:  # noqa: ANN401 - Polars' own
    """Return the frame as an Arrow table with the readable metadata.

    Args:
        frame: The frame; a lazy one is collected.
        options: What `polars.DataFrame.to_arrow` takes.

    Returns:
        The table that Polars makes, with metadata on the field of each
        auto-extracted column and on the fields of its properties.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "brightness")
        >>> field = im.to_arrow(df).schema.field("path_imgmeta")
        >>> field.metadata[b"imgmeta.locator"]
        b'path'
        >>> field.type.field("brightness").metadata[b"imgmeta.description"]
        b'Mean intensity, over 255'
    """
    eager = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    found = structs.find(structs.schema_of(eager))
    table = eager.to_arrow(**options)
    return table.cast(_annotated(table.schema, found))


def write_parquet(
    frame: pl.DataFrame,
    file: str | Path | IO[bytes],
    **options: Any,  # noqa: ANN401 - Polars' own
) -> None:
    """Write a data frame to Parquet with the readable metadata.

    Args:
        frame: The data frame.
        file: Where to.
        options: What `polars.DataFrame.write_parquet` takes. Metadata of the
            caller's own are kept beside ours.

    Raises:
        TypeError: If the frame is lazy.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "width")
        >>> im.write_parquet(df, "dusk.parquet")
        >>> im.provenance(pl.read_parquet("dusk.parquet")).locator
        'path'
    """
    if not isinstance(frame, pl.DataFrame):
        msg = (
            f"`frame` must be a polars DataFrame, got {type(frame).__name__}"
            "\n\nHint: `sink_parquet` writes a LazyFrame"
        )
        raise TypeError(msg)
    if options.get("use_pyarrow"):
        _write_with_pyarrow(frame, file, **options)
    else:
        frame.write_parquet(file, **_with_metadata(structs.schema_of(frame), options))


def sink_parquet(
    frame: pl.LazyFrame,
    path: str | Path | IO[bytes] | pl.PartitionBy,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> pl.LazyFrame | None:
    """Stream a lazy frame to Parquet with the readable metadata.

    Args:
        frame: The lazy frame.
        path: Where to.
        options: What `polars.LazyFrame.sink_parquet` takes. Metadata of the
            caller's own are kept beside ours. Where files hold other columns
            than the frame, as under `PartitionBy(include_key=False)`, pass the
            `arrow_schema` of what they hold.

    Returns:
        None, or under `lazy=True` the plan.

    Raises:
        TypeError: If the frame is not lazy.

    Examples:
        >>> lf = im.extract(im.scan_images("photos"), "path", "width")
        >>> im.sink_parquet(lf, "photos.parquet")
        >>> im.properties(pl.scan_parquet("photos.parquet"))
        ['width']
    """
    if not isinstance(frame, pl.LazyFrame):
        msg = (
            f"`frame` must be a polars LazyFrame, got {type(frame).__name__}"
            "\n\nHint: `write_parquet` writes a DataFrame"
        )
        raise TypeError(msg)
    plan: pl.LazyFrame | None = frame.sink_parquet(
        path, **_with_metadata(structs.schema_of(frame), options)
    )
    return plan


def _with_metadata(schema: pl.Schema, options: dict[str, Any]) -> dict[str, Any]:
    """Polars' options with our metadata put in beside the caller's."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    theirs = options.get("arrow_schema")
    arrow_schema = _arrow_schema(schema) if theirs is None else pa.schema(theirs)
    return {
        **options,
        "arrow_schema": _annotated(arrow_schema, structs.find(schema)),
        "metadata": _file_metadata(options.get("metadata")),
    }


def _arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The Arrow schema of the files that Polars writes, with the widest readership."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    try:
        return pl.DataFrame(schema=schema).to_arrow().schema
    except pa.ArrowInvalid as error:
        msg = (
            f"each column must be of a dtype that pyarrow knows, got {schema}: {error}"
            "\n\nHint: cast the column, or use Polars' own writer, which keeps the flag alone"
        )
        raise ColumnError(msg) from None


def _file_metadata(theirs: Any) -> Any:  # noqa: ANN401 - a dict or a function, as Polars takes
    # Asked of the modules: OpenCV and others come under several names of packages.
    versions = {
        "polars-imgmeta": version("polars-imgmeta"),
        "polars": pl.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }
    ours = {FILE_KEY: json.dumps({"edition": EDITION, "versions": versions}, sort_keys=True)}
    if callable(theirs):
        return lambda context: {**ours, **theirs(context)}
    return {**ours, **(theirs or {})}


def _annotated(schema: pa.Schema, found: dict[str, Provenance]) -> pa.Schema:
    """The schema with readable metadata on the auto-extracted columns."""
    for name, column in found.items():
        if (index := schema.get_field_index(name)) >= 0:
            schema = schema.set(index, _annotated_field(schema.field(index), column))
    return schema


def _annotated_field(field: pa.Field, column: Provenance) -> pa.Field:
    import pyarrow as pa  # noqa: PLC0415 - see above

    children = []
    for child in field.type:
        if child.name in column.properties:
            row = CATALOGUE[child.name]
            child = _with_keys(child, description=row.description, unit=row.unit)  # noqa: PLW2901
        children.append(child)
    return _with_keys(
        pa.field(field.name, pa.struct(children), field.nullable, field.metadata),
        locator=column.locator,
        edition=column.edition,
    )


def _with_keys(field: pa.Field, **keys: object) -> pa.Field:
    """The field with our keys beside the ones it has, such as an extension's name."""
    ours = {f"imgmeta.{key}": str(value) for key, value in keys.items() if value is not None}
    return field.with_metadata({**(field.metadata or {}), "imgmeta.auto_extracted": "true", **ours})


def _write_with_pyarrow(
    frame: pl.DataFrame,
    file: str | Path | IO[bytes],
    *,
    compression: str = "zstd",
    metadata: dict[str, str] | None = None,
    pyarrow_options: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - Polars' own
) -> None:
    """Do what Polars does under `use_pyarrow=True`, where it takes no metadata."""
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
    table = to_arrow(frame)
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
