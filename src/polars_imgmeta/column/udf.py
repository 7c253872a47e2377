"""The function that Polars maps over a locator column: plan, measure, merge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, compress

import polars as pl

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.column import deduplication, marker, runs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.column.findings import Findings
from polars_imgmeta.column.merge import assemble, contradicted, merge
from polars_imgmeta.column.plan import Plan, Rows, look, make_forced_plan, make_plan
from polars_imgmeta.column.runs import Run
from polars_imgmeta.column.structs import MARKER, column, dtype_of, restored
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.interrupts import heeding_interrupts
from polars_imgmeta.execution.progress import Observer, Observing
from polars_imgmeta.execution.runtime import thread_count
from polars_imgmeta.io.redaction import locate
from polars_imgmeta.measuring.computing import is_any_computing, require_progress
from polars_imgmeta.measuring.measurement import Measurement
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImagePrefetcher, Requests
from polars_imgmeta.sandbox.measurement import measure_all

# After how long without a result to look whether the workers wait for this extraction.
_PATIENCE_SECONDS = 3.0


@dataclass(slots=True)
class _Call:
    """A call of an extraction.

    Attributes:
        run: The run that it belongs to.
        observer: What observes its progress.
        seconds: How long its images have taken so far.
    """

    run: Run | None
    observer: Observer | None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Extraction:
    """What to extract; called with locators, old structs and a condition, if there are any.

    An instance is plain data, and pickled to other processes as it is, but for its observing.
    It may be called by several threads at once.

    Attributes:
        column: The name of the struct column.
        locator: The name of the locator column, for the record.
        properties: The properties of the result that are known here, in canonical order.
        reading: How images are read.
        unknown: The names and dtypes of other properties, which pass through.
        existing: Whether there are old structs.
        other_columns: The other columns of the frame.
        forced: Whether there is a condition, of rows to read in any case.
        only_forced: Whether to read no other rows than these.
        plan: The identity of its plan, by which batches share what they read; empty where
            there are no others.
        observing: Makes the observer of the progress, where no run shows it.
    """

    column: str
    locator: str
    properties: tuple[Property, ...]
    reading: Reading
    unknown: tuple[tuple[str, pl.DataType], ...] = ()
    existing: bool = False
    other_columns: tuple[str, ...] = ()
    forced: bool = False
    only_forced: bool = False
    plan: str = ""
    observing: Observing | None = None

    @property
    def dtype(self) -> pl.Struct:
        """The dtype of the result."""
        return dtype_of({**{one.name: one.dtype for one in self.properties}, **dict(self.unknown)})

    def expression(
        self, locators: pl.Expr, condition: pl.Expr | None = None, *, in_one_batch: bool = False
    ) -> pl.Expr:
        """Return the lazy result, to be put into a frame.

        Args:
            locators: The locators; old structs are taken from the column that the result
                replaces.
            condition: Where rows are read in any case, if `forced`.
            in_one_batch: Whether to have the whole column at once. Otherwise Polars chooses
                the batches, and drops rows beforehand that a later filter drops. Raising
                for the first row that fails needs the whole column.
        """
        in_one_batch = in_one_batch or self.reading.on_error == "raise"
        arguments = [locators]
        if self.existing:
            arguments.append(column(self.column))
        if condition is not None:
            arguments.append(condition)
        return pl.map_batches(
            arguments, self, return_dtype=self.dtype, is_elementwise=not in_one_batch
        ).alias(self.column)

    def __call__(
        self, batch: Sequence[pl.Series], *, return_dtype: pl.DataType | None = None
    ) -> pl.Series:
        """Extract one batch.

        Args:
            batch: The locators; then the old structs and the condition, if there are any.
            return_dtype: What Polars expects, which is `dtype`.

        Returns:
            The struct column, as long as the batch.

        Raises:
            ColumnError: If the dtype of the locators cannot locate images.
            ImageError: Under `on_error="raise"`, for the first row that fails.
        """
        del return_dtype
        return heeding_interrupts(partial(self._extract, batch)).alias(self.column)

    def _extract(self, batch: Sequence[pl.Series]) -> pl.Series:
        # Polars implements methods of series by expressions on their name, which it could take
        # for a pattern.
        locators, *others = (one.alias("values") for one in batch)
        deduplication.require_locator_dtype(locators.dtype, self.locator)
        parts = deduplication.parts_of(locators)
        if not self.plan or self.reading.on_error == "raise":
            return self._fill(parts, others, _Call(None, self._observer()))
        with runs.calling(self.plan) as run:
            if run is None:
                return self._fill(parts, others, _Call(None, None))
            watch = run.watch
            with watch.batch(len(locators)) if watch else nullcontext(self._observer()) as observer:
                call = _Call(run, observer)
                structs = self._fill(parts, others, call)
            # All else takes no less time in a small batch, where others keep the machine busy.
            run.pace.learn(len(locators), call.seconds)
            return structs

    def _observer(self) -> Observer | None:
        return self.observing.observer() if self.observing else None

    def _fill(self, parts: pl.DataFrame, others: Sequence[pl.Series], call: _Call) -> pl.Series:
        if not self.existing:
            return self._read_all(parts, call)
        old = others[0]
        condition = _condition(others[1], len(old)) if self.forced else None
        return self._complete(parts, old, condition, call)

    def _complete(
        self, parts: pl.DataFrame, old: pl.Series, condition: pl.Series | None, call: _Call
    ) -> pl.Series:
        """Read what old structs lack."""
        digest = marker.digests(parts)
        if condition is None and self._is_complete(old, digest):
            return old
        located = digest.is_not_null()
        rows = look(located, digest, old, self.properties, self.other_columns)
        if condition is not None and self.only_forced:
            plan = make_forced_plan(rows, self.properties, condition)
        else:
            plan = make_plan(rows, self.properties, condition)
        same = rows.current
        fresh = Findings(self.properties, ()).table().clear(len(old))
        if plan.read.any():
            fresh = self._read(parts, plan, call)
            facts = [one.name for one in self._facts]
            differs = contradicted(rows, plan, fresh, facts)
            same &= ~differs
            again = differs & ~plan.anew
            if again.any():
                plan = plan.replacing(again)
                whole = Plan(plan.needs.select(pl.all() & again), plan.anew & again)
                fresh = _replace(fresh, self._read(parts, whole, call), again)
        before = old.struct.unnest()
        unknown = before.select(name for name, _ in self.unknown)
        merged = self._merge(rows, plan, fresh, unknown, same)
        if not self.only_forced:
            return merged
        # Stale rows that were not asked for stay stale, rather than lose what they have.
        kept = before.select(
            pl.when(pl.col(MARKER).is_not_null() & pl.lit(located)).then(
                pl.struct(
                    restored(pl.col(name), before.schema[name], dtype)
                    for name, dtype in pl.Schema(self.dtype.to_schema()).items()
                )
            )
        ).to_series()
        return merged.zip_with(plan.read, kept)

    def _is_complete(self, old: pl.Series, digest: pl.Series) -> bool:
        """Whether a quick check finds nothing to do."""
        if old.dtype != self.dtype or any(one.version != 1 for one in self.properties):
            return False
        fields = old.struct.unnest()
        begin = f"{self.locator}@"
        text = fields[MARKER]
        rest = text.str.slice(len(begin))
        current = text.str.starts_with(begin) & (rest.str.slice(0, 8) == digest)
        current &= ~rest.str.contains(" ", literal=True)  # lists no other version
        filled = fields.select(
            pl.all_horizontal(pl.col([one.name for one in self.properties]).is_not_null())
        ).to_series()
        nothing = digest.is_null() & old.is_null()
        return (nothing | (current & filled).fill_null(value=False)).all()

    @property
    def _facts(self) -> tuple[Property, ...]:
        """The properties that are read with any other one, to be compared."""
        return tuple(one for one in self.properties if one.needs in {"header", "source"})

    def _read_all(self, parts: pl.DataFrame, call: _Call) -> pl.Series:
        """Measure every row; an image that several rows name is read once."""
        images = Images(parts)
        table = self._measure(images, [PropertySet(self.properties)] * len(images), call)
        digest = marker.digests(images.distinct)
        return images.spread(assemble(table, digest, self.properties, self.locator))

    def _merge(
        self, rows: Rows, plan: Plan, fresh: pl.DataFrame, unknown: pl.DataFrame, same: pl.Series
    ) -> pl.Series:
        return merge(
            rows,
            plan,
            fresh,
            properties=self.properties,
            locator=self.locator,
            unknown=unknown,
            same=same,
        )

    def _read(self, parts: pl.DataFrame, plan: Plan, call: _Call) -> pl.DataFrame:
        """Measure what rows need; an image that several rows name is read once."""
        read = plan.read
        images = Images(parts.filter(read))
        needed = plan.needs.filter(read).group_by(images.numbers).agg(pl.all().any())
        combinations = needed.sort(images.numbers.name).drop(images.numbers.name).rows()
        wanted = {
            need: PropertySet(dict.fromkeys((*compress(self.properties, need), *self._facts)))
            for need in set(combinations)
        }
        table = self._measure(images, [wanted[need] for need in combinations], call)
        places = pl.Series(dtype=pl.UInt32).extend_constant(None, len(read))
        return table.select(pl.all().gather(places.scatter(read.arg_true(), images.numbers)))

    def _measure(self, images: Images, wanted: Sequence[PropertySet], call: _Call) -> pl.DataFrame:
        """Return what was found for each image, now or in another batch of the run."""
        if call.run is None or images.paths is None or not wanted:
            return self._measure_now(images, wanted, call)
        needs = list(dict.fromkeys(wanted))
        if len(needs) == 1:
            return self._measure_once(images, images.paths, needs[0], call.run, call)
        groups = [[n for n, one in enumerate(wanted) if one is need] for need in needs]
        tables = []
        for numbers, need in zip(groups, needs, strict=True):
            paths = [images.paths[number] for number in numbers]
            tables.append(self._measure_once(Images.of(paths), paths, need, call.run, call))
        order = pl.Series([*chain(*groups)], dtype=pl.UInt32).arg_sort()
        return pl.concat(tables).select(pl.all().gather(order))

    def _measure_once(
        self, images: Images, paths: Sequence[str], need: PropertySet, run: Run, call: _Call
    ) -> pl.DataFrame:
        """Return what was found for each image, which no other batch of the run reads again."""
        share, known = run.claim(need.names, paths, self.reading.storage.access)
        mine = share.paths
        try:
            if known:
                images = Images.of(mine)
            share.table = table = self._measure_now(images, [need] * len(mine), call)
        finally:
            share.finish()
        if not known:
            return table
        tables = [table]
        for other, numbers in known.items():
            found = other.rows([*numbers.values()])
            if found is None:
                found = self._measure_now(Images.of(numbers), [need] * len(numbers), call)
            tables.append(found)
        place = {path: row for row, path in enumerate(chain(mine, *known.values()))}
        return pl.concat(tables).select(pl.all().gather([place[path] for path in paths]))

    def _measure_now(
        self, images: Images, wanted: Sequence[PropertySet], call: _Call
    ) -> pl.DataFrame:
        """Return what was found for each image, as far as it is wanted."""
        reading, observer = self.reading, call.observer
        findings = Findings(self.properties, wanted)
        raises = reading.on_error == "raise"
        started = last = time.monotonic()
        nested = is_any_computing()
        if observer:
            observer.begin(len(images))
        try:
            for results in scheduler.run(
                partial(measure_all, reading=reading),
                Requests(images, wanted),
                prefetcher=ImagePrefetcher.of(reading, images.remote),
                stop=_failed if raises else None,
                owner=call.run,
            ):
                findings.add(results)
                if results:
                    last = time.monotonic()
                elif nested and time.monotonic() > last + _PATIENCE_SECONDS:
                    require_progress(thread_count())
                if observer:
                    observer.advance(len(results), findings.new_failures)
                    findings.new_failures.clear()
        finally:
            call.seconds += time.monotonic() - started
            if observer:
                observer.end()
        if raises and findings.failure is not None:
            number, error = findings.failure
            raise locate(error, images[number])
        return findings.table()


def _condition(values: pl.Series, rows: int) -> pl.Series:
    """Return a condition as long as the batch.

    Raises:
        ColumnError: If it is none.
    """
    if values.dtype not in {pl.Boolean, pl.Null} or len(values) not in {1, rows}:
        msg = (
            "`where` must be a Boolean expression with a value for each row, got"
            f" {len(values)} of dtype {values.dtype} for {rows} rows"
        )
        raise ColumnError(msg)
    values = values.cast(pl.Boolean).fill_null(value=False)
    return values if len(values) == rows else values.new_from_index(0, rows)


def _replace(fresh: pl.DataFrame, other: pl.DataFrame, where: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([other[name].zip_with(where, fresh[name]) for name in fresh.columns])


def _failed(measurement: Measurement) -> bool:
    return measurement.error is not None
