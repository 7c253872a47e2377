"""Series in, Series out: the function that Polars maps over a locator column.

It decides row by row what must be read, reads each locator once, and puts old
and new values together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import deduplication, structs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.progress import progress_bar
from polars_imgmeta.io.redaction import locate
from polars_imgmeta.measuring.measurement import Measurement, measure_all
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImageFetching, Requests
from polars_imgmeta.typing import PropertyName


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to extract; called with batches of locators, and old values if any.

    An instance is plain data: it is pickled to other processes as it is, and
    may be called by several threads at once.

    Attributes:
        column: The name of the struct column.
        locator: The name of the locator column, for the record.
        properties: The properties of the result, in catalogue order.
        reading: How images are read.
        present: The properties that the old values have already.
        retry: Whether to read again the rows that have an error, and no others.
    """

    column: str
    locator: str
    properties: tuple[PropertyName, ...]
    reading: Reading
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
        in_one_batch = in_one_batch or self.reading.on_error == "raise"
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
            ColumnError: If the locators are of no dtype that locates images.
            ImageError: Under `on_error="raise"`, for the first row that fails.
        """
        del return_dtype
        deduplication.require_locator_dtype(batch[0].dtype, self.locator)
        parts = deduplication.parts_of(batch[0])
        if not self.present:
            return self._read_all(parts)
        old = batch[1]
        located = deduplication.located(parts)
        needs = self._needs(located, old)
        read = needs.select(pl.any_horizontal(pl.all())).to_series()
        if not read.any() and structs.same_but_for_marker(old.dtype, self.dtype):
            return self._mark(old)
        fresh = self._read(parts, needs, read)
        return self._merge(fresh, old, needs, read, valid=read | self._keeps(located, old))

    def _needs(self, located: pl.Series, old: pl.Series) -> pl.DataFrame:
        """Which properties each row must be read for: a Boolean column for each."""
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

    def _keeps(self, located: pl.Series, old: pl.Series) -> pl.Series:
        """Which rows keep their old values; without an image nothing can be added."""
        return old.is_not_null() & located if self.missing else old.is_not_null()

    def _read_all(self, parts: pl.DataFrame) -> pl.Series:
        """Measure every row: an image once, however often it repeats."""
        images = Images(parts)
        table = self._measure(images, [self.properties] * len(images))
        marked = table.with_columns(self._marker(len(table)))
        return marked.to_struct(self.column).gather(images.numbers)

    def _read(self, parts: pl.DataFrame, needs: pl.DataFrame, read: pl.Series) -> pl.DataFrame:
        """Measure what the rows need: an image once, however often it repeats."""
        images = Images(parts.filter(read))
        needed = needs.filter(read).group_by(images.numbers).agg(pl.all().any())
        rows = needed.sort(images.numbers.name).drop(images.numbers.name).rows()
        names = {need: tuple(compress(self.properties, need)) for need in set(rows)}
        table = self._measure(images, [names[need] for need in rows])
        places = pl.Series(dtype=pl.UInt32).extend_constant(None, len(read))
        return table.select(pl.all().gather(places.scatter(read.arg_true(), images.numbers)))

    def _measure(self, images: Images, names: Sequence[tuple[PropertyName, ...]]) -> pl.DataFrame:
        """The properties of each image, as far as they are asked for, and its error."""
        reading = self.reading
        raises = reading.on_error == "raise"
        with progress_bar(len(images), reading.progress) as bar:
            measurements = scheduler.run_all(
                partial(measure_all, max_pixels=reading.max_pixels, storage=reading.storage),
                Requests(images, names),
                fetching=ImageFetching(reading.storage, images.far),
                stop=_failed if raises else None,
                watch=bar and (lambda news: bar(map(_failed, news))),
            )
        if raises:
            for number, measurement in enumerate(measurements):
                if measurement.error is not None:
                    raise locate(measurement.error, images[number])
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


def _failed(measurement: Measurement) -> bool:
    return measurement.error is not None
