"""What this library and its peers do with the same images: the table of `docs/comparison.md`.

    python benchmarks/comparison.py [--environments DIR] [--write]

Each peer is installed into an environment of its own, in which this script runs again as
`comparison.py PEER FOLDER` and prints what happened. `--write` puts the table into the page, and
some of its rows into the README.
Every cell is what a call returned or raised; none is typed in.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Imports are local, so that an environment needs the libraries of its peer alone.
# ruff: noqa: PLC0415

PEERS = {
    "polars-imgmeta": str(Path(__file__).parent.parent),
    "polars-cv": "polars-cv==0.41.0",
    "cleanvision": "cleanvision==0.3.7",
    "daft": "daft==0.7.26",
}
PAGE = Path(__file__).parent.parent / "docs" / "comparison.md"
README = PAGE.parent.parent / "README.md"
_BEGIN, _END = "<!-- written by benchmarks/comparison.py -->\n", "<!-- end -->\n"
IN_README = (
    "Size of a photo that EXIF turns",
    "Size of a JPEG of which half",
    "Pixels of a JPEG of which half",
    "A photo, an empty file, a photo",
    "Perceptual hashes",
)
_SECONDS = 600
_FORMATS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WebP": ".webp",
    "AVIF": ".avif",
    "TIFF": ".tiff",
    "GIF": ".gif",
    "JPEG 2000": ".jp2",
    "TGA": ".tga",
}
Measure = Callable[[Sequence[Path]], list[Any]]
"""Sizes, or brightnesses, of images; None for what has none. May raise."""


def imgmeta() -> tuple[Measure, Measure]:
    """Return how this library measures sizes and brightness."""
    import polars as pl

    import polars_imgmeta as im

    def extract(paths: Sequence[Path], *names: str) -> pl.DataFrame:
        frame = pl.DataFrame({"path": [str(path) for path in paths]})
        return im.unnest(im.extract(frame, "path", names))

    return (
        lambda paths: extract(paths, "width", "height").select("width", "height").rows(),
        lambda paths: extract(paths, "brightness")["brightness"].to_list(),
    )


def polars_cv() -> tuple[Measure, Measure]:
    """Return how polars-cv measures sizes and the mean intensity."""
    import polars as pl
    from polars_cv import Pipeline

    path: Any = pl.col("path")
    grey = path.cv.pipe(Pipeline().source("file_path", on_error="null").grayscale().reduce_mean())

    def select(paths: Sequence[Path], expression: pl.Expr) -> pl.Series:
        frame = pl.DataFrame({"path": [str(path) for path in paths]})
        return frame.select(found=expression)["found"]

    def sizes(paths: Sequence[Path]) -> list[Any]:
        return select(paths, path.cv.image_info()).struct.unnest().select("width", "height").rows()

    return sizes, lambda paths: select(paths, grey.sink("native")).to_list()


def cleanvision() -> tuple[Measure, Measure]:
    """Return how CleanVision measures sizes, as a ratio, and darkness."""
    from cleanvision import Imagelab

    def column(paths: Sequence[Path], issue: str) -> list[Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            lab = Imagelab(filepaths=[str(path) for path in paths])
            lab.find_issues({issue: {}}, n_jobs=1, verbose=False)
        scores = dict(lab.issues[f"{issue}_score"])
        return [scores.get(str(path)) for path in paths]

    return lambda paths: column(paths, "odd_aspect_ratio"), lambda paths: column(paths, "dark")


def daft() -> tuple[Measure, Measure]:
    """Return how Daft measures sizes by the header, and whether it decodes."""
    from daft import col, from_pydict
    from daft.functions import (
        decode_image,
        download,
        image_file,
        image_file_metadata,
        image_width,
    )

    def select(paths: Sequence[Path], expression: Any) -> list[Any]:  # noqa: ANN401 - untyped
        frame = from_pydict({"path": [str(path) for path in paths]})
        found: list[Any] = frame.select(expression.alias("found")).to_pydict()["found"]
        return found

    def sizes(paths: Sequence[Path]) -> list[Any]:
        found = select(paths, image_file_metadata(image_file(col("path"))))
        return [each and (each["width"], each["height"]) for each in found]

    decoded = image_width(decode_image(download(col("path")), on_error="null"))
    return sizes, lambda paths: select(paths, decoded)


def hashes(peer: str) -> list[str]:
    """Return the names of the perceptual hashes that a peer offers."""
    if peer == "polars-imgmeta":
        import polars_imgmeta as im

        return [name for name in im.CATALOGUE if name.endswith("hash")]
    if peer == "polars-cv":
        from polars_cv import HashAlgorithm

        return [each.value for each in HashAlgorithm]
    if peer == "daft":
        from daft.functions import image_hash

        return re.findall(r"'(\w+)'", str(inspect.signature(image_hash).parameters["method"]))[:-1]
    from cleanvision import Imagelab

    return [name for name in Imagelab.list_possible_issue_types() if "near" in name]


PROBES = {
    "polars-imgmeta": imgmeta,
    "polars-cv": polars_cv,
    "cleanvision": cleanvision,
    "daft": daft,
}


def draw(folder: Path) -> None:
    """Draw the images: a photo, the same turned, cut in half, empty, and in other formats."""
    import numpy as np
    from PIL import ExifTags, Image

    rows, columns = np.indices((300, 400))
    noise = np.random.default_rng(0).normal(0, 8, (300, 400, 3))
    picture = np.dstack([rows / 2 + 60, columns / 3 + 80, columns / 4 + 60]) + noise
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    for suffix in _FORMATS.values():
        image.save(folder / f"whole{suffix}")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(folder / "turned.jpg", exif=exif)
    data = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").touch()
    Image.fromarray(np.full((300, 400, 4), (0, 255, 0, 128), np.uint8)).save(folder / "alpha.png")


def probe(peer: str, folder: Path) -> dict[str, str]:
    """Return what a peer does with the images of a folder, in its own environment."""
    sizes, values = PROBES[peer]()

    def one(measure: Measure, name: str) -> str:
        return _told(lambda: measure([folder / name])[0])

    whole = folder / "whole.jpg"
    cells = {
        "Size of a photo of 400 x 300": one(sizes, "whole.jpg"),
        "Size of a photo that EXIF turns: 300 x 400 in a viewer": one(sizes, "turned.jpg"),
        "Size of a JPEG of which half is missing": one(sizes, "half.jpg"),
        "Pixels of a JPEG of which half is missing": one(values, "half.jpg"),
        "Pixels of an empty file": one(values, "empty.jpg"),
        "A photo, an empty file, a photo: pixels": _told(
            lambda: values([whole, folder / "empty.jpg", folder / "turned.jpg"])
        ),
        "Pixels of pure green with alpha": one(values, "alpha.png"),
        "Perceptual hashes": ", ".join(hashes(peer)),
    }
    return cells | {
        f"Pixels of {name}": one(values, f"whole{suffix}") for name, suffix in _FORMATS.items()
    }


def _told(call: Callable[[], object]) -> str:
    """Return what a call returns or raises, in a few words."""
    try:
        return _short(call())
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is what is told
        return f"raises {type(error).__name__}"
    except BaseException as error:  # noqa: BLE001 - panics of Rust are not exceptions
        return f"panics: {type(error).__name__}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(_short(each) for each in value)
    if isinstance(value, tuple):
        return "null" if None in value else " x ".join(map(str, value))
    return "null" if value is None else str(value)


def make_environment(folder: Path, requirement: str) -> Path:
    """Make an environment with a peer, unless it is there; return its interpreter."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q", requirement, "pillow", "numpy"]
        subprocess.run(install, check=True)  # noqa: S603 - our own code
        (folder / "complete").touch()
    return python


def compare(environments: Path) -> str:
    """Run all peers and return the tables in Markdown."""
    found: dict[str, dict[str, str]] = {}
    versions = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        draw(folder)
        for peer, requirement in PEERS.items():
            python = make_environment(environments / peer, requirement)
            command = [str(python), __file__, peer, work]
            done = subprocess.run(  # noqa: S603 - our own code
                command, check=True, capture_output=True, text=True, timeout=_SECONDS
            )
            told = json.loads(done.stdout.splitlines()[-1])
            versions.append(f"{peer} {told['version']}")
            found[peer] = told["cells"]
    day = dt.datetime.now(tz=dt.UTC).date()
    lines = [f"Run on {day}: {', '.join(versions)}.", ""]
    lines += ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for question in found["polars-imgmeta"]:
        answers = (cells[question] for cells in found.values())
        lines.append(f"| {question} | " + " | ".join(answers) + " |")
    return "\n".join([*lines, ""])


def shorten(tables: str) -> str:
    """Return the tables with the rows alone that the README shows."""
    kept = ("Run on", "| |", "|---", *(f"| {question}" for question in IN_README))
    return "".join(
        line
        for line in tables.splitlines(keepends=True)
        if not line.strip() or line.startswith(kept)
    )


def written(page: Path) -> str:
    """Return the tables that a page has between the markers."""
    return page.read_text("utf-8").partition(_BEGIN)[2].partition(_END)[0].strip() + "\n"


def write(page: Path, tables: str) -> None:
    """Put tables between the markers of a page."""
    before, begin, rest = page.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    page.write_text(f"{before}{begin}\n{tables}\n{end}{after}", "utf-8")


def main() -> None:
    """Compare, or probe one peer in its environment."""
    if len(sys.argv) > 2 and sys.argv[1] in PROBES:  # noqa: PLR2004
        peer, folder = sys.argv[1:]
        print(json.dumps({"version": version(peer), "cells": probe(peer, Path(folder))}))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--environments", type=Path, help="keep the environments here")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tables = compare(options.environments or Path(temporary))
    print(tables)
    if options.write:
        write(PAGE, tables)
        write(README, shorten(tables))


if __name__ == "__main__":
    main()
