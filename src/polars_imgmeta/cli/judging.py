"""`imgmeta issues`, `duplicates`, `compare` and `cases`: what is bad, the same, changed, weak."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from polars_imgmeta.analysis.cases import test_cases
from polars_imgmeta.analysis.drift import compare
from polars_imgmeta.analysis.duplicates import duplicates
from polars_imgmeta.analysis.evaluation import (
    HIGHER,
    LIKE_REST,
    LOWER,
    TOO_SMALL,
    evaluate_cases,
    find_metric,
)
from polars_imgmeta.analysis.issues import flag_issues, issues
from polars_imgmeta.analysis.naming import names_of_images
from polars_imgmeta.analysis.published_rules import RULE_SETS
from polars_imgmeta.cli import printing
from polars_imgmeta.cli.extract import require_replaceable, scan_output
from polars_imgmeta.cli.options import (
    add_reading,
    add_table,
    limit,
    positive,
    reading_of,
    too_many,
)
from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import find_quantity
from polars_imgmeta.exceptions import NotFoundError
from polars_imgmeta.io.remote import make_storage
from polars_imgmeta.io.replacement import replacing
from polars_imgmeta.jobs import sources
from polars_imgmeta.verbs import extraction

_SHOWN = 20
# Names that no column of the table has.
_FLAGS, _FOUND, _NAME, _CASE = "\0issues", "\0duplicate", "\0name", "\0case"
_WRITERS: Final[dict[str, Callable[[pl.DataFrame, Path], object]]] = {
    ".csv": pl.DataFrame.write_csv,
    ".ndjson": pl.DataFrame.write_ndjson,
    ".jsonl": pl.DataFrame.write_ndjson,
    ".arrow": pl.DataFrame.write_ipc,
    ".parquet": pl.DataFrame.write_parquet,
}
_COMPARED: Final = ("identity", "size", "sharpness")


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommands."""
    judged = commands.add_parser("issues", help="list the images that break a rule, worst first")
    add_table(judged)
    judged.add_argument("--rules", choices=tuple(RULE_SETS), help="a rule set (those that apply)")
    judged.add_argument(
        "--max-issues",
        type=limit,
        metavar="N|P%",
        help="exit with status 1 if more images than this have an issue",
    )
    judged.set_defaults(run=_issues, max_pixels=None, progress=False, sandbox=False)
    repeated = commands.add_parser(
        "duplicates",
        help="list the images that are the same or look the same, in groups",
        description="List the images that are the same or look the same, in groups, and say which"
        " one of each to keep. A folder of images is read first.",
    )
    add_table(repeated)
    repeated.add_argument(
        "--distance",
        type=_distance,
        default=4,
        metavar="BITS",
        help="the most bits in which the hashes of images that look the same differ, 0 to 31;"
        " `exact` for exact copies only (%(default)s)",
    )
    repeated.add_argument(
        "--across", metavar="NAME", help="only images that differ in this column, such as a split"
    )
    repeated.add_argument("--against", metavar="TABLE", help="images that were there before")
    repeated.add_argument(
        "--max-copies",
        type=limit,
        metavar="N|P%",
        help="exit with status 1 if more images than this are copies",
    )
    add_reading(repeated)
    repeated.set_defaults(run=_duplicates)
    compared = commands.add_parser("compare", help="say what has changed between two tables")
    add_table(compared)
    compared.add_argument("other", help="the table to compare with")
    compared.add_argument(
        "--fail", action="store_true", help="exit with status 1 if a property has shifted"
    )
    compared.set_defaults(run=_compare, max_pixels=None, progress=False, sandbox=False)
    cut = commands.add_parser(
        "cases",
        help="say how a metric differs between test cases",
        description="Cut a table into test cases by ranges of properties, and say in which a metric"
        " differs from that of the others.",
    )
    add_table(cut)
    cut.add_argument(
        "--by",
        action="extend",
        type=lambda text: text.split(","),
        required=True,
        metavar="NAME,...",
        help="properties or numeric columns, which combine; or one column of words",
    )
    cut.add_argument(
        "--metric", required=True, metavar="NAME", help="a column of true and false, or of numbers"
    )
    cut.add_argument(
        "--bins",
        type=edges,
        metavar="EDGE,...",
        help="the edges between cases, ascending (by default quarters)",
    )
    cut.add_argument(
        "--minimum",
        type=positive,
        default=30,
        metavar="N",
        help="the fewest images with which a case is judged (%(default)s)",
    )
    cut.set_defaults(run=_cases, max_pixels=None, progress=False, sandbox=False)
    for parser in (judged, repeated, compared, cut):
        parser.add_argument("--format", choices=("text", "csv", "ndjson"), default="text")
        parser.add_argument(
            "-o",
            "--output",
            type=Path,
            metavar="FILE",
            help=f"write all rows to a file {', '.join(_WRITERS)}",
        )
        parser.add_argument("--overwrite", action="store_true", help="replace the file of `-o`")


def _issues(options: argparse.Namespace) -> int:
    _require_output(options)
    table = scan_output(options.table, options)
    found = issues(table, options.rules, column=options.into, locator=options.column).collect()
    flagged = flag_issues(table, options.rules, into=_FLAGS, column=options.into)
    is_issue = pl.any_horizontal(pl.col(_FLAGS).struct.field("*"))
    rows, images = flagged.select(rows=pl.len(), images=is_issue.sum()).collect().row(0)
    if not _written(found, options):
        _print_issues(found, images, rows)
    return int(options.max_issues is not None and too_many(images, rows, options.max_issues))


def _print_issues(found: pl.DataFrame, images: int, rows: int) -> None:
    if found.is_empty():
        print(f"No issue in {printing.count(rows, 'image')}.")
        return
    counts = found.group_by("rule").len().sort("len", "rule", descending=[True, False])
    listing = printing.listing(dict(counts.iter_rows()))
    print(f"{images:,} of {printing.count(rows, 'image')} with issues: {listing}")
    shown = found.head(_SHOWN).select("locator", "rule", "severity", "value", "threshold")
    printing.print_frame(shown.with_columns(pl.col(pl.Float64).round_sig_figs(4)), sys.stdout)
    _tell_of_more(len(found), "all, with reasons")


def _duplicates(options: argparse.Namespace) -> int:
    _require_output(options)
    table = _identified(options.table, options)
    found = duplicates(
        table,
        options.distance,
        against=_identified(options.against, options) if options.against else None,
        across=options.across,
        into=_FOUND,
        column=options.into,
        locator=options.column,
    )
    name = names_of_images(table, options.into, options.column).alias(_NAME)
    sides = [options.across] if options.across else []
    flat = found.select(name, *sides, _FOUND).collect(engine="streaming").unnest(_FOUND)
    rows, copies = len(flat), flat.select((~pl.col("keep")).sum()).item()
    # The largest groups first, and in each what is kept before its copies.
    order = ["images", "group", "keep", "distance", _NAME]
    grouped = flat.filter(pl.col("images") > 1).sort(
        order, descending=[True, False, True, False, False]
    )
    listed = grouped.select(
        "group", pl.col(_NAME).alias("locator"), *sides, "keep", "reason", "distance", "copy_of"
    )
    if not _written(listed, options):
        _print_duplicates(listed, copies, rows)
    return int(options.max_copies is not None and too_many(copies, rows, options.max_copies))


def _print_duplicates(listed: pl.DataFrame, copies: int, rows: int) -> None:
    if listed.is_empty():
        print(f"No image is like another of {printing.count(rows, 'image')}.")
        return
    groups = printing.count(listed["group"].n_unique(), "group")
    reasons = listed["reason"].drop_nulls().value_counts(sort=True)
    print(
        f"{groups} of images that match among {printing.count(rows, 'image')};"
        f" {copies:,} can go: {printing.listing(dict(reasons.iter_rows()))}"
    )
    shown = listed.head(_SHOWN).drop("copy_of")
    printing.print_frame(shown, sys.stdout, shown.width)
    _tell_of_more(len(listed), "all, with what each is a copy of")


def _identified(where: str, options: argparse.Namespace) -> pl.LazyFrame:
    """Return a table, or the images of a folder with all by which they are compared."""
    reading = reading_of(options)
    storage = make_storage(reading.get("storage_options"), None)
    if (table := sources.scan_table(where, storage)) is not None:
        return table
    opened = sources.open_source(where, None, storage)
    if not opened.rows:
        msg = f"no images in {where}: only files with the suffix of an image are read"
        raise NotFoundError(msg)
    frame = opened.frame.collect()
    return extraction.extract(frame, opened.locator, _COMPARED, into=options.into, **reading).lazy()


def _distance(text: str) -> int | None:
    return None if text == "exact" else int(text)


def _compare(options: argparse.Namespace) -> int:
    _require_output(options)
    tables = [scan_output(table, options) for table in (options.table, options.other)]
    found = compare(*tables, column=options.into, locator=options.column)
    shifted = found.filter(verdict="shifted")
    if not _written(found.with_columns(pl.col("images").list.join(" ")), options):
        columns = ("property", "verdict", "ks", "p", "wasserstein", "unit", "psi", "psi_by_chance")
        shown = found.select(columns).with_columns(pl.col(pl.Float64).round_sig_figs(3))
        printing.print_frame(shown, sys.stdout)
        for row in shifted.iter_rows(named=True):
            start = "up to" if row["start"] is None else f"{row['start']:.4g} to"
            print(
                f"{row['property']} {start} {row['end']:.4g}: {row['share_a']:.1%} of"
                f" {options.table}, {row['share_b']:.1%} of {options.other},"
                f" such as {', '.join(row['images'][:3])}"
            )
    return int(options.fail and not shifted.is_empty())


def _cases(options: argparse.Namespace) -> int:
    _require_output(options)
    table = scan_output(options.table, options)
    schema = table.collect_schema()
    column = options.into
    find_metric(schema, options.metric, column)  # before anything is collected
    by = [find_quantity(schema, name, column, argument="--by") for name in options.by]
    needed = {options.metric, *options.by, *structs.find(schema)}
    frame = table.select(structs.column(name) for name in schema if name in needed).collect()
    if len(by) == 1 and by[0].kind == "word" and options.bins is None:
        frame = frame.with_columns(by[0].values.alias(_CASE))
    else:
        frame = test_cases(frame, options.by, options.bins, into=_CASE, column=column)
    found = evaluate_cases(frame, options.metric, _CASE, minimum=options.minimum, column=column)
    found = found.rename({_CASE: "case"})
    if not _written(found, options):
        _print_cases(found, options)
    return 0


def _print_cases(found: pl.DataFrame, options: argparse.Namespace) -> None:
    judged = found.filter(pl.col("verdict") != TOO_SMALL)
    differing = judged.filter(pl.col("verdict") != LIKE_REST)
    print(
        f"{options.metric} differs from the rest in {len(differing):,} of"
        f" {printing.count(len(judged), 'case')} with {options.minimum:,} images or more"
    )
    numbers = found.head(_SHOWN).with_columns(pl.col(pl.Float64).round_sig_figs(3))
    verdict = pl.col("verdict").cast(pl.String)
    by = pl.when(pl.col("verdict").is_in([LOWER, HIGHER])).then(
        pl.format(" by {}", pl.col("difference").abs())
    )
    shown = numbers.select(
        "case",
        "images",
        "value",
        pl.format("{} to {}", "low", "high").alias("interval"),
        pl.concat_str(verdict, by.fill_null("")).alias("against the rest"),
    )
    printing.print_frame(shown, sys.stdout, shown.width)
    _tell_of_more(len(found), "all, with the interval of the difference")


def edges(text: str) -> list[float]:
    """Return numbers that commas separate."""
    return [float(edge) for edge in text.split(",")]


def _require_output(options: argparse.Namespace) -> None:
    if options.output is not None:
        require_replaceable(options.output, tuple(_WRITERS), overwrite=options.overwrite)


def _written(frame: pl.DataFrame, options: argparse.Namespace) -> bool:
    """Write all rows where the options say; return whether nothing is left to print."""
    if options.output is not None:
        with replacing(options.output) as unfinished:
            _WRITERS[options.output.suffix.lower()](frame, unfinished)
    if options.format == "text":
        return False
    text = frame.write_csv() if options.format == "csv" else frame.write_ndjson()
    sys.stdout.write(text)
    return True


def _tell_of_more(rows: int, what: str) -> None:
    if rows > _SHOWN:
        print(f"and {rows - _SHOWN:,} more: `--format csv` lists {what}")
