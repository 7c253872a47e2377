"""The execution modes of Polars: eager, in-memory, streaming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

ENGINES = ("eager", "in-memory", "streaming")


def run(engine: str, frame: pl.DataFrame, query: Callable[[Any], Any]) -> pl.DataFrame:
    """Apply a query to a frame in one of the modes of `ENGINES`."""
    if engine == "eager":
        result = query(frame)
    elif engine == "in-memory":
        result = query(frame.lazy()).collect(engine="in-memory")
    else:
        result = query(frame.lazy()).collect(engine="streaming")
    assert isinstance(result, pl.DataFrame)
    return result
