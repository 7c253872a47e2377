"""Speed of this library, compared with others that compute properties of images.

    python benchmarks/peers.py [FOLDER] [--natural FOLDER] [--images N] [--rounds N]
                               [--environment DIR]

`--natural` compares on the photos of a folder alone, as JPEG at their own size and at 0.2
megapixels. Natural photos have many edges and colours, which take time. A common set is the
Kodak Lossless True Color Image Suite: 24 photos of 768 x 512 pixels, free to use, which many
sites offer as PNG.

The peers are installed into an environment of their own, which is kept if its folder
is given. Each contestant runs in a process of its own, and once in every round, so
that a slowdown of the machine affects all of them. The tables show medians of the
rounds, and ratios to the peer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sets
from race import Racer, race

_HERE = Path(__file__).parent
_PEERS = ("polars-cv==0.41.0", "cleanvision==0.3.7", "imagesize==2.0.1")
_VERSIONS = """
import os
from importlib.metadata import version
names = "polars-imgmeta polars polars-cv cleanvision imagesize opencv-python numpy pillow".split()
print(os.environ.get("POLARS_MAX_THREADS") or os.cpu_count(), "threads;",
      ", ".join(f"{name} {version(name)}" for name in names))
"""


@dataclass(frozen=True)
class Comparison:
    """A table that compares several contestants on the same pictures."""

    title: str
    paths: list[str]
    contestants: dict[str, str]
    """The label of each row by contestant; ratios are relative to the first."""


_PROPERTIES = {
    "polars_cv": "polars-cv, five properties",
    "eager": "polars-imgmeta, all nine",
    "streaming": "polars-imgmeta, all nine, streaming",
    "bare": "bare OpenCV and NumPy calls, all nine",
    "decode": "decode alone, the floor",
}
_FIVE = {
    "eager=brightness,contrast,sharpness,grey_entropy,symmetry": "polars-imgmeta, the same five",
    "bare_five": "bare OpenCV and NumPy calls, the same five",
}
_CLEANVISION = {"cleanvision": "CleanVision, six issues"}
_HEADERS = {
    "polars_cv_header": "polars-cv, `image_info`",
    "eager=geometry": "polars-imgmeta, geometry",
    "imagesize": "imagesize, one thread",
    "pillow_header": "Pillow, one thread",
}


def comparisons(folder: Path | None, images: int, work: Path) -> Iterator[Comparison]:
    """Yield the comparisons, on photos of a folder or generated ones, and on tiny pictures."""
    with sets.photos(folder, images) as paths:
        yield Comparison("Photos, properties", paths, _PROPERTIES | _FIVE | _CLEANVISION)
        yield Comparison("Photos, headers", paths, _HEADERS)
    for suffix in (".jpg", ".png", ".webp"):
        tiny = work / f"tiny{suffix}"
        tiny.mkdir()
        paths = sets.write(tiny, 4 * images, 32, 32, suffix)
        yield Comparison(f"32 x 32 pixels, {suffix[1:].upper()}, properties", paths, _PROPERTIES)
        yield Comparison(f"32 x 32 pixels, {suffix[1:].upper()}, headers", paths, _HEADERS)


def natural(source: Path, images: int, work: Path) -> Iterator[Comparison]:
    """Yield the comparisons on natural photos, at their own size and at 0.2 megapixels."""
    for megapixels, size in ((None, "their own size"), (0.2, "0.2 megapixels")):
        folder = work / f"natural-{megapixels}"
        folder.mkdir()
        paths = sets.natural(source, folder, images, megapixels)
        yield Comparison(f"Natural photos at {size}", paths, _PROPERTIES | _FIVE | _CLEANVISION)


def compare(python: Path, comparison: Comparison, rounds: int, work: Path) -> None:
    """Run the contestants in alternation and print a table in Markdown."""
    racers = [Racer(name, python) for name in comparison.contestants]
    medians = race(comparison.paths, racers, rounds, work)
    count = len(comparison.paths)
    print(f"\n{comparison.title}, {count} images:\n")
    print("| | images a second | times the first |\n|---|--:|--:|")
    for row, seconds in zip(comparison.contestants.values(), medians, strict=True):
        print(f"| {row} | {count / seconds:,.0f} | {medians[0] / seconds:.2f} |", flush=True)


@contextmanager
def environment(folder: Path | None) -> Iterator[Path]:
    """Yield the interpreter of an environment with this project and its peers."""
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not python.exists():
            venv.create(root, with_pip=True)
        subprocess.run(  # noqa: S603 - our own code
            [python, "-m", "pip", "install", "-q", "-e", _HERE.parent, *_PEERS], check=True
        )
        yield python


def main() -> None:
    """Install the peers, compare, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--natural", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--environment", type=Path)
    options = parser.parse_args()
    with environment(options.environment) as python, tempfile.TemporaryDirectory() as work:
        subprocess.run([python, "-c", _VERSIONS], check=True)  # noqa: S603 - our own code
        if options.natural:
            chosen = natural(options.natural, options.images, Path(work))
        else:
            chosen = comparisons(options.folder, options.images, Path(work))
        for comparison in chosen:
            compare(python, comparison, options.rounds, Path(work))


if __name__ == "__main__":
    main()
