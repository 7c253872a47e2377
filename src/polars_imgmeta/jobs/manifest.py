"""The record of a job: what was asked for, and which parts of its output are done.

It is kept in the output itself, so that the two cannot be separated: as the metadata of a
Parquet file without rows, beside the parts. So any reader can scan the folder as one table,
and one whose job found no rows has a schema too.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import polars as pl

from polars_imgmeta.analysis.summaries import Summary, summarise
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, JobError, PropertyError

FILE: Final = "_imgmeta.parquet"
"""The name of the record in a folder of parts."""

KEY: Final = "imgmeta.job"
"""The key in the metadata of Parquet files: of the record all of it, of a part the job."""

_FORMAT: Final = 1
_PART: Final = "part-{:05}.parquet"
FIRST_PART: Final = _PART.format(0)


@dataclass(slots=True)
class Part:
    """A part that is done.

    Attributes:
        rows: The number of its rows.
        failures: The number of failed rows by the kind of the error.
        properties: The version of each property that its rows have.
    """

    rows: int
    failures: dict[str, int]
    properties: dict[str, int]

    @classmethod
    def of(cls, frame: pl.DataFrame, column: str, properties: dict[str, int]) -> Part:
        """Describe a part that holds a frame."""
        failures = count_failures(frame[column]) if column in frame.columns else {}
        return cls(len(frame), failures, properties)

    @property
    def failed(self) -> int:
        """The number of failed rows."""
        return sum(self.failures.values())


@dataclass(slots=True)
class Manifest:
    """The record of a job.

    Attributes:
        locator: The column that locates the images.
        column: The struct column.
        source: The names and dtypes of the columns that come from the source.
        job: The identity of the job, by which its parts are distinguished from those of others.
        parts: The parts that are done, by the names of their files.
        summary: What the last run that ended has said.
        owner: Who is writing, and when this was last said; None where the run has ended.
    """

    locator: str
    column: str
    source: dict[str, str]
    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    parts: dict[str, Part] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    owner: dict[str, Any] | None = None

    @classmethod
    def of(cls, schema: pl.Schema, locator: str, column: str) -> Manifest:
        """Begin the record of a job whose source has this schema."""
        source = {name: str(dtype) for name, dtype in schema.items() if name != column}
        return cls(locator, column, source)

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Manifest | None:
        """Take the record from the metadata of a file; None where there is none.

        Raises:
            JobError: If a later release has written it.
        """
        if (text := metadata.get(KEY)) is None:
            return None
        record = json.loads(text)
        if record.pop("format", None) != _FORMAT:
            msg = (
                "the output was written by a later release of polars-imgmeta, whose record this"
                " one cannot read\n\nHint: upgrade, or choose another output"
            )
            raise JobError(msg)
        record["parts"] = {name: Part(**part) for name, part in record["parts"].items()}
        return cls(**record)

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the file that holds the record."""
        return {KEY: json.dumps({"format": _FORMAT, **asdict(self)})}

    def part_metadata(self, rows: pl.DataFrame) -> dict[str, str]:
        """Return the metadata of a part of this job: which job, and a summary of its rows."""
        summary: dict[str, str] = {}
        with suppress(ColumnError):  # no property is a number
            summary = summarise(rows, column=self.column).metadata
        return {f"{KEY}.id": self.job, **summary}

    def whole_metadata(self, parts: Iterable[str], **options: Any) -> dict[str, str]:  # noqa: ANN401 - Polars' own
        """Return the metadata of a file that all parts are made into."""
        summary: dict[str, str] = {}
        with suppress(PropertyError):  # a part without numbers has none
            summary = Summary.from_parquet(parts, **options).metadata
        return {**self.metadata(), f"{KEY}.id": self.job, **summary}

    def next_part(self) -> str:
        """Return the name of the part that comes next."""
        numbers = [int(name[5:-8]) for name in self.parts]
        return _PART.format(max(numbers, default=-1) + 1)

    def require_same(self, other: Manifest) -> None:
        """Check that another job would write the same table.

        Raises:
            JobError: If not.
        """
        for what in ("locator", "column", "source"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                msg = (
                    f"the output was made with another {_WORDS[what]}:\n  then: {_shown(ours)}\n"
                    f"  now:  {_shown(theirs)}\n\nHint: choose another output, or replace this"
                    " one by `overwrite=True` (on the command line `--overwrite`)"
                )
                raise JobError(msg)


_WORDS: Final = {"locator": "locator column", "column": "name of the column", "source": "source"}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({dtype})" for name, dtype in value.items())
    return repr(value)


def is_part(name: str) -> bool:
    """Return whether a file has the name of a part."""
    return name.startswith("part-") and name.endswith(".parquet") and name[5:-8].isdigit()


def count_failures(struct: pl.Series) -> dict[str, int]:
    """Count the failed rows of a struct column by the kind of the error, most frequent first."""
    error = struct.struct.field(structs.ERROR).cast(pl.String)
    kinds = error.str.extract("^([a-z_]+)", 1).drop_nulls().alias("kind")
    return dict(kinds.value_counts(sort=True).iter_rows())
