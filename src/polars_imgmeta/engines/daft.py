"""Daft frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.extras import require
from polars_imgmeta.engines.grants import use_grant

if TYPE_CHECKING:
    import daft


def extract(
    frame: daft.DataFrame,
    extractor: ArrowExtractor,
    *,
    batch_size: int | None = None,
    **options: Any,  # noqa: ANN401 - Daft's own
) -> daft.DataFrame:
    """Extract in a Daft frame, lazily.

    Args:
        frame: The frame.
        extractor: What to extract.
        batch_size: The number of rows of a batch; Daft chooses unless given.
        options: Options of `daft.cls`, such as `cpus`, which each extraction uses, and
            `max_concurrency`, the number of processes.

    Returns:
        The frame with the column.

    Raises:
        ImportError: If the extra `daft` is not installed.
        ColumnError: As for a call of `extractor`.
    """
    require("daft", "daft")
    import daft  # noqa: PLC0415 - only where it is used

    schema = frame.schema().to_pyarrow_schema()
    into = extractor.into
    names = [extractor.locator, *([into] if into in schema.names else [])]
    others = [name for name in schema.names if name not in names]
    dtype = daft.DataType.from_arrow_type(extractor.schema(schema).field(into).type)

    cpus = options.get("cpus")
    threads = extractor.threads or (max(1, int(cpus)) if cpus else None)

    @daft.cls(**options)  # a function runs in one process at a time
    class Imgmeta:
        """The extraction of a batch."""

        @daft.method.batch(return_dtype=dtype, batch_size=batch_size)  # type: ignore[untyped-decorator, unused-ignore]
        def __call__(self, *columns: daft.Series) -> Any:  # noqa: ANN401 - an array of pyarrow
            import pyarrow as pa  # noqa: PLC0415 - in the worker

            use_grant(threads)
            values = dict(zip(names, (one.to_arrow() for one in columns), strict=True))
            nothing = pa.nulls(len(columns[0]))
            table = pa.table({**values, **dict.fromkeys(others, nothing)})
            return extractor(table).column(into).combine_chunks()

    return frame.with_column(into, Imgmeta()(*(frame[name] for name in names)))
