"""The command `imgmeta`: extracts properties of the images in a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, GROUPS
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.display.report import writing
from polars_imgmeta.exceptions import ImgmetaError, NotFoundError
from polars_imgmeta.verbs import export, extraction, inspection, scanning

_SAMPLES = Path("imgmeta-samples")
_SHOWN_ERRORS = 10
_INTERRUPTED = 130  # the exit status of shells for SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command-line arguments; by default those of the process.

    Returns:
        The exit status: 0, also if images could not be read; 2 for invalid arguments;
        130 if interrupted.
    """
    try:
        _run(_parser().parse_args(arguments))
    except (ImgmetaError, ImportError, OSError) as error:
        print(f"imgmeta: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("imgmeta: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imgmeta",
        description="Extract properties of the images in a folder.",
        epilog=f"Properties: {', '.join(CATALOGUE)}. Groups: {', '.join(GROUPS)}.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('polars-imgmeta')}"
    )
    parser.add_argument(
        "source",
        nargs="?",
        help="a folder, a cloud prefix such as s3://bucket/folder, or a quoted glob;"
        f" by default, sample images are drawn into {_SAMPLES}/",
    )
    parser.add_argument(
        "-p",
        "--properties",
        default="standard",
        metavar="NAME,...",
        help="properties or groups (standard)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the whole frame to FILE: .parquet, or .csv with flat columns",
    )
    parser.add_argument(
        "-r",
        "--report",
        type=Path,
        metavar="FILE",
        help="write a report of pictures and properties to FILE: .html",
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar (by default on a terminal, after a second of work)",
    )
    parser.add_argument(
        "--sandbox",
        action="store_true",
        help="decode in processes of their own, so that an image that crashes a decoder costs"
        " one row",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.output:
        _require_writable("--output", options.output, (".parquet", ".csv"))
    if options.report:
        _require_writable("--report", options.report, (".html", ".htm"))
        writing.writable_page(options.report)
    properties = CATALOGUE.resolve(options.properties.split(","))
    if options.source is None:
        make_samples(_SAMPLES)
        print(f"Drew images into {_SAMPLES}/.")
    started = time.perf_counter()
    images = scanning.scan_images(_SAMPLES if options.source is None else options.source)
    listed = images.collect().drop((one.name for one in properties), strict=False)
    frame = extraction.extract(
        listed, "path", properties, progress=options.progress, sandbox=options.sandbox
    )
    seconds = time.perf_counter() - started
    if frame.is_empty():
        msg = f"no images in {options.source}: only files with the suffix of an image are read"
        raise NotFoundError(msg)
    failed = inspection.errors(frame)
    _print_summary(frame, failed, seconds)
    if options.output:
        if options.output.suffix.lower() == ".csv":
            inspection.unnest(frame).write_csv(options.output)
        else:
            export.write_parquet(frame, options.output)
        print(f"Wrote {options.output}.")
    if options.report:
        title = f"Images of {options.source or _SAMPLES}"
        page = writing.report(frame, options.report, title=title, sandbox=options.sandbox)
        print(f"Wrote {page}.")


def _require_writable(option: str, file: Path, suffixes: Sequence[str]) -> None:
    """Check an output file before any work is done."""
    if file.suffix.lower() not in suffixes:
        msg = f"{option} must end in {' or '.join(suffixes)}, got {file}"
        raise OSError(msg)
    if not file.parent.is_dir():
        msg = f"{option} must be in a folder that exists, got {file}"
        raise OSError(msg)


def _print_summary(frame: pl.DataFrame, failed: pl.DataFrame, seconds: float) -> None:
    flat = inspection.unnest(frame.select("path", "path_imgmeta")).drop("error")
    rate = len(frame) / seconds
    images = "1 image" if len(frame) == 1 else f"{len(frame):,} images"
    print(f"{images} in {seconds:.1f} s ({rate:,.0f} a second), {len(failed):,} failed.")
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    with pl.Config(
        tbl_formatting="ASCII_FULL_CONDENSED" if ascii_only else "UTF8_FULL_CONDENSED",
        tbl_cols=-1,
        tbl_width_chars=160,
        float_precision=3,
        tbl_hide_dataframe_shape=True,
    ):
        print(flat)
    if len(failed):
        print("Failed:")
        for locator, kind, message in failed.head(_SHOWN_ERRORS).iter_rows():
            print(f"  {locator}: {kind}: {message}")
        if len(failed) > _SHOWN_ERRORS:
            print(f"  and {len(failed) - _SHOWN_ERRORS} more")
