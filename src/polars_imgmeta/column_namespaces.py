"""The accessors `series.imgmeta` and `pl.col(...).imgmeta`, as those of frames are."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from polars_imgmeta.decoding.pictures import DEFAULT_MAX_PIXELS
from polars_imgmeta.io.access import Access
from polars_imgmeta.typing import OnError, PropertiesLike
from polars_imgmeta.verbs import extraction


class ExprNamespace:
    """What `pl.col(...).imgmeta` is."""

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def extract(
        self,
        properties: PropertiesLike = "standard",
        *,
        into: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
    ) -> pl.Expr:
        """Extract in an expression: `polars_imgmeta.extract_expr`."""
        return extraction.extract_expr(
            self._expr,
            properties,
            into=into,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
        )


class SeriesNamespace:
    """What `series.imgmeta` is."""

    def __init__(self, series: pl.Series) -> None:
        self._series = series

    def extract(
        self,
        properties: PropertiesLike = "standard",
        *,
        into: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
        progress: bool | None = None,
    ) -> pl.Series:
        """Extract from a series: `polars_imgmeta.extract_series`."""
        return extraction.extract_series(
            self._series,
            properties,
            into=into,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
            progress=progress,
        )
