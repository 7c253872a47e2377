"""Ray Data."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from polars_imgmeta.engines.arrow import ArrowExtractor
from polars_imgmeta.engines.digest import DIGEST, Digest, digest_record, sum_digests
from polars_imgmeta.engines.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data


def extract(
    dataset: ray.data.Dataset,
    extractor: ArrowExtractor,
    **options: Any,  # noqa: ANN401 - Ray's own
) -> ray.data.Dataset:
    """Extract in a data set of Ray, lazily.

    Args:
        dataset: The data set.
        extractor: What to extract.
        options: Options of `ray.data.Dataset.map_batches`, such as `num_cpus` and `memory`,
            which each worker uses, and `batch_size`.

    Returns:
        The data set with the column. Its schema is known without an extraction.

    Raises:
        ImportError: If the extra `ray` is not installed.
    """
    require("ray.data", "ray")
    result = dataset.map_batches(
        extractor, batch_format="pyarrow", **{"zero_copy_batch": True, **options}
    )
    _declare(result, dataset, extractor)
    return result


def digest(dataset: ray.data.Dataset, *columns: str) -> Digest:
    """Compute a digest of columns where the data are: see [`digest`][polars_imgmeta.digest]."""
    require("ray.data", "ray")

    def record(batch: pa.Table) -> pa.Table:
        import pyarrow as pa  # noqa: PLC0415 - in the worker

        return pa.table(digest_record(batch, *columns))

    records = dataset.map_batches(record, batch_format="pyarrow").take_all()
    return sum_digests(one[DIGEST] for one in records)


def _declare(
    result: ray.data.Dataset, dataset: ray.data.Dataset, extractor: ArrowExtractor
) -> None:
    """Let Ray know the schema, for which it would otherwise extract from the first block.

    It has no option for that. Where its insides change, it extracts.
    """

    def infer_schema() -> pa.Schema | None:
        import pyarrow as pa  # noqa: PLC0415 - only where it is used

        schema = dataset.schema()
        base = schema and schema.base_schema
        return extractor.schema(base) if isinstance(base, pa.Schema) else None

    with suppress(AttributeError):
        object.__setattr__(result._logical_plan.dag, "infer_schema", infer_schema)  # noqa: SLF001
