"""What the command prints: tables that fit the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import TextIO

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ImgmetaError
from polars_imgmeta.io.redaction import redact
from polars_imgmeta.verbs import inspection

_SHOWN_ERRORS = 10


def print_frame(frame: pl.DataFrame, stream: TextIO, columns: int | None = None) -> None:
    """Print a frame that is as wide as the terminal at most.

    Args:
        frame: The frame.
        stream: Where to.
        columns: How many columns to show at most; as many as have room unless given.
    """
    ascii_only = not (stream.encoding or "").lower().startswith("utf")
    width = shutil.get_terminal_size().columns
    with pl.Config(
        tbl_formatting="ASCII_FULL_CONDENSED" if ascii_only else "UTF8_FULL_CONDENSED",
        tbl_cols=columns or max(2, width // 14),
        tbl_rows=len(frame),
        tbl_width_chars=width,
        fmt_str_lengths=max(20, width // 2),
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        print(frame, file=stream)


def print_summary(table: pl.LazyFrame, column: str | None, stream: TextIO) -> None:
    """Print the minimum, median and maximum of each property, and the number of values."""
    existing = structs.choose(table.collect_schema(), column)
    numeric = [name for name, dtype in existing.dtypes.items() if dtype.is_numeric()]
    statistics = {
        "minimum": pl.Expr.min,
        "median": pl.Expr.median,
        "maximum": pl.Expr.max,
        "values": pl.Expr.count,
    }
    if not numeric:
        return
    found = table.select(
        statistic(existing.field(name)).cast(pl.Float64).alias(f"{title}:{name}")
        for name in numeric
        for title, statistic in statistics.items()
    ).collect()
    lines = {
        "property": numeric,
        **{
            title: [_short(found[f"{title}:{name}"][0]) for name in numeric] for title in statistics
        },
    }
    print_frame(pl.DataFrame(lines), stream, len(lines))


def print_errors(table: pl.LazyFrame, column: str | None, stream: TextIO) -> None:
    """Print the first failures, and how many there are of each kind."""
    failed = inspection.errors(table, column).collect()
    if failed.is_empty():
        return
    print(f"Failed: {listing(count_kinds(failed))}", file=stream)
    for locator, kind, message in failed.head(_SHOWN_ERRORS).iter_rows():
        shown = redact(locator) if isinstance(locator, str) else "an image in the table"
        print(f"  {shown}: {kind}: {message}", file=stream)
    if len(failed) > _SHOWN_ERRORS:
        print(f"  and {len(failed) - _SHOWN_ERRORS:,} more", file=stream)


def count_kinds(failed: pl.DataFrame) -> dict[str, int]:
    """Count failures by kind, most frequent first."""
    return dict(failed["kind"].cast(pl.String).value_counts(sort=True).iter_rows())


def listing(counts: Mapping[str, int]) -> str:
    """Spell out counts."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def count(number: int, what: str) -> str:
    """Return `1 image` or so."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def write_text(frame: pl.DataFrame, form: str, column: str | None) -> None:
    """Write a frame to the standard output.

    Raises:
        ImgmetaError: If Arrow data would go to a terminal.
    """
    if form == "csv":
        sys.stdout.buffer.write(inspection.unnest(frame, column).write_csv().encode())
    elif form == "ndjson":
        sys.stdout.buffer.write(inspection.unnest(frame, column).write_ndjson().encode())
    else:
        if sys.stdout.isatty():
            msg = "Arrow data is not for a terminal; redirect it into a file"
            raise ImgmetaError(msg)
        frame.write_ipc_stream(sys.stdout.buffer)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.3f}"
