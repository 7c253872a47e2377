"""Frames like those that `extract` returns, with drawn values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from hypothesis import strategies as st

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column.structs import dtype_of

Values = Mapping[str, Sequence[object]]


def extracted(values: Values, **columns: Iterable[object]) -> pl.DataFrame:
    """Return a frame with an auto-extracted column of these values, and other columns."""
    count = len(next(iter(values.values())))
    dtypes = {name: CATALOGUE[name].dtype for name in values}
    rows = [
        {name: values[name][row] for name in values} | {"auto_extracted": "path@00000000"}
        for row in range(count)
    ]
    paths = [f"{row:03}.png" for row in range(count)]
    frame = pl.DataFrame(
        {"path": paths, "path_imgmeta": rows},
        schema={"path": pl.String(), "path_imgmeta": dtype_of(dtypes)},
    )
    return frame.with_columns(pl.Series(name, list(given)) for name, given in columns.items())


def chunked(frame: pl.DataFrame, sizes: Sequence[int]) -> pl.DataFrame:
    """Return a frame cut into chunks, whose rows stay as they are."""
    parts, start = [], 0
    for size in sizes:
        parts.append(frame.slice(start, size))
        start += size
    return pl.concat([*parts, frame.slice(start)], rechunk=False)


fractions = st.one_of(
    st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.2, 0.35, 0.85, 1.0]), st.just(float("nan"))
)
