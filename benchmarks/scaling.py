"""Speed of an extraction by number of threads, size of pictures, and property.

    python benchmarks/scaling.py [--rounds N] [--megapixels N ...] [--pixels N]

Pictures are generated; their number is chosen so that each size has about the same
total of pixels. Each case runs in a process of its own, in alternation. The properties beyond
the standard ones are computed on one decoded picture of each size, in alternation too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import sets
from race import Racer, race

import polars_imgmeta as im
from polars_imgmeta.decoding.details import Details
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.pictures import intensity_of, read_picture
from polars_imgmeta.io.sources import FileSource

_OF_CONTENT = frozenset({"bytes", "intensity", "picture"})
_ALONE = ("file", *(name for name, row in im.CATALOGUE.items() if row.needs in _OF_CONTENT))
_REPEATS = 5
_MEGAPIXELS = (0.001, 0.004, 0.03, 0.2, 1.0, 4.0, 12.0, 24.0)


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    print("|".join(["", "", *columns, ""]))
    print("|---|" + "--:|" * len(columns))
    for name, cells in rows.items():
        print("|".join(["", name, *cells, ""]), flush=True)


def property_costs(path: str, rounds: int) -> dict[str, float]:
    """Return the milliseconds that each property of one image takes, without decoding."""
    costs: dict[str, list[float]] = {name: [] for name in _ALONE}
    with isolated(), FileSource(path) as source:
        header = read_header(source)
        picture = read_picture(source.whole(), header)
        values = {"picture": picture, "intensity": intensity_of(picture), "bytes": source.whole()}
        for _ in range(rounds * _REPEATS):
            for name, times in costs.items():
                begin = time.perf_counter()
                if name == "file":
                    details = Details(source, header)
                    for one in im.GROUPS["file"]:
                        getattr(details, one)
                else:
                    im.CATALOGUE[name](values[im.CATALOGUE[name].needs])
                times.append(time.perf_counter() - begin)
    return {name: 1e3 * statistics.median(times) for name, times in costs.items()}


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
    alone: dict[str, list[str]] = {name: [] for name in _ALONE}
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
            for name, cost in property_costs(paths[0], options.rounds).items():
                alone[name].append(f"{cost:.3f}")
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
    table(
        "Milliseconds of single properties in one thread, without decoding, by megapixels",
        [f"{megapixels:g}" for megapixels in options.megapixels],
        alone,
    )


if __name__ == "__main__":
    main()
