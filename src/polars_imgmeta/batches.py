"""Series in, Series out: the function that Polars maps over a locator column.

It decides row by row what must be read, reads each locator once, and puts old
and new values together.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress

import polars as pl

from polars_imgmeta import structs, workers
from polars_imgmeta.catalogue import CATALOGUE
from polars_imgmeta.exceptions import locate
from polars_imgmeta.images import Measurement, Request, measure_all
from polars_imgmeta.progress import progress_bar
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
        progress: Whether to show a bar; None for: where somebody looks.
    """

    column: str
    locator: str
    properties: tuple[PropertyName, ...]
    on_error: OnError
    max_pixels: int
    present: tuple[PropertyName, ...] = ()
    retry: bool = False
    progress: bool | None = False

    @property
    def dtype(self) -> pl.Struct:
        """The dtype of the result."""
        return structs.struct_dtype(self.properties, self.locator)

    @property
    def missing(self) -> tuple[PropertyName, ...]:
        """The properties that the old values lack."""
        return tuple(name for name in self.properties if name not in self.present)

    def expression(self, locators: pl.Expr, *, in_one_batch: bool = False) -> pl.Expr:
        """Return the lazy result, to be put into a frame.

        Args:
            locators: The locators; old values are taken from the column that
                the result replaces.
            in_one_batch: Whether to have the whole column at once. Otherwise
                Polars cuts it as it likes, and drops rows beforehand that a
                filter drops behind. To raise for the first row that fails, the
                whole column is needed.
        """
        in_one_batch = in_one_batch or self.on_error == "raise"
        old = [pl.col(self.column)] if self.present else []
        return pl.map_batches(
            [locators, *old], self, return_dtype=self.dtype, is_elementwise=not in_one_batch
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
        if not self.present:
            return self._read_all(locators)
        old = batch[1]
        needs = self._needs(locators, old)
        read = needs.select(pl.any_horizontal(pl.all())).to_series()
        if not read.any() and structs.same_but_for_marker(old.dtype, self.dtype):
            return self._mark(old)
        fresh = self._read(locators, needs, read)
        return self._merge(fresh, old, needs, read, valid=read | self._keeps(locators, old))

    def _needs(self, locators: pl.Series, old: pl.Series) -> pl.DataFrame:
        """Which properties each row must be read for: a Boolean column for each."""
        located = locators.is_not_null()
        absent = old.is_null()
        failed = old.struct.field(structs.ERROR).is_not_null()
        if self.retry:
            return pl.DataFrame(dict.fromkeys(self.properties, located & failed))
        # A failed row is left alone, unless something new is asked of it.
        whole = located & (absent | failed if self.missing else absent)
        some = located & ~absent & ~failed
        # Frames of different properties leave gaps when they are concatenated.
        before = old.struct.unnest()
        return pl.DataFrame(
            {
                name: whole | (some & before[name].is_null() if name in self.present else some)
                for name in self.properties
            }
        )

    def _marker(self, rows: int) -> pl.Series:
        """The marker of so many rows, which are ours."""
        marker = pl.Series(structs.MARKER, [True]).new_from_index(0, rows)
        return marker.ext.to(structs.Imgmeta(self.locator))

    def _mark(self, old: pl.Series) -> pl.Series:
        """Give complete values our marker: theirs may be plain, or from before the import."""
        marker = pl.field(structs.MARKER).ext.storage().ext.to(structs.Imgmeta(self.locator))
        marked = pl.col(old.name).struct.with_fields(marker).alias(self.column)
        return old.to_frame().select(marked).to_series()

    def _keeps(self, locators: pl.Series, old: pl.Series) -> pl.Series:
        """Which rows keep their old values; without a locator nothing can be added."""
        return old.is_not_null() & locators.is_not_null() if self.missing else old.is_not_null()

    def _read_all(self, locators: pl.Series) -> pl.Series:
        """Measure every row: a locator once, however often it repeats."""
        place = _places(locators.drop_nulls())
        table = self._measure([(locator, self.properties) for locator in place])
        marked = table.with_columns(self._marker(len(table)))
        index = [None if locator is None else place[locator] for locator in locators]
        return marked.to_struct(self.column).gather(pl.Series(index, dtype=pl.UInt32))

    def _read(self, locators: pl.Series, needs: pl.DataFrame, read: pl.Series) -> pl.DataFrame:
        """Measure what the rows need: a locator once, however often it repeats."""
        needed: dict[str, tuple[bool, ...]] = {}
        for locator, need in zip(locators.filter(read), needs.filter(read).rows(), strict=True):
            known = needed.setdefault(locator, need)
            if known != need:
                needed[locator] = tuple(map(operator.or_, known, need))
        names = {need: tuple(compress(self.properties, need)) for need in set(needed.values())}
        table = self._measure([(locator, names[need]) for locator, need in needed.items()])
        place = _places(needed)
        index = [
            place[locator] if wanted else None
            for locator, wanted in zip(locators, read, strict=True)
        ]
        return table.select(pl.all().gather(pl.Series(index, dtype=pl.UInt32)))

    def _measure(self, requests: Sequence[Request]) -> pl.DataFrame:
        """The properties and the error of each request."""
        with progress_bar(len(requests), self.progress) as bar:
            measurements = workers.run_all(
                partial(measure_all, max_pixels=self.max_pixels),
                requests,
                stop=_failed if self.on_error == "raise" else None,
                watch=bar and (lambda news: bar(map(_failed, news))),
            )
        if self.on_error == "raise":
            for (locator, _), measurement in zip(requests, measurements, strict=False):
                if measurement.error is not None:
                    raise locate(measurement.error, locator)
        values = [
            pl.Series(name, [m.values.get(name) for m in measurements], CATALOGUE[name].dtype)
            for name in self.properties
        ]
        messages = [m.error and f"{m.error.kind}: {m.error}" for m in measurements]
        return pl.DataFrame([*values, pl.Series(structs.ERROR, messages, pl.String)])

    def _merge(
        self,
        fresh: pl.DataFrame,
        old: pl.Series,
        needs: pl.DataFrame,
        read: pl.Series,
        *,
        valid: pl.Series,
    ) -> pl.Series:
        """Put old and new values together; null structs where rows are not valid."""
        before = old.struct.unnest()
        fields = [
            fresh[name].zip_with(needs[name], before[name].cast(CATALOGUE[name].dtype))
            if name in self.present
            else fresh[name]
            for name in self.properties
        ]
        error = fresh[structs.ERROR].zip_with(read, before[structs.ERROR])
        table = pl.DataFrame([*fields, error, self._marker(len(old))])
        # An error of another row that shares the locator may not concern this one.
        complete = pl.all_horizontal(pl.col(self.properties).is_not_null())
        explained = pl.when(~complete).then(structs.ERROR).alias(structs.ERROR)
        struct = pl.when(pl.lit(valid)).then(pl.struct(pl.all())).alias(self.column)
        return table.with_columns(explained).select(struct).to_series()


def _places(locators: Iterable[str]) -> dict[str, int]:
    """Number locators, each once, in the order in which they come first."""
    return {locator: place for place, locator in enumerate(dict.fromkeys(locators))}


def _failed(measurement: Measurement) -> bool:
    return measurement.error is not None
