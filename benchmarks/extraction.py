"""How long extraction takes beside the bare calls that it cannot do without.

Run it on a folder of photos, or let it draw some:

    python benchmarks/extraction.py [FOLDER] [--images N] [--rounds N]

Every case runs once in each round, one after the other, so that a machine that
slows down slows all of them. The table shows medians, and ratios to the first
case that does the same work without frames.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

import polars_imgmeta as im
from polars_imgmeta import kernels

_GREY = [kernels.brightness, kernels.contrast, kernels.sharpness, kernels.symmetry]


def decode(path: str) -> NDArray[np.uint8]:
    """The floor: read and decode, nothing else."""
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def compute(path: str) -> list[float]:
    """The bare calls: decode, and each kernel once."""
    colours = decode(path)
    grey = np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY), np.uint8)
    return [*(kernel(grey) for kernel in _GREY), kernels.pixel_entropy(colours)]


@contextmanager
def photos(folder: Path | None, count: int) -> Iterator[list[str]]:
    """Paths of the images in a folder, or of JPEG photos drawn for the occasion."""
    if folder is not None:
        yield im.scan_images(folder).head(count).collect()["path"].to_list()
        return
    with tempfile.TemporaryDirectory() as drawn:
        generator = np.random.default_rng(0)
        for number in range(count):
            coarse = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            smooth = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
            grain = generator.integers(0, 24, smooth.shape, dtype=np.uint8)
            cv2.imwrite(f"{drawn}/{number:05}.jpg", np.asarray(smooth) // 2 + grain)
        yield im.scan_images(drawn).collect()["path"].to_list()


def cases(paths: list[str]) -> dict[str, tuple[Callable[[], object], str, int]]:
    """What is timed: the call, the case to compare it with, and its number of images."""
    pool = ThreadPoolExecutor(pl.thread_pool_size())
    frame = pl.DataFrame({"path": paths})
    chunked = pl.concat([frame[i : i + 64] for i in range(0, len(frame), 64)], rechunk=False)
    done = im.extract(frame, "path")
    repeated = pl.concat([frame.head(max(1, len(frame) // 100))] * 100)
    lazily = im.extract(chunked.lazy(), "path")
    count = len(paths)
    return {
        "decode alone": (lambda: list(pool.map(decode, paths)), "bare calls", count),
        "bare calls": (lambda: list(pool.map(compute, paths)), "bare calls", count),
        "extract, eager": (lambda: im.extract(frame, "path"), "bare calls", count),
        "extract, streaming": (lambda: lazily.collect(engine="streaming"), "bare calls", count),
        "extract geometry": (lambda: im.extract(frame, "path", "geometry"), "bare calls", count),
        "each image 100 times": (lambda: im.extract(repeated, "path"), "bare calls", len(repeated)),
        "extract again (no-op)": (lambda: im.extract(done, "path"), "extract, eager", count),
        "add what is there": (lambda: im.add(done, "symmetry"), "extract, eager", count),
        "remove four": (lambda: im.remove(done, "geometry"), "extract, eager", count),
    }


def main() -> None:
    """Time the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with photos(options.folder, options.images) as paths:
        timed = cases(paths)
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(options.rounds):
            for name, (call, _, _) in timed.items():
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"{len(paths)} images, {pl.thread_pool_size()} threads, medians of {options.rounds} rounds;"
        f" polars {pl.__version__}, opencv {cv2.__version__}, numpy {np.__version__}\n"
    )
    print(f"{'case':24}{'images a second':>18}{'time':>12}  of")
    for name, (_, reference, count) in timed.items():
        ratio = median[name] / median[reference]
        print(f"{name:24}{count / median[name]:>18,.0f}{ratio:>12.2%}  {reference}")


if __name__ == "__main__":
    main()
