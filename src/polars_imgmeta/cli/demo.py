"""`imgmeta demo`: all of it in one go, on images that it draws."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import polars as pl

from polars_imgmeta.cli import printing
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.display.report import writing
from polars_imgmeta.jobs import runner
from polars_imgmeta.verbs import inspection

SAMPLES = Path("imgmeta-samples")
_TABLE = "imgmeta-samples.parquet"
_PAGE = Path("imgmeta-samples.html")


def register(commands: Any) -> None:  # noqa: ANN401 - argparse names no public type
    """Add the subcommand."""
    parser = commands.add_parser(
        "demo",
        help="draw a dozen images, some of them broken, and show what can be seen of them",
        description=f"Draws a dozen images into {SAMPLES}/, some of them broken, extracts their"
        f" properties into {_TABLE}, and writes a report to {_PAGE}.",
    )
    parser.set_defaults(run=_run, progress=False)


def _run(_: argparse.Namespace) -> int:
    make_samples(SAMPLES)
    print(f"Drew images into {SAMPLES}/.")
    summary = runner.run(str(SAMPLES), _TABLE, overwrite=True, progress=False)
    table = pl.scan_parquet(_TABLE)
    print(f"{printing.count_images(summary.rows)} in {_TABLE}, {summary.failed:,} failed.")
    named = ["width", "brightness", "contrast", "sharpness", "pixel_entropy", "symmetry"]
    rows = inspection.unnest(table).select("path", *named).sort("brightness", nulls_last=True)
    printing.print_frame(rows.with_columns(pl.col(pl.Float64).round(3)).collect(), sys.stdout)
    printing.print_summary(table, None, sys.stdout)
    printing.print_errors(table, None, sys.stdout)
    written = writing.report(table.collect(), _PAGE, title=f"Images of {SAMPLES}")
    print(f"Wrote {written}: open it in a browser.")
    return 0
