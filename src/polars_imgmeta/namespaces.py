"""The accessors `df.imgmeta` and `lf.imgmeta`, and the registration of all four.

They hold neither logic nor state beside what they are attached to: each method
hands its arguments to the function of its name, which is documented.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic

import polars as pl

from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.column_namespaces import ExprNamespace, SeriesNamespace
from polars_imgmeta.decoding.pictures import DEFAULT_MAX_PIXELS
from polars_imgmeta.display import plotting, showing
from polars_imgmeta.display.report import writing
from polars_imgmeta.display.showing import Preview
from polars_imgmeta.io.access import Access
from polars_imgmeta.typing import Frame, FrameT, GroupName, OnError, PropertiesLike, PropertyName
from polars_imgmeta.verbs import cases, editing, export, extraction, inspection
from polars_imgmeta.verbs.cases import Bins

if TYPE_CHECKING:
    import altair as alt
    import pyarrow as pa


class _FrameNamespace(Generic[FrameT]):
    def __init__(self, frame: FrameT) -> None:
        self._frame: FrameT = frame

    def extract(
        self,
        locator: str,
        properties: PropertiesLike = "standard",
        *,
        into: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
        progress: bool | None = None,
    ) -> FrameT:
        """Make sure that properties are present and filled: `polars_imgmeta.extract`."""
        return extraction.extract(
            self._frame,
            locator,
            properties,
            into=into,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
            progress=progress,
        )

    def add(
        self,
        *properties: PropertyName | GroupName,
        column: str | None = None,
        locator: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
        progress: bool | None = None,
    ) -> FrameT:
        """Add properties: `polars_imgmeta.add`."""
        return editing.add(
            self._frame,
            *properties,
            column=column,
            locator=locator,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
            progress=progress,
        )

    def remove(self, *properties: PropertyName | GroupName, column: str | None = None) -> FrameT:
        """Remove properties: `polars_imgmeta.remove`."""
        return editing.remove(self._frame, *properties, column=column)

    def configure(
        self,
        properties: PropertiesLike,
        *,
        column: str | None = None,
        locator: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
        progress: bool | None = None,
    ) -> FrameT:
        """Have exactly these properties: `polars_imgmeta.configure`."""
        return editing.configure(
            self._frame,
            properties,
            column=column,
            locator=locator,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
            progress=progress,
        )

    def retry(
        self,
        *,
        column: str | None = None,
        locator: str | None = None,
        on_error: OnError = "null",
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
        progress: bool | None = None,
    ) -> FrameT:
        """Read failed rows again: `polars_imgmeta.retry`."""
        return editing.retry(
            self._frame,
            column=column,
            locator=locator,
            on_error=on_error,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
            progress=progress,
        )

    def columns(self) -> list[str]:
        """Name the auto-extracted columns: `polars_imgmeta.columns`."""
        return inspection.columns(self._frame)

    def properties(self, column: str | None = None) -> list[PropertyName]:
        """Name the properties of a column: `polars_imgmeta.properties`."""
        return inspection.properties(self._frame, column)

    def provenance(self, column: str | None = None) -> Provenance:
        """Tell where values come from: `polars_imgmeta.provenance`."""
        return inspection.provenance(self._frame, column)

    def errors(self, column: str | None = None, *, locator: str | None = None) -> FrameT:
        """List the rows that could not be read: `polars_imgmeta.errors`."""
        return inspection.errors(self._frame, column, locator=locator)

    def unnest(self, column: str | None = None, *, prefix: str | None = None) -> FrameT:
        """Make flat columns: `polars_imgmeta.unnest`."""
        return inspection.unnest(self._frame, column, prefix=prefix)

    def test_cases(
        self,
        by: str | Iterable[str] | Mapping[str, Bins],
        bins: Bins | None = None,
        *,
        into: str = "test_case",
        column: str | None = None,
    ) -> FrameT:
        """Cut into test cases: `polars_imgmeta.test_cases`."""
        return cases.test_cases(self._frame, by, bins, into=into, column=column)

    def plot(
        self,
        x: str | Iterable[str] | None = None,
        y: str | None = None,
        *,
        color: str | None = None,
        against: Frame | None = None,
        names: tuple[str, str] = ("this", "other"),
        pictures: int = 300,
        column: str | None = None,
        locator: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
    ) -> alt.Chart | alt.LayerChart | alt.ConcatChart:
        """Draw properties: `polars_imgmeta.plot`."""
        return plotting.plot(
            self._frame,
            x,
            y,
            color=color,
            against=against,
            names=names,
            pictures=pictures,
            column=column,
            locator=locator,
            storage_options=storage_options,
            access=access,
        )

    def to_arrow(self, **options: Any) -> pa.Table:  # noqa: ANN401 - Polars' own
        """Export with readable metadata: `polars_imgmeta.to_arrow`."""
        return export.to_arrow(self._frame, **options)

    def report(
        self,
        file: str | os.PathLike[str],
        *,
        column: str | None = None,
        locator: str | None = None,
        title: str = "Image report",
        sample: int = 1_000,
        thumbnails: bool = True,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
    ) -> Path:
        """Write a page of pictures and properties: `polars_imgmeta.report`."""
        return writing.report(
            self._frame,
            file,
            column=column,
            locator=locator,
            title=title,
            sample=sample,
            thumbnails=thumbnails,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
        )

    def show(
        self,
        rows: int = 5,
        *,
        column: str | None = None,
        locator: str | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        storage_options: Mapping[str, str] | None = None,
        access: Access | None = None,
    ) -> Preview:
        """Show the first rows with pictures, in a notebook: `polars_imgmeta.show`."""
        return showing.show(
            self._frame,
            rows,
            column=column,
            locator=locator,
            max_pixels=max_pixels,
            storage_options=storage_options,
            access=access,
        )


class DataFrameNamespace(_FrameNamespace[pl.DataFrame]):
    """What `df.imgmeta` is."""

    def write_parquet(
        self,
        file: str | Path | IO[bytes],
        **options: Any,  # noqa: ANN401 - Polars' own
    ) -> None:
        """Write with readable metadata: `polars_imgmeta.write_parquet`."""
        export.write_parquet(self._frame, file, **options)


class LazyFrameNamespace(_FrameNamespace[pl.LazyFrame]):
    """What `lf.imgmeta` is."""

    def sink_parquet(
        self,
        path: str | Path | IO[bytes] | pl.PartitionBy,
        **options: Any,  # noqa: ANN401 - Polars' own
    ) -> pl.LazyFrame | None:
        """Stream with readable metadata: `polars_imgmeta.sink_parquet`."""
        return export.sink_parquet(self._frame, path, **options)


def register() -> None:
    """Attach the accessors to Polars."""
    pl.api.register_dataframe_namespace("imgmeta")(DataFrameNamespace)
    pl.api.register_lazyframe_namespace("imgmeta")(LazyFrameNamespace)
    pl.api.register_expr_namespace("imgmeta")(ExprNamespace)
    pl.api.register_series_namespace("imgmeta")(SeriesNamespace)
