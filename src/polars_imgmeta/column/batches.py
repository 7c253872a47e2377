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
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from polars.io.plugins import register_io_source

from polars_imgmeta.column import deduplication, runs, structs
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.column.runs import Run
from polars_imgmeta.execution.interrupts import present

_PROCESS: Final = uuid.uuid4().hex


def divided(frame: pl.LazyFrame, plan: str, locator: str, concurrency: int) -> pl.LazyFrame:
    """Let what follows have the rows of a lazy frame in batches by their cost.

    Args:
        frame: The lazy frame.
        plan: The name of the plan, whose extraction tells what its batches cost.
        locator: The column that locates the images.
        concurrency: How many remote images are fetched at once.
    """
    # `LazyFrame.pipe_with_schema` wraps its function such that only cloudpickle pickles it.
    division = _Division(plan, locator, concurrency)
    return frame._from_pyldf(frame._ldf.pipe_with_schema(division))  # noqa: SLF001 - see above


@dataclass(eq=False)
class _Division:
    """What Polars calls when it plans a run, to get the plan that it goes on with."""

    plan: str
    locator: str
    concurrency: int
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


@dataclass(eq=False)
class _Batches:
    """The source of the rows of one run, which lives as long as the run; Polars calls it."""

    frame: pl.LazyFrame
    division: _Division

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
        run = runs.begin(self.division.plan, self)
        if batch_size is None:  # the in-memory engine, which goes on when it has all rows
            return iter([frame.collect().rechunk()])
        return self._divide(frame, run)

    def _divide(self, frame: pl.LazyFrame, run: Run) -> Iterator[pl.DataFrame]:
        for read in frame.collect_batches():
            fewest, rest = self.division.fewest_rows(read), read
            while len(rest):
                rows = max(run.pace.rows(rest), fewest)
                yield rest.head(rows)
                rest = rest.slice(rows)
                if fewest < len(read):
                    with present():
                        run.pace.wait()
