"""Spark 4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.digest import DIGEST, Digest, digest_record, sum_digests
from polars_imgmeta.engines.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructField

_EXTRA = ("pyspark", "spark")


def extract(frame: DataFrame, extractor: ArrowExtractor) -> DataFrame:
    """Extract in a frame of Spark, lazily, by `mapInArrow`.

    Args:
        frame: The frame.
        extractor: What to extract.

    Returns:
        The frame with the column. What the Arrow fields have as metadata, the origin among
        them, is in `StructField.metadata`.

    Raises:
        ImportError: If the extra `spark` is not installed.
        ColumnError: As for a call of `extractor`.
    """
    require(*_EXTRA)
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415 - only where it is used
    from pyspark.sql.types import StructType  # noqa: PLC0415 - see above

    into = extractor.into
    made = _spark_field(extractor.schema(to_arrow_schema(frame.schema)).field(into))
    fields = [made if one.name == into else one for one in frame.schema]
    if into not in frame.columns:
        fields.append(made)

    def each(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from map(extractor, batches)

    return frame.mapInArrow(each, StructType(fields))


def extract_column(locators: Column | str, extractor: ArrowExtractor) -> Column:
    """Return an expression of Spark that extracts, by `arrow_udf`.

    Args:
        locators: The column of paths and URLs, or of encoded images.
        extractor: What to extract. Markers name its locator column.

    Returns:
        The structs, under the name that `extractor` gives them.

    Raises:
        ImportError: If the extra `spark` is not installed.
    """
    require(*_EXTRA)
    import pyarrow as pa  # noqa: PLC0415 - see above
    from pyspark.sql import functions  # noqa: PLC0415 - see above
    from pyspark.sql.pandas.types import from_arrow_type  # noqa: PLC0415 - see above

    schema = extractor.schema(pa.schema({extractor.locator: pa.string()}))
    made = _spark_field(schema.field(extractor.into))

    def imgmeta(values: pa.Array) -> pa.Array:
        return extractor.array(values)

    scalar = functions.ArrowUDFType.SCALAR  # type: ignore[attr-defined]
    # Spark takes metadata of inner fields for another type here.
    dtype = from_arrow_type(schema.field(extractor.into).type)
    function = functions.arrow_udf(imgmeta, dtype, scalar)  # type: ignore[attr-defined]
    column: Column = function(locators).alias(made.name, metadata=made.metadata)
    return column


def scan_images(spark: SparkSession, source: str, **storage_options: str) -> DataFrame:
    """List images as a frame of Spark: see [`scan_images`][polars_imgmeta.scan_images].

    It is the data source `imgmeta`, which this registers. One task lists. Repartition the
    frame, so that all workers extract.

    Args:
        spark: The session.
        source: A folder, pattern, file or prefix of cloud storage.
        storage_options: Options of cloud storage, as `polars.scan_parquet` takes them.

    Returns:
        A frame of `path`, `file_size`, `modified` and `etag`.

    Raises:
        ImportError: If the extra `spark` is not installed.
    """
    require(*_EXTRA)
    from polars_imgmeta.engines.spark_source import ImageSource  # noqa: PLC0415 - imports Spark

    spark.dataSource.register(ImageSource)
    return spark.read.format(ImageSource.name()).options(**storage_options).load(source)


def digest(frame: DataFrame, *columns: str) -> Digest:
    """Compute a digest of columns where the data are: see [`digest`][polars_imgmeta.digest]."""

    def each(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield digest_record(batch, *columns)

    records = frame.mapInArrow(each, f"{DIGEST} string").collect()
    return sum_digests(one[DIGEST] for one in records)


def _spark_field(field: pa.Field) -> StructField:
    """Return a field of Spark with the metadata of one of Arrow."""
    from pyspark.sql.pandas.types import from_arrow_type  # noqa: PLC0415 - see above
    from pyspark.sql.types import StructField, StructType  # noqa: PLC0415 - see above

    children = getattr(field.type, "fields", None) if str(field.type).startswith("struct") else None
    dtype = (
        StructType([_spark_field(child) for child in field.type])
        if children
        else from_arrow_type(field.type, prefer_timestamp_ntz=True)
    )
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return StructField(field.name, dtype, nullable=True, metadata=metadata)
