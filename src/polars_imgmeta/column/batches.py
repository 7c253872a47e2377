"""The rows of a lazy frame in batches by their cost, whatever batches Polars would make.

Polars hands a function what its readers read at once, up to 100,000 rows. It has no operation
that divides such batches, but takes those of a source in Python as they are. So the plan of a
lazy frame becomes such a source: filters, columns and limits that Polars pushes down to the
source go on into the plan.

A source in Python cannot be distributed, and its rows are not those of the plan's own scans any
more. So only in the process that made the plan it is divided; elsewhere it is as it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from polars.io.plugins import register_io_source

from polars_imgmeta.column import deduplication, runs, structs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.column.runs import Run
from polars_imgmeta.execution.interrupts import present
from polars_imgmeta.execution.progress import Observing
from polars_imgmeta.execution.watching import Watch

_PROCESS: Final = uuid.uuid4().hex
# What `explain` says of a table beside its name.
_NO_CHANGE: Final = ("PROJECT", "ESTIMATED")


def divided(
    frame: pl.LazyFrame, plan: str, locator: str, concurrency: int, observing: Observing
) -> pl.LazyFrame:
    """Let what follows have the rows of a lazy frame in batches by their cost.

    Args:
        frame: The lazy frame.
        plan: The name of the plan, whose extraction records what its batches cost.
        locator: The column that locates the images.
        concurrency: How many remote images are fetched at once.
        observing: Makes the observer of a run.
    """
    # `LazyFrame.pipe_with_schema` wraps its function such that only cloudpickle pickles it.
    division = _Division(plan, locator, concurrency, observing)
    return frame._from_pyldf(frame._ldf.pipe_with_schema(division))  # noqa: SLF001 - see above


@dataclass(eq=False)
class _Division:
    """What Polars calls when it plans a run, to get the plan that it goes on with."""

    plan: str
    locator: str
    concurrency: int
    observing: Observing | None
    process: str = _PROCESS
    _scan: pl.LazyFrame | None = None

    def __call__(self, given: tuple[Any, Any]) -> Any:  # noqa: ANN401 - Polars' own
        (plan,), (schema,) = given
        if self.process != _PROCESS:
            return plan
        if self._scan is None:  # one for all places of a plan that is being planned
            source = _Batches(pl.LazyFrame._from_pyldf(plan), self)  # noqa: SLF001 - see above
            self._scan = register_io_source(source, schema=schema, is_pure=True)
        return self._scan._ldf  # noqa: SLF001 - see above

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scan": None}

    def forget(self) -> None:
        """Make the next run one of its own."""
        self._scan = None

    def fewest_rows(self, batch: pl.DataFrame) -> int:
        """Return how many rows there must be for remote images to be fetched at once."""
        if self.locator not in batch.columns:
            return len(batch)  # nothing is read
        first = Images(deduplication.parts_of(batch[self.locator].head(1)))
        return self.concurrency if first.remote else 1


class _Life:
    """Lives as long as rows of a run are to come, or the run lasts."""


@dataclass(eq=False)
class _Batches:
    """The source of the rows of one run, which lives until the run returns; Polars calls it.

    After an early `head` or an error, its batches may be in progress for a little longer.
    """

    frame: pl.LazyFrame
    division: _Division
    life: _Life = field(default_factory=_Life)

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        self.division.forget()
        frame = self.frame
        if predicate is not None:
            frame = frame.filter(predicate)
        if with_columns is not None:
            frame = frame.select(structs.column(name) for name in with_columns)
        if n_rows is not None:
            frame = frame.head(n_rows)
        run = runs.begin(self.division.plan, self.life)
        if batch_size is None:  # the in-memory engine, which goes on when it has all rows
            return iter([frame.collect().rechunk()])
        if run.watch is None:
            observing = self.division.observing
            announcer = observing.announcer() if observing else None
            is_known = announcer is not None and predicate is None
            total = _count(self.frame, n_rows) if is_known else None
            run.watch = Watch(announcer, self, total)
        run.watch.begin_source()
        return _divide(frame, self.division, run, run.watch, self.life)


def _divide(
    frame: pl.LazyFrame, division: _Division, run: Run, watch: Watch, life: _Life
) -> Iterator[pl.DataFrame]:
    """Yield the rows in batches by their cost."""
    for read in frame.collect_batches():
        fewest, rest = division.fewest_rows(read), read
        while len(rest):
            batch = rest.head(max(run.pace.rows(rest), fewest))
            watch.hand(len(batch))
            yield batch
            rest = rest.slice(len(batch))
            if fewest < len(read):
                with present():
                    run.pace.wait()
    watch.end_source()
    del life


def _count(frame: pl.LazyFrame, most: int | None) -> int | None:
    """Return how many rows a frame has, if that is written somewhere and need not be computed."""
    plan = frame.explain(optimized=False)
    is_local_table = plan.startswith(("DF [", "Parquet SCAN [")) and "://" not in plan
    if not is_local_table or any(not line.startswith(_NO_CHANGE) for line in plan.splitlines()[1:]):
        return None
    rows: int = frame.select(pl.len()).collect().item()
    return rows if most is None else min(rows, most)
