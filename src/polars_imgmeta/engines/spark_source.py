"""The data source of Spark that lists images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from polars_imgmeta.engines.arrow import plain_type
from polars_imgmeta.verbs.scanning import scan_images

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

_PATH = "path"
_BATCH_ROWS = 10_000


class ImageSource(DataSource):
    """Lists images; options other than `path` are those of cloud storage."""

    @classmethod
    def name(cls) -> str:
        """The name of the format."""
        return "imgmeta"

    def schema(self) -> str:
        """The columns of `scan_images`."""
        return "path string, file_size bigint, modified timestamp, etag string"

    def reader(self, schema: StructType) -> DataSourceReader:
        """What lists."""
        del schema
        return _Reader(dict(self.options))


class _Reader(DataSourceReader):
    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """List all images, in the one task that there is."""
        import pyarrow as pa  # noqa: PLC0415 - in the worker

        del partition
        storage = {key: value for key, value in self._options.items() if key != _PATH}
        images = scan_images(self._options[_PATH], storage_options=storage or None)
        for frame in images.collect_batches(chunk_size=_BATCH_ROWS):
            table = frame.to_arrow()
            plain = [one.with_type(plain_type(one.type)) for one in table.schema]
            yield from table.cast(pa.schema(plain)).to_batches()
