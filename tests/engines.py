"""The execution modes of Polars: eager, in-memory, streaming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

ENGINES = ("eager", "in-memory", "streaming")


def run(
    engine: str, frame: pl.DataFrame, query: Callable[..., Any], *others: pl.DataFrame
) -> pl.DataFrame:
    """Apply a query to one or several frames in one of the modes of `ENGINES`."""
    frames = [frame, *others]
    if engine == "eager":
        result = query(*frames)
    else:
        result = query(*(one.lazy() for one in frames)).collect(engine=engine)
    assert isinstance(result, pl.DataFrame)
    return result
