"""What a job on many images costs: measured on few, computed for many, checked on some.

An engine takes a fixed time to start, and a time for each image. Both are measured by jobs of
two sizes, on two workers of Dask with one thread each. From them follows how long a job of
`--check` images takes, which is then run. The second table multiplies what one photo costs.

    python benchmarks/planning.py --check 100000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

import polars_imgmeta as im
from polars_imgmeta.engines.dask import digest, extract

WORKERS = 2
IMAGES_IN_A_TASK = 1000
SIZES = (1_000_000, 100_000_000, 1_000_000_000)


def make_images(folder: Path, count: int, side: int, suffix: str) -> list[str]:
    """Write pictures of `side` times `side` pixels, of which every 500th is another one."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8) for _ in range(500)]
    pictures = [cv2.imencode(suffix, cv2.resize(one, (side, side)))[1].tobytes() for one in noise]
    paths = []
    for number in range(count):
        path = folder / f"{number}{suffix}"
        path.write_bytes(pictures[number % len(pictures)])
        paths.append(str(path))
    return paths


def run(paths: list[str]) -> tuple[float, im.Digest]:
    """Return the seconds that Dask takes, and the digest."""
    frame = pd.DataFrame({"path": paths})
    begin = time.perf_counter()
    parts = max(WORKERS, len(paths) // IMAGES_IN_A_TASK)
    result = extract(dd.from_pandas(frame, npartitions=parts), im.ArrowExtractor("path")).persist()
    found = digest(result)
    return time.perf_counter() - begin, found


def single_thread(paths: list[str]) -> float:
    """Return the seconds for an image on one thread of this process."""
    extractor = im.ArrowExtractor("path", threads=1)
    locators = pd.DataFrame({"path": paths})
    extractor(locators[:50])
    begin = time.perf_counter()
    extractor(locators)
    return (time.perf_counter() - begin) / len(paths)


def main() -> None:
    """Measure, predict, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", type=int, default=100_000, help="images of the checked job")
    parser.add_argument("--photos", type=int, default=400, help="photos to measure one by one")
    options = parser.parse_args()
    small, large = options.check // 20, options.check // 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny").mkdir()
        (folder / "photos").mkdir()
        tiny = make_images(folder / "tiny", options.check, 48, ".png")
        with (
            LocalCluster(
                n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
            ) as cluster,  # type: ignore[no-untyped-call, unused-ignore]
            Client(cluster),  # type: ignore[no-untyped-call, unused-ignore]
        ):
            run(tiny[: IMAGES_IN_A_TASK * WORKERS])  # imports
            times = {count: run(tiny[:count])[0] for count in (small, large)}
            each = (times[large] - times[small]) / (large - small)
            fixed = times[small] - each * small
            predicted = fixed + each * options.check
            actual, found = run(tiny)
        print(f"{'images':>10} {'seconds':>9}")
        for count, seconds in times.items():
            print(f"{count:>10,} {seconds:>9.1f}")
        print(f"fixed {fixed:.1f} s, each image {each * 1e6:.0f} us on {WORKERS} workers")
        print(f"{options.check:>10,} predicted {predicted:.1f} s, took {actual:.1f} s,")
        print(f"{'':>10} ratio {actual / predicted:.2f}")
        local = im.digest(im.ArrowExtractor("path")(pd.DataFrame({"path": tiny})))
        print(f"{'':>10} digest {found}, equal to that of one process: {found == local}")
        photos = make_images(folder / "photos", options.photos, 512, ".jpg")
        cost = single_thread(photos)
        size = sum(Path(path).stat().st_size for path in photos) / len(photos)
    print(f"a photo of 512 x 512 pixels: {cost * 1e3:.2f} ms of a core, {size / 1e3:.0f} KB")
    for count in SIZES:
        hours, terabytes = count * cost / 3600, count * size / 1e12
        print(f"{count:>13,} {hours:>9,.1f} core hours {terabytes:>8,.2f} TB {count:>13,} requests")


if __name__ == "__main__":
    main()
