"""Speed of an extraction by number of threads, size of pictures, and property.

    python benchmarks/scaling.py [--rounds N] [--megapixels N ...] [--pixels N]

Pictures are generated; their number is chosen so that each size has about the same
total of pixels. Each case runs in a process of its own, in alternation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import sets
from race import Racer, race

import polars_imgmeta as im

_MEGAPIXELS = (0.001, 0.004, 0.03, 0.2, 1.0, 4.0, 12.0, 24.0)


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    print("|".join(["", "", *columns, ""]))
    print("|---|" + "--:|" * len(columns))
    for name, cells in rows.items():
        print("|".join(["", name, *cells, ""]), flush=True)


def main() -> None:
    """Measure the cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megapixels", type=float, nargs="+", default=_MEGAPIXELS)
    parser.add_argument("--pixels", type=float, default=100, help="total of each size, in millions")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    counts = sorted({1, 2, cores})
    speeds, costs = {}, {}
    for megapixels in options.megapixels:
        with tempfile.TemporaryDirectory() as folder:
            rows = round((megapixels * 1e6 * 3 / 4) ** 0.5)
            images = min(3000, max(2 * cores, round(options.pixels / megapixels)))
            paths = sets.write(Path(folder), images, rows, rows * 4 // 3)
            racers = [Racer("eager", threads=count) for count in counts]
            racers += [Racer(name, threads=cores) for name in ("streaming", "bare", "decode")]
            racers += [Racer(f"eager={name}", threads=1) for name in im.GROUPS["standard"][3:]]
            medians = race(paths, racers, options.rounds, Path(folder))
            threaded, others = medians[: len(counts)], medians[len(counts) :]
            rates = [f"{images / seconds:,.0f}" for seconds in threaded]
            ratios = [f"{seconds / threaded[-1]:.2f}" for seconds in others[:3]]
            speeds[f"{megapixels:g}"] = rates + ratios
            header, *properties = [1e3 * seconds / images for seconds in others[3:]]
            extra = [f"{cost - header:.3f}" for cost in properties]
            costs[f"{megapixels:g}"] = [
                f"{1e3 * threaded[0] / images:.3f}",
                f"{header:.3f}",
                *extra,
            ]
    table(
        f"Images a second, and the time of others as a multiple of that of {cores} threads",
        [*(f"{count} threads" for count in counts), "streaming", "bare calls", "decode alone"],
        speeds,
    )
    table(
        "Milliseconds of an image in one thread: all nine properties, the header, and decoding"
        " with a single property, without the header",
        ["all nine", "header", *im.GROUPS["standard"][4:]],
        costs,
    )


if __name__ == "__main__":
    main()
