"""The function that Polars maps over a locator column: plan, measure, merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, PropertySet
from polars_imgmeta.column import deduplication, structs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.column.merge import merge
from polars_imgmeta.column.plan import Plan, make_plan
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.progress import Observer
from polars_imgmeta.io.redaction import locate
from polars_imgmeta.measuring.measurement import Measurement, measure_all
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImagePrefetcher, Requests
from polars_imgmeta.typing import PropertyName


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to extract; called with batches of locators, and old structs if there are any.

    Without an observer, an instance is plain data: it is pickled to other processes as it
    is. It may be called by several threads at once.

    Attributes:
        column: The name of the struct column.
        locator: The name of the locator column, for the record.
        properties: The properties of the result, in catalogue order.
        reading: How images are read.
        present: The properties that the old structs have already.
        retry: Whether to read again the rows that have an error, and no others.
        observer: What is told of the progress.
    """

    column: str
    locator: str
    properties: tuple[PropertyName, ...]
    reading: Reading
    present: tuple[PropertyName, ...] = ()
    retry: bool = False
    observer: Observer | None = None

    @property
    def dtype(self) -> pl.Struct:
        """The dtype of the result."""
        return structs.struct_dtype(self.properties, self.locator)

    def expression(self, locators: pl.Expr, *, in_one_batch: bool = False) -> pl.Expr:
        """Return the lazy result, to be put into a frame.

        Args:
            locators: The locators; old structs are taken from the column that the result
                replaces.
            in_one_batch: Whether to have the whole column at once. Otherwise Polars chooses
                the batches, and drops rows beforehand that a later filter drops. Raising
                for the first row that fails needs the whole column.
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
            batch: The locators and, if there are any, the old structs.
            return_dtype: What Polars was told to expect, which is `dtype`.

        Returns:
            The struct column, as long as the batch.

        Raises:
            ColumnError: If the dtype of the locators cannot locate images.
            ImageError: Under `on_error="raise"`, for the first row that fails.
        """
        del return_dtype
        deduplication.require_locator_dtype(batch[0].dtype, self.locator)
        parts = deduplication.parts_of(batch[0])
        if not self.present:
            return self._read_all(parts)
        old = batch[1].alias(self.column)
        located = deduplication.located(parts)
        plan = make_plan(located, old, self.properties, self.present, retry=self.retry)
        if not plan.read.any() and structs.same_but_for_marker(old.dtype, self.dtype):
            return self._mark(old)
        return merge(self._read(parts, plan), old, plan, self.properties, self._marker(len(old)))

    def _marker(self, rows: int) -> pl.Series:
        """Return the marker of `rows` rows."""
        marker = pl.Series(structs.MARKER, [True]).new_from_index(0, rows)
        return marker.ext.to(structs.Imgmeta(self.locator))

    def _mark(self, old: pl.Series) -> pl.Series:
        """Give complete structs our marker: theirs may be plain, or from before the import."""
        marker = pl.field(structs.MARKER).ext.storage().ext.to(structs.Imgmeta(self.locator))
        marked = pl.col(old.name).struct.with_fields(marker)
        return old.to_frame().select(marked).to_series()

    def _read_all(self, parts: pl.DataFrame) -> pl.Series:
        """Measure every row; an image that several rows name is read once."""
        images = Images(parts)
        wanted = PropertySet(CATALOGUE[name] for name in self.properties)
        table = self._measure(images, [wanted] * len(images))
        marked = table.with_columns(self._marker(len(table)))
        return marked.to_struct(self.column).gather(images.numbers)

    def _read(self, parts: pl.DataFrame, plan: Plan) -> pl.DataFrame:
        """Measure what rows need; an image that several rows name is read once."""
        images = Images(parts.filter(plan.read))
        needed = plan.needs.filter(plan.read).group_by(images.numbers).agg(pl.all().any())
        rows = needed.sort(images.numbers.name).drop(images.numbers.name).rows()
        wanted = {
            need: PropertySet(CATALOGUE[name] for name in compress(self.properties, need))
            for need in set(rows)
        }
        table = self._measure(images, [wanted[need] for need in rows])
        places = pl.Series(dtype=pl.UInt32).extend_constant(None, len(plan.read))
        return table.select(pl.all().gather(places.scatter(plan.read.arg_true(), images.numbers)))

    def _measure(self, images: Images, wanted: Sequence[PropertySet]) -> pl.DataFrame:
        """Return the properties of each image, as far as they are wanted, and its error."""
        reading = self.reading
        measurements: list[Measurement] = [Measurement({}, None)] * len(images)
        raises = reading.on_error == "raise"
        if self.observer:
            self.observer.begin(len(images))
        try:
            for results in scheduler.run(
                partial(measure_all, reading=reading),
                Requests(images, wanted),
                prefetcher=ImagePrefetcher(reading.storage, images.remote),
                stop=_failed if raises else None,
            ):
                for number, measurement in results:
                    measurements[number] = measurement
                if self.observer:
                    failed = sum(_failed(measurement) for _, measurement in results)
                    self.observer.advance(len(results), failed)
        finally:
            if self.observer:
                self.observer.end()
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


def _failed(measurement: Measurement) -> bool:
    return measurement.error is not None
