"""The contestants that `race.py` compares, each in a process of its own.

    python benchmarks/contestants.py NAME[=ARGUMENT] FILE

reads paths from a file, runs once to warm up, and then once for each line of standard
input, and prints the seconds of each run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Imports are local, so that a process loads no library of another contestant.
# ruff: noqa: PLC0415

Run = Callable[[], object]


def eager(paths: Sequence[str], properties: str = "standard") -> Run:
    """Extract from an eager frame, by default all nine properties."""
    import polars as pl

    import polars_imgmeta as im

    frame = pl.DataFrame({"path": paths})
    return lambda: im.extract(frame, "path", properties.split(","))


def streaming(paths: Sequence[str], properties: str = "standard") -> Run:
    """Extract from a lazy frame in batches of 64 rows, by the streaming engine."""
    import polars as pl

    import polars_imgmeta as im

    frame = pl.DataFrame({"path": paths})
    batches = pl.concat([frame[i : i + 64] for i in range(0, len(frame), 64)], rechunk=False)
    lazy = im.extract(batches.lazy(), "path", properties.split(","))
    return lambda: lazy.collect(engine="streaming")


def again(paths: Sequence[str]) -> Run:
    """Extract a second time, when nothing is missing."""
    import polars as pl

    import polars_imgmeta as im

    done = im.extract(pl.DataFrame({"path": paths}), "path")
    return lambda: im.extract(done, "path")


def remove(paths: Sequence[str]) -> Run:
    """Remove four properties."""
    import polars as pl

    import polars_imgmeta as im

    done = im.extract(pl.DataFrame({"path": paths}), "path")
    return lambda: im.remove(done, "geometry")


def repeated(paths: Sequence[str]) -> Run:
    """Extract all nine properties of a frame in which each image occurs 100 times."""
    import polars as pl

    import polars_imgmeta as im

    few = pl.DataFrame({"path": paths[: max(1, len(paths) // 100)]})
    frame = pl.concat([few] * 100)
    return lambda: im.extract(frame, "path")


def bare(paths: Sequence[str]) -> Run:
    """Compute the nine properties by the same calls of OpenCV and NumPy, without frames."""
    import cv2
    import numpy as np

    def compute(path: str) -> list[Any]:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        colours = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert colours is not None
        rows, columns = colours.shape[:2]
        grey = cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)
        mean, deviation = cv2.meanStdDev(grey)
        edges = cv2.countNonZero(cv2.Canny(grey, 100, 200))
        half = columns // 2
        mirrored = cv2.flip(grey[:, columns - half :], 1)
        asymmetry = cv2.norm(grey[:, :half], mirrored, cv2.NORM_L2SQR)
        packed = cv2.cvtColor(colours, cv2.COLOR_BGR2BGRA).view(np.uint32).ravel()
        ordered = np.sort(packed)
        ends = np.flatnonzero(ordered[1:] != ordered[:-1])
        fractions = np.diff(ends, prepend=-1, append=ordered.size - 1) / ordered.size
        entropy = -(fractions * np.log2(fractions)).sum()
        return [columns, rows, mean, deviation, edges, asymmetry, entropy]

    return _in_threads(compute, paths)


def bare_five(paths: Sequence[str]) -> Run:
    """Compute five properties of greys by the calls of OpenCV and NumPy, without frames."""
    import cv2
    import numpy as np

    def compute(path: str) -> list[Any]:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        colours = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert colours is not None
        grey = cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)
        mean, deviation = cv2.meanStdDev(grey)
        edges = cv2.countNonZero(cv2.Canny(grey, 100, 200))
        half = grey.shape[1] // 2
        mirrored = cv2.flip(grey[:, grey.shape[1] - half :], 1)
        asymmetry = cv2.norm(grey[:, :half], mirrored, cv2.NORM_L2SQR)
        counts = cv2.calcHist([grey], [0], None, [256], [0, 256])
        fractions = counts[counts > 0] / grey.size
        entropy = -(fractions * np.log2(fractions)).sum()
        return [mean, deviation, edges, asymmetry, entropy]

    return _in_threads(compute, paths)


def decode(paths: Sequence[str]) -> Run:
    """Decode colours by OpenCV and do nothing else: the lower bound."""
    import cv2
    import numpy as np

    def decode_one(path: str) -> int:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture is not None
        return picture.size

    return _in_threads(decode_one, paths)


def polars_cv(paths: Sequence[str]) -> Run:
    """Compute five properties by polars-cv, in one graph that decodes once."""
    import polars as pl
    from polars_cv import Pipeline

    path: Any = pl.col("path")
    grey = path.cv.pipe(Pipeline().source("file_path").grayscale())
    edges = Pipeline().canny(low_threshold=100, high_threshold=200).reduce_mean()
    difference = grey.subtract(grey.pipe(Pipeline().flip_h()).alias("mirrored"))
    parts = {
        "mean": grey.pipe(Pipeline().reduce_mean()),
        "deviation": grey.pipe(Pipeline().reduce_std()),
        "histogram": grey.pipe(Pipeline().histogram(bins=256, output="counts")),
        "edges": grey.pipe(edges),
        "asymmetry": difference.pipe(Pipeline().square().reduce_mean()),
    }
    first, *others = (part.alias(name) for name, part in parts.items())
    graph = first.merge_pipe(*others).sink(dict.fromkeys(parts, "native"))
    frame = pl.DataFrame({"path": paths})
    return lambda: frame.select(graph.alias("properties"))


def polars_cv_header(paths: Sequence[str]) -> Run:
    """Read width, height, channels and depth by polars-cv, from the headers."""
    import polars as pl
    import polars_cv  # noqa: F401 - registers the namespace

    path: Any = pl.col("path")
    frame = pl.DataFrame({"path": paths})
    return lambda: frame.select(path.cv.image_info())


def cleanvision(paths: Sequence[str]) -> Run:
    """Find six issues of single images by CleanVision, in its default number of processes."""
    from cleanvision import Imagelab

    names = ("dark", "light", "blurry", "low_information", "odd_aspect_ratio", "odd_size")
    issues: dict[str, dict[str, object]] = {name: {} for name in names}
    return lambda: Imagelab(filepaths=list(paths)).find_issues(issues, verbose=False)


def imagesize(paths: Sequence[str]) -> Run:
    """Read width and height by imagesize, in a loop."""
    from imagesize import get

    return lambda: [get(path) for path in paths]


def pillow_header(paths: Sequence[str]) -> Run:
    """Read width and height by Pillow, in a loop."""
    from PIL import Image

    def size(path: str) -> tuple[int, int]:
        with Image.open(path) as image:
            return image.size

    return lambda: [size(path) for path in paths]


def _in_threads(function: Callable[[str], object], paths: Sequence[str]) -> Run:
    pool = ThreadPoolExecutor(int(os.environ.get("POLARS_MAX_THREADS") or os.cpu_count() or 1))
    return lambda: list(pool.map(function, paths))


CONTESTANTS: dict[str, Callable[..., Run]] = {
    function.__name__: function
    for function in (
        eager,
        streaming,
        again,
        remove,
        repeated,
        bare,
        bare_five,
        decode,
        polars_cv,
        polars_cv_header,
        cleanvision,
        imagesize,
        pillow_header,
    )
}


def main() -> None:
    """Run once for each line of standard input."""
    # Some contestants print: keep standard output for the times.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    name, file = sys.argv[1:]
    name, _, argument = name.partition("=")
    paths = Path(file).read_text(encoding="utf-8").splitlines()
    run = CONTESTANTS[name](paths, *[argument] * bool(argument))
    run()
    print("ready", file=output, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print(time.perf_counter() - started, file=output, flush=True)


if __name__ == "__main__":
    main()
