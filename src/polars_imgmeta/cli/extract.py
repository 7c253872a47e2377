"""`imgmeta extract`: images or tables in, a table with properties out."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.cli import printing
from polars_imgmeta.cli.options import (
    add_max_failed,
    add_properties,
    add_reading,
    add_storage,
    reading_of,
    too_many,
)
from polars_imgmeta.column import structs
from polars_imgmeta.display.report import writing
from polars_imgmeta.exceptions import ColumnError, ImgmetaError, NotFoundError
from polars_imgmeta.execution.progress import duration
from polars_imgmeta.io.locators import local_path, scheme_of, spell_path
from polars_imgmeta.io.remote import make_storage
from polars_imgmeta.jobs import runner, sources
from polars_imgmeta.jobs.outputs import is_file
from polars_imgmeta.typing import Frame
from polars_imgmeta.verbs import extraction, inspection

_STDIN = "-"
_TEXT = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".arrow": "arrow", "-": "csv"}


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommand."""
    parser = commands.add_parser(
        "extract",
        help="extract properties into a table; a second run goes on where the first one ended",
        description="Extract properties of images. With -o FOLDER or FILE.parquet this is a job:"
        " it can be stopped or killed at any moment, and the same command goes on from there.",
    )
    parser.add_argument(
        "source",
        nargs="+",
        help="folders, images, patterns, URLs, cloud prefixes; or with --column a Parquet, CSV,"
        " NDJSON or IPC file, a folder of them or a Delta table; `-` reads a list of locators from"
        " the standard input, one a line or separated by NUL",
    )
    parser.add_argument("--column", metavar="NAME", help="the column that locates the images")
    parser.add_argument("--into", metavar="NAME", help="the struct column (<column>_imgmeta)")
    add_properties(parser, default="standard")
    parser.add_argument(
        "-o",
        "--output",
        metavar="WHERE",
        help="a folder, a cloud prefix or a file .parquet; or a file .csv, .ndjson or .arrow, or"
        " `-` for the standard output, which are made at once and not resumed",
    )
    parser.add_argument(
        "--format", choices=("csv", "ndjson", "arrow"), help="what `-o -` writes (csv)"
    )
    parser.add_argument(
        "-r", "--report", type=Path, metavar="FILE", help="write a report of pictures to FILE.html"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--resume", action="store_true", help="go on where an earlier run ended (the default)"
    )
    how.add_argument("--overwrite", action="store_true", help="begin anew where the output exists")
    parser.add_argument(
        "--retry",
        nargs="?",
        const=True,
        default=False,
        metavar="KIND,...",
        help="read images again that failed, of all kinds of errors or of those named",
    )
    parser.add_argument(
        "--refresh", action="store_true", help="read images again that have changed"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say how much there is to do, from a sample"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_max_failed(parser)
    add_reading(parser)
    add_storage(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do it; return the exit status."""
    if options.report:
        require_writable("--report", options.report, (".html", ".htm"))
        writing.writable_page(options.report)
    output = options.output
    form = _form(output, options.format)
    if form and output != _STDIN:
        require_replaceable(Path(output), tuple(_TEXT), overwrite=options.overwrite)
    properties = options.properties or ["standard"]
    source = _source(options)
    if not isinstance(source, str):
        options.column = sources.PATH
    if options.dry_run:
        return _estimate(source, options, properties)
    if output is None or form:
        return _at_once(source, options, properties, form)
    again = "the same command without --overwrite" if options.overwrite else "the same command"
    options.interrupted = [f"what is done is kept, and {again} goes on from there"]
    retry: Any = options.retry.split(",") if isinstance(options.retry, str) else options.retry
    summary = runner.run(
        source,
        output,
        options.column,
        properties,
        into=options.into,
        retry=retry,
        refresh=options.refresh,
        overwrite=options.overwrite,
        **reading_of(options),
    )
    options.interrupted = [f"{output} is complete"]
    if not summary.rows:
        _require_some(options)
    table = scan_output(output, options)
    if options.json:
        print(summary.to_json())
    else:
        print(
            f"{printing.count(summary.rows, 'image')} in {output}: {summary.new:,} new,"
            f" {summary.changed:,} changed, {summary.failed:,} failed, in"
            f" {duration(summary.seconds)}."
        )
        _describe(table, options, sys.stdout)
    _report(table, options)
    return int(too_many(summary.failed, summary.rows, options.max_failed))


def scan_output(output: str, options: argparse.Namespace) -> pl.LazyFrame:
    """Scan a table that was made: one file, or a folder of parts."""
    storage = make_storage(reading_of(options).get("storage_options"), None)
    if not is_file(output) and scheme_of(output) is None:
        output = local_path(output)
    table = sources.scan_table(output, storage, partly_changed=True)
    if table is None:
        msg = f"no table is there: {output!r}"
        raise NotFoundError(msg)
    return table


def _at_once(
    source: Frame | str, options: argparse.Namespace, properties: list[str], form: str | None
) -> int:
    """Extract in memory, and write text or only a summary."""
    started = time.perf_counter()
    options.interrupted = ["nothing was written"]
    reading = reading_of(options)
    storage = make_storage(reading.get("storage_options"), None)
    opened = sources.open_source(source, options.column, storage)
    if form and form != "arrow":
        _require_room(opened.frame, properties)
    frame = extraction.extract(
        opened.frame.collect(), opened.locator, properties, into=options.into, **reading
    )
    if frame.is_empty():
        _require_some(options)
    seconds = time.perf_counter() - started
    name = options.into or opened.locator + structs.SUFFIX
    failed = len(inspection.errors(frame, name, locator=opened.locator))
    # What is printed must not mix with what is written there.
    stream = sys.stderr if options.output == _STDIN else sys.stdout
    if form and options.output == _STDIN:
        options.interrupted = ["the output is not complete"]
        printing.write_text(frame, form, name)
    elif form:
        _write_file(frame, Path(options.output), form, name)
    if form:
        options.interrupted = [f"{options.output} is complete"]
    print(
        f"{printing.count(len(frame), 'image')} in {seconds:.1f} s"
        f" ({len(frame) / seconds:,.0f} a second), {failed:,} failed.",
        file=stream,
    )
    _describe(frame.lazy(), options, stream)
    _report(frame.lazy(), options)
    return int(too_many(failed, len(frame), options.max_failed))


def _require_room(frame: pl.LazyFrame, properties: list[str]) -> None:
    """Check that a table has no columns of the names that flat ones will have.

    Raises:
        ColumnError: If it has.
    """
    names = [*(one.name for one in CATALOGUE.resolve(properties)), structs.ERROR]
    columns = frame.collect_schema()
    if taken := [name for name in names if name in columns]:
        msg = (
            f"the table already has columns {', '.join(map(repr, taken))}\n\nHint: write .parquet"
            " or .arrow, in which the properties are one column, a struct"
        )
        raise ColumnError(msg)


def _write_file(frame: pl.DataFrame, file: Path, form: str, column: str) -> None:
    from polars_imgmeta.io.replacement import replacing  # noqa: PLC0415 - one place

    with replacing(file) as unfinished:
        if form == "csv":
            inspection.unnest(frame, column).write_csv(unfinished)
        elif form == "ndjson":
            inspection.unnest(frame, column).write_ndjson(unfinished)
        else:
            frame.write_ipc(unfinished)


def _describe(table: pl.LazyFrame, options: argparse.Namespace, stream: Any) -> None:  # noqa: ANN401 - a stream
    column = options.into or (options.column or sources.PATH) + structs.SUFFIX
    printing.print_summary(table, column, stream)
    printing.print_errors(table, column, stream)


def _report(table: pl.LazyFrame, options: argparse.Namespace) -> None:
    if options.report:
        title = f"Images of {options.source[0]}"
        page = writing.report(table.collect(), options.report, title=title, sandbox=options.sandbox)
        print(f"Wrote {page}.")


def _estimate(source: Frame | str, options: argparse.Namespace, properties: list[str]) -> int:
    options.interrupted = ["nothing was written"]
    found = runner.estimate(
        source,
        None if _form(options.output, options.format) else options.output,
        options.column,
        properties,
        into=options.into,
        overwrite=options.overwrite,
        **reading_of(options),
    )
    print(f"{printing.count(found.rows, 'row')} to compute")
    if found.sampled:
        size = "an unknown size" if found.bytes is None else f"{found.bytes / 1e6:,.1f} MB"
        sample = f"judging by {found.sampled} of them"
        print(f"{size} to read, about {duration(found.seconds)}, {sample}")
    return 0


def _source(options: argparse.Namespace) -> Frame | str:
    """Return what the arguments name: a table, a listing, or a frame of locators."""
    given: list[str] = options.source
    if len(given) == 1 and given[0] != _STDIN and not _is_image(given[0]):
        return given[0]
    if options.column:
        msg = "--column must come with one table, got images or a list of locators"
        raise ColumnError(msg)
    storage = make_storage(reading_of(options).get("storage_options"), None)
    paths: list[str] = []
    for one in given:
        if one == _STDIN:
            paths += _read_list(sys.stdin.buffer.read())
        elif _is_image(one):
            paths.append(one if scheme_of(one) else spell_path(one))
        else:
            listed = sources.open_source(one, None, storage).frame
            paths += listed.select(sources.PATH).collect().to_series().to_list()
    return pl.DataFrame({sources.PATH: paths}, schema={sources.PATH: pl.String})


def _read_list(data: bytes) -> list[str]:
    """Return the locators of a list: one a line, or separated by NUL as `find -print0` does.

    A name that is not text becomes a URI of the file.
    """
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = [line.rstrip(b"\r") for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    return [_read_name(name) for name in names if name]


def _read_name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return spell_path(name.decode(errors="surrogateescape"))


def _is_image(source: str) -> bool:
    """Whether an argument is an image itself: a file that is no table, or a URL of a server."""
    if scheme_of(source) in {"http", "https"}:
        return True
    return Path(source).is_file() and not source.lower().endswith(sources.TABLE_SUFFIXES)


def _form(output: str | None, chosen: str | None) -> str | None:
    """Return the kind of text that is written; None for a job."""
    if chosen and output != _STDIN:
        msg = "--format must come with `-o -`"
        raise ImgmetaError(msg)
    if output is None:
        return None
    suffix = output if output == _STDIN else os.path.splitext(output)[1].lower()  # noqa: PTH122 - URLs
    return chosen or _TEXT.get(suffix)


def _require_some(options: argparse.Namespace) -> None:
    if options.column is None:
        msg = f"no images in {options.source[0]}: only files with the suffix of an image are read"
        raise NotFoundError(msg)


def require_replaceable(file: Path, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Check the file of `--output` before any work is done.

    Raises:
        ImgmetaError: If it exists and is not to be replaced.
        OSError: If it cannot be made.
    """
    require_writable("--output", file, suffixes)
    if file.exists() and not overwrite:
        msg = f"--output {file} exists; --overwrite replaces it"
        raise ImgmetaError(msg)


def require_writable(option: str, file: Path, suffixes: tuple[str, ...]) -> None:
    """Check an output file before any work is done.

    Raises:
        OSError: If it cannot be made.
    """
    if file.suffix.lower() not in suffixes:
        msg = f"{option} must end in {' or '.join(suffixes)}, got {file}"
        raise OSError(msg)
    if not file.parent.is_dir():
        msg = f"{option} must be in a folder that exists, got {file}"
        raise OSError(msg)
