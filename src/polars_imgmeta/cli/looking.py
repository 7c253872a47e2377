"""`imgmeta status`, `errors`, `show` and `report`: looks at a table, without a change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import polars as pl

from polars_imgmeta.cli import printing
from polars_imgmeta.cli.extract import require_writable, scan_output
from polars_imgmeta.cli.options import add_table, positive, storage_of
from polars_imgmeta.display.report import writing
from polars_imgmeta.io.remote import make_storage
from polars_imgmeta.jobs.outputs import is_file, open_folder, read_manifest
from polars_imgmeta.jobs.ownership import is_alive
from polars_imgmeta.verbs import inspection


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommands."""
    status = commands.add_parser("status", help="say which rows are ok, failed, missing or stale")
    add_table(status)
    status.add_argument(
        "--check-sources", action="store_true", help="ask whether images have changed or are gone"
    )
    status.set_defaults(run=_status)
    errors = commands.add_parser("errors", help="list the images that could not be read, and why")
    add_table(errors)
    errors.add_argument("--format", choices=("text", "csv", "ndjson"), default="text")
    errors.set_defaults(run=_errors)
    show = commands.add_parser("show", help="print rows, those with extreme values first")
    add_table(show)
    show.add_argument("--sort", metavar="NAME", help="the property to sort by, ascending")
    show.add_argument("--descending", action="store_true", help="sort the other way")
    show.add_argument("--rows", type=positive, default=10, metavar="N", help="how many rows (10)")
    show.set_defaults(run=_show)
    report = commands.add_parser("report", help="write a page with pictures and properties")
    add_table(report)
    report.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the page, .html"
    )
    report.add_argument(
        "--metric",
        metavar="NAME",
        help="a column of true and false, or of numbers, to evaluate in test cases",
    )
    report.set_defaults(run=_report)
    for parser in (status, errors, show, report):
        parser.set_defaults(max_pixels=None, progress=False, sandbox=False)


def _status(options: argparse.Namespace) -> int:
    table = scan_output(options.table, options)
    states = inspection.status(
        table,
        options.into,
        locator=options.column,
        check_sources=options.check_sources,
        storage_options=storage_of(options),
    )
    counted = states.group_by("state").len("rows").sort("rows", descending=True).collect()
    record = _record(options)
    if record is not None:
        parts = printing.count(len(record.parts), "part")
        print(f"{parts}, made from the column {record.locator!r}")
        if record.owner:
            alive = "is writing" if is_alive(record.owner) else "was killed while it was writing"
            print(f"process {record.owner['pid']} on {record.owner['host']} {alive}")
    printing.print_frame(
        counted.with_columns(pl.col("state").cast(pl.String).fill_null("no locator")), sys.stdout
    )
    printing.print_errors(table, options.into, sys.stdout)
    return 0


def _record(options: argparse.Namespace) -> Any:  # noqa: ANN401 - a record or None
    storage = storage_of(options)
    if is_file(options.table):
        return read_manifest(options.table, storage)
    return open_folder(options.table, make_storage(storage, None)).read()


def _errors(options: argparse.Namespace) -> int:
    table = scan_output(options.table, options)
    failed = inspection.errors(table, options.into, locator=options.column).collect()
    if options.format == "csv":
        sys.stdout.write(failed.write_csv())
    elif options.format == "ndjson":
        sys.stdout.write(failed.write_ndjson())
    else:
        for locator, kind, message in failed.iter_rows():
            print(f"{locator}: {kind}: {message}")
    return 0


def _show(options: argparse.Namespace) -> int:
    table = scan_output(options.table, options)
    flat = inspection.unnest(table, options.into)
    if options.sort:
        flat = flat.sort(options.sort, descending=options.descending, nulls_last=True)
    printing.print_frame(flat.head(options.rows).collect(), sys.stdout)
    return 0


def _report(options: argparse.Namespace) -> int:
    require_writable("--output", options.output, (".html", ".htm"))
    writing.writable_page(options.output)
    frame = scan_output(options.table, options).collect()
    title = f"Images of {options.table}"
    written = writing.report(
        frame, options.output, column=options.into, title=title, metric=options.metric
    )
    print(f"Wrote {written}.")
    return 0
