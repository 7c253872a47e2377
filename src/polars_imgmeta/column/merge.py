"""Old and new values put together: pure, no image is touched."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.column.plan import Plan
from polars_imgmeta.typing import PropertyName


def merge(
    fresh: pl.DataFrame,
    old: pl.Series,
    plan: Plan,
    properties: Sequence[PropertyName],
    marker: pl.Series,
) -> pl.Series:
    """Put old and new values together.

    Args:
        fresh: For each row the values that were read, and the error.
        old: The structs that the rows had.
        plan: Which of the new values count.
        properties: The properties of the result.
        marker: The marker of each row.
    """
    before = old.struct.unnest()
    fields = [
        fresh[name].zip_with(plan.needs[name], before[name].cast(CATALOGUE[name].dtype))
        if name in before.columns
        else fresh[name]
        for name in properties
    ]
    error = fresh[structs.ERROR].zip_with(plan.read, before[structs.ERROR])
    table = pl.DataFrame([*fields, error, marker])
    # The error of another row that has the same locator may not concern this one.
    complete = pl.all_horizontal(pl.col(properties).is_not_null())
    explained = pl.when(~complete).then(structs.ERROR).alias(structs.ERROR)
    struct = pl.when(pl.lit(plan.valid)).then(pl.struct(pl.all())).alias(old.name)
    return table.with_columns(explained).select(struct).to_series()
