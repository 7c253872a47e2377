"""Dask frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_imgmeta.engines import pandas
from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.digest import DIGEST, Digest, digest_record, sum_digests
from polars_imgmeta.engines.extras import require

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd


def extract(
    frame: dd.DataFrame,
    extractor: ArrowExtractor,
    **options: Any,  # noqa: ANN401 - Dask's own
) -> dd.DataFrame:
    """Extract in a Dask frame, lazily.

    Args:
        frame: The frame.
        extractor: What to extract.
        options: Options of `dask.dataframe.DataFrame.map_partitions`.

    Returns:
        The frame with the column.

    Raises:
        ImportError: If the extra `dask` is not installed.
        ColumnError: As for a call of `extractor`.
    """
    require("dask.dataframe", "dask")
    meta = pandas.extract(frame._meta, extractor)  # noqa: SLF001 - Dask's name for it
    return frame.map_partitions(pandas.extract, extractor, meta=meta, **options)


def digest(frame: dd.DataFrame, *columns: str) -> Digest:
    """Compute a digest of columns where the data are: see [`digest`][polars_imgmeta.digest]."""
    records = frame.map_partitions(_record, columns, meta={DIGEST: "object"})
    return sum_digests(records.compute()[DIGEST])


def _record(part: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    import pyarrow as pa  # noqa: PLC0415 - in the worker

    record = digest_record(pa.Table.from_pandas(part, preserve_index=False), *columns)
    return record.to_pandas().astype("object")
