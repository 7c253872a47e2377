"""`imgmeta issues` and `compare`: which images are bad, and what has changed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import polars as pl

from polars_imgmeta.analysis.drift import compare
from polars_imgmeta.analysis.issues import flag_issues, issues
from polars_imgmeta.analysis.published_rules import RULE_SETS
from polars_imgmeta.cli import printing
from polars_imgmeta.cli.extract import scan_output
from polars_imgmeta.cli.options import add_table, limit, too_many

_SHOWN = 20
_FLAGS = "\0issues"


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
    judged.set_defaults(run=_issues)
    compared = commands.add_parser("compare", help="say what has changed between two tables")
    add_table(compared)
    compared.add_argument("other", help="the table to compare with")
    compared.add_argument(
        "--fail", action="store_true", help="exit with status 1 if a property has shifted"
    )
    compared.set_defaults(run=_compare)
    for parser in (judged, compared):
        parser.add_argument("--format", choices=("text", "csv", "ndjson"), default="text")
        parser.set_defaults(max_pixels=None, progress=False, sandbox=False)


def _issues(options: argparse.Namespace) -> int:
    table = scan_output(options.table, options)
    found = issues(table, options.rules, column=options.into, locator=options.column).collect()
    flagged = flag_issues(table, options.rules, into=_FLAGS, column=options.into)
    is_issue = pl.any_horizontal(pl.col(_FLAGS).struct.field("*"))
    rows, images = flagged.select(rows=pl.len(), images=is_issue.sum()).collect().row(0)
    if options.format != "text":
        _write(found, options.format)
    elif found.is_empty():
        print(f"No issue in {printing.count(rows, 'image')}.")
    else:
        counts = found.group_by("rule").len().sort("len", "rule", descending=[True, False])
        listing = printing.listing(dict(counts.iter_rows()))
        print(f"{images:,} of {printing.count(rows, 'image')} with issues: {listing}")
        shown = found.head(_SHOWN).select("locator", "rule", "severity", "value", "threshold")
        printing.print_frame(shown.with_columns(pl.col(pl.Float64).round_sig_figs(4)), sys.stdout)
        if len(found) > _SHOWN:
            print(f"and {len(found) - _SHOWN:,} more: `--format csv` lists all, with reasons")
    return int(options.max_issues is not None and too_many(images, rows, options.max_issues))


def _compare(options: argparse.Namespace) -> int:
    tables = [scan_output(table, options) for table in (options.table, options.other)]
    found = compare(*tables, column=options.into, locator=options.column)
    shifted = found.filter(verdict="shifted")
    if options.format != "text":
        _write(found.with_columns(pl.col("images").list.join(" ")), options.format)
    else:
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


def _write(frame: pl.DataFrame, form: str) -> None:
    text = frame.write_csv() if form == "csv" else frame.write_ndjson()
    sys.stdout.write(text)
