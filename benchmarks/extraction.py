"""Time of an extraction, compared with the bare calls of OpenCV and NumPy that it makes.

    python benchmarks/extraction.py [FOLDER] [--images N] [--rounds N]

on the images of a folder, or on generated photos. Each case runs in a process of its
own, in alternation; the table shows medians.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import sets
from race import Racer, race

_CASES = {
    "eager": "extract, eager",
    "streaming": "extract, streaming",
    "bare": "bare OpenCV and NumPy calls",
    "decode": "decode alone, the floor",
    "eager=geometry": "extract geometry",
    "repeated": "each image in a hundred rows",
    "again": "extract again",
    "remove": "remove four properties",
}


def main() -> None:
    """Time the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with (
        sets.photos(options.folder, options.images) as paths,
        tempfile.TemporaryDirectory() as work,
    ):
        medians = race(paths, [Racer(name) for name in _CASES], options.rounds, Path(work))
        count = len(paths)
    print(f"{count} images\n\n| | images a second | time of eager |\n|---|--:|--:|")
    for name, seconds in zip(_CASES.values(), medians, strict=True):
        print(f"| {name} | {count / seconds:,.0f} | {seconds / medians[0]:.2%} |")


if __name__ == "__main__":
    main()
