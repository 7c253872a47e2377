"""Cost of the sandbox: time and processor time as ratios to the same calls without it.

    python benchmarks/sandbox.py [--rounds N] [--images N] [--folder PATH]

Calls with and without it alternate in one process. Processor time includes that of the
children, and depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import polars as pl
import sets

import polars_imgmeta as im
from polars_imgmeta.sandbox.children import CHILDREN

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Return the processor time of this process and its sandbox so far."""
    spent = time.process_time()
    for child in CHILDREN.living:
        fields = Path(f"/proc/{child.process}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


def measure(frame: pl.DataFrame, properties: str, *, sandbox: bool) -> tuple[float, float]:
    """Return the seconds and the processor seconds of an extraction."""
    before, spent = time.perf_counter(), processor_seconds()
    im.extract(frame, "path", properties, sandbox=sandbox)
    return time.perf_counter() - before, processor_seconds() - spent


def compare(name: str, paths: list[str], rounds: int) -> None:
    """Print the ratios of one set of images."""
    frame = pl.DataFrame({"path": paths})
    for properties in ("standard", "geometry"):
        for sandbox in (False, True):
            measure(frame, properties, sandbox=sandbox)
        pairs = [
            [measure(frame, properties, sandbox=sandbox) for sandbox in (False, True)]
            for _ in range(rounds)
        ]
        clock = statistics.median(inside[0] / without[0] for without, inside in pairs)
        work = sum(inside[1] for _, inside in pairs) / sum(without[1] for without, _ in pairs)
        print(f"|{name}|{len(paths)}|{properties}|{clock:.2f}|{work:.2f}|", flush=True)


def main() -> None:
    """Measure the sets and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=2000, help="the most of each size")
    parser.add_argument("--folder", type=Path, help="images to measure, too")
    options = parser.parse_args()
    print("|Images|Number|Properties|Time|Processor time|\n|---|--:|---|--:|--:|")
    if options.folder:
        with sets.photos(options.folder, 500) as paths:
            compare(options.folder.name, paths, options.rounds)
    for megapixels, count in ((0.001, 2000), (0.03, 500), (0.3, 100), (2.0, 20), (12.0, 4)):
        rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
        with tempfile.TemporaryDirectory() as folder:
            paths = sets.write(Path(folder), min(count, options.images), rows, rows * 4 // 3)
            compare(f"{megapixels:g} megapixels", paths, options.rounds)


if __name__ == "__main__":
    main()
