"""`imgmeta demo`: all of it in one go, on images that it draws."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import polars as pl

from polars_imgmeta.cli import printing
from polars_imgmeta.cli.samples import draw_samples, make_samples
from polars_imgmeta.display.report import writing
from polars_imgmeta.jobs import runner
from polars_imgmeta.verbs import inspection

_NAMED = ["width", "brightness", "contrast", "sharpness", "pixel_entropy", "symmetry"]


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommand."""
    parser = commands.add_parser(
        "demo",
        help="draw a dozen images, some of them broken, and show what can be seen of them",
        description="Draws a dozen images into FOLDER, some of them broken, extracts their"
        " properties into FOLDER.parquet, and writes a report to FOLDER.html.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default="photos", help="default: %(default)s"
    )
    parser.set_defaults(run=_run, progress=False)


def _run(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.folder)
    table, page = (folder.with_name(folder.name + suffix) for suffix in (".parquet", ".html"))
    _check_own(folder, table, page)
    make_samples(folder)
    print(f"Drew images into {folder}/.")
    summary = runner.run(str(folder), str(table), overwrite=True, progress=False)
    images = pl.scan_parquet(table)
    print(f"{printing.count(summary.rows, 'image')} in {table}, {summary.failed:,} failed.")
    rows = inspection.unnest(images).select("path", *_NAMED).sort("brightness", nulls_last=True)
    printing.print_frame(rows.with_columns(pl.col(pl.Float64).round(3)).collect(), sys.stdout)
    printing.print_summary(images, None, sys.stdout)
    printing.print_errors(images, None, sys.stdout)
    written = writing.report(images.collect(), page, title=f"Images of {folder}")
    print(f"Wrote {written}: open it in a browser.")
    return 0


def _check_own(folder: Path, table: Path, page: Path) -> None:
    """Refuse to overwrite what the demo has not made."""
    drawn = draw_samples()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    other = [file for file in found if file.is_dir() or drawn.get(file.name) != file.read_bytes()]
    if not found:  # no former demo, which would have made these
        other = [path for path in (folder, table, page) if path.is_file()]
    if other:
        message = (
            f"{other[0]} exists, and was not made by the demo"
            "\n\nHint: name another folder: imgmeta demo FOLDER"
        )
        raise FileExistsError(message)
