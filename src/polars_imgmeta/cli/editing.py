"""`imgmeta add`, `remove`, `retry` and `refresh`: changes of a table that is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import polars as pl

from polars_imgmeta.cli import printing
from polars_imgmeta.cli.extract import scan_output
from polars_imgmeta.cli.options import (
    add_max_failed,
    add_properties,
    add_reading,
    add_table,
    reading_of,
    storage_of,
    too_many,
)
from polars_imgmeta.io.remote import make_storage
from polars_imgmeta.jobs.outputs import is_file
from polars_imgmeta.jobs.revision import revise
from polars_imgmeta.verbs import editing, inspection


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommands."""
    add = _command(commands, "add", "add properties to a table, and compute what it lacks", _add)
    add_properties(add)
    remove = _command(commands, "remove", "remove properties from a table", _remove)
    add_properties(remove)
    retry = _command(commands, "retry", "read images again that failed", _retry)
    retry.add_argument("--kinds", metavar="KIND,...", help="the kinds of errors (all)")
    refresh = _command(commands, "refresh", "read images again that have changed", _refresh)
    refresh.add_argument(
        "--ignore", metavar="NAME,...", help="what not to compare: file_size, modified, etag"
    )


def _command(
    commands: Any,  # noqa: ANN401 - as above
    name: str,
    words: str,
    change: Callable[[argparse.Namespace], Callable[[pl.DataFrame], pl.DataFrame]],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=f"{words[0].upper()}{words[1:]}."
    )
    add_table(parser)
    add_reading(parser)
    add_max_failed(parser)
    parser.set_defaults(run=_run, change=change)
    return parser


def _run(options: argparse.Namespace) -> int:
    storage = make_storage(storage_of(options), None)
    options.interrupted = [
        f"{options.table} is as it was"
        if is_file(options.table)
        else "the parts that were changed are kept, and the same command changes the others"
    ]
    rows = revise(options.table, options.change(options), storage, progress=options.progress)
    options.interrupted = [f"{options.table} is complete"]
    table = scan_output(options.table, options)
    print(f"{printing.count(rows, 'image')} in {options.table}")
    if not inspection.columns(table):
        return 0
    printing.print_summary(table, options.into, sys.stdout)
    printing.print_errors(table, options.into, sys.stdout)
    failed = inspection.errors(table, options.into).select(pl.len()).collect().item()
    return int(too_many(failed, rows, options.max_failed))


def _column(options: argparse.Namespace) -> dict[str, Any]:
    return {"column": options.into, "locator": options.column, **reading_of(options)}


def _add(options: argparse.Namespace) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: editing.add(frame, *options.properties, **_column(options))


def _remove(options: argparse.Namespace) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: editing.remove(frame, *options.properties, column=options.into)


def _retry(options: argparse.Namespace) -> Callable[[pl.DataFrame], pl.DataFrame]:
    kinds = editing.require_kinds(options.kinds.split(",")) if options.kinds else None
    return lambda frame: editing.retry(frame, kinds=kinds, **_column(options))  # type: ignore[arg-type] # checked


def _refresh(options: argparse.Namespace) -> Callable[[pl.DataFrame], pl.DataFrame]:
    ignored: Any = options.ignore.split(",") if options.ignore else ()
    return lambda frame: editing.refresh(frame, ignore=ignored, **_column(options))
