"""Series in, Series out: the function that Polars maps over a locator column.

It decides row by row what must be read, reads each locator once, and puts old
and new values together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from polars_imgmeta import structs, workers
from polars_imgmeta.catalogue import CATALOGUE
from polars_imgmeta.exceptions import locate
from polars_imgmeta.images import Measurement, measure
from polars_imgmeta.typing import OnError, PropertyName


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to extract; called with batches of locators, and old values if any.

    An instance is plain data: it is pickled to other processes as it is, and
    may be called by several threads at once.

    Attributes:
        column: The name of the struct column.
        locator: The name of the locator column, for the record.
        properties: The properties of the result, in catalogue order.
        on_error: What a failing row does.
        max_pixels: Pictures of more pixels are not decoded.
        present: The properties that the old values have already.
        retry: Whether to read again the rows that have an error, and no others.
    """

    column: str
    locator: str
    properties: tuple[PropertyName, ...]
    on_error: OnError
    max_pixels: int
    present: tuple[PropertyName, ...] = ()
    retry: bool = False

    @property
    def dtype(self) -> pl.Struct:
        """The dtype of the result."""
        return structs.struct_dtype(self.properties, self.locator)

    @property
    def missing(self) -> tuple[PropertyName, ...]:
        """The properties that the old values lack."""
        return tuple(name for name in self.properties if name not in self.present)

    def expression(self, locators: pl.Expr) -> pl.Expr:
        """Return the lazy result, to be put into a frame.

        Args:
            locators: The locators; old values are taken from the column that
                the result replaces.
        """
        old = [pl.col(self.column)] if self.present else []
        return pl.map_batches(
            [locators, *old], self, return_dtype=self.dtype, is_elementwise=True
        ).alias(self.column)

    def __call__(
        self, batch: Sequence[pl.Series], *, return_dtype: pl.DataType | None = None
    ) -> pl.Series:
        """Extract one batch.

        Args:
            batch: The locators and, if there are any, the old values.
            return_dtype: What Polars was told to expect, which is `dtype`.

        Returns:
            The struct column, as long as the batch.

        Raises:
            ColumnError: If the locators are no text.
            ImageError: Under `on_error="raise"`, for the first row that fails.
        """
        del return_dtype
        structs.require_locator_dtype(batch[0].dtype, self.locator)
        locators = batch[0].cast(pl.String)
        if self.present:
            old = batch[1]
        else:
            old = pl.Series([None], dtype=structs.struct_dtype((), self.locator))
            old = old.new_from_index(0, len(locators))
        located = locators.is_not_null()
        whole, partly = self._rows_to_read(located, old)
        read = whole | partly
        if not self.missing and not read.any() and old.dtype == self.dtype:
            return old.alias(self.column)
        keep = old.is_not_null() & located if self.missing else old.is_not_null()
        fresh = self._read(locators, read, whole)
        return self._merge(fresh, old, read=read, whole=whole, valid=read | keep)

    def _rows_to_read(self, located: pl.Series, old: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Which rows lack all properties, and which only the missing ones."""
        absent = old.is_null()
        failed = old.struct.field(structs.ERROR).is_not_null()
        if self.retry:
            return located & failed, located & ~located
        if self.missing:
            return located & (absent | failed), located & ~absent & ~failed
        return located & absent, located & ~located

    def _read(self, locators: pl.Series, read: pl.Series, whole: pl.Series) -> pl.DataFrame:
        """Measure what each row needs: a locator once, however often it repeats."""
        needs_all: dict[str, bool] = {}
        for locator, all_of_them in zip(locators.filter(read), whole.filter(read), strict=True):
            needs_all[locator] = all_of_them or needs_all.get(locator, False)
        measurements = workers.run(self._measure, list(needs_all.items()))
        place = {locator: index for index, locator in enumerate(needs_all)}
        index = pl.Series(
            [
                place[locator] if wanted else None
                for locator, wanted in zip(locators, read, strict=True)
            ],
            dtype=pl.UInt32,
        )
        values = [
            pl.Series(name, [m.values.get(name) for m in measurements], CATALOGUE[name].dtype)
            for name in self.properties
        ]
        messages = [m.error and f"{m.error.kind}: {m.error}" for m in measurements]
        error = pl.Series(structs.ERROR, messages, pl.String)
        return pl.DataFrame([series.gather(index) for series in (*values, error)])

    def _measure(self, item: tuple[str, bool]) -> Measurement:
        locator, all_of_them = item
        names = self.properties if all_of_them else self.missing
        measurement = measure(locator, names, max_pixels=self.max_pixels)
        if measurement.error is not None and self.on_error == "raise":
            raise locate(measurement.error, locator)
        return measurement

    def _merge(
        self,
        fresh: pl.DataFrame,
        old: pl.Series,
        *,
        read: pl.Series,
        whole: pl.Series,
        valid: pl.Series,
    ) -> pl.Series:
        """Put old and new values together; null structs where rows are not valid."""
        fields = [
            fresh[name].zip_with(whole, old.struct.field(name).cast(CATALOGUE[name].dtype))
            if name in self.present
            else fresh[name]
            for name in self.properties
        ]
        error = fresh[structs.ERROR].zip_with(read, old.struct.field(structs.ERROR))
        marker = pl.Series(structs.MARKER, [True]).new_from_index(0, len(old))
        table = pl.DataFrame([*fields, error, marker.ext.to(structs.Imgmeta(self.locator))])
        # An error of another row that shares the locator may not concern this one.
        complete = pl.all_horizontal(pl.col(self.properties).is_not_null())
        explained = pl.when(~complete).then(structs.ERROR).alias(structs.ERROR)
        struct = pl.when(pl.lit(valid)).then(pl.struct(pl.all())).alias(self.column)
        return table.with_columns(explained).select(struct).to_series()
