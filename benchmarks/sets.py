"""Sets of pictures for the benchmarks: from a folder, or generated."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def draw(rows: int, columns: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Generate a picture like a photo: patches with soft edges, and grain."""
    coarse = generator.integers(
        0, 232, (max(4, rows // 16), max(4, columns // 16), 3), dtype=np.uint8
    )
    smooth = np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC))
    grain = generator.integers(0, 12, (rows, columns, 1), dtype=np.uint8)
    return (smooth // 2 + 64 + grain).astype(np.uint8)


def write(folder: Path, count: int, rows: int, columns: int, suffix: str = ".jpg") -> list[str]:
    """Write generated pictures, the same ones each time, and return their paths."""
    generator = np.random.default_rng(0)
    paths = [str(folder / f"{number:05}{suffix}") for number in range(count)]
    for path in paths:
        cv2.imwrite(path, draw(rows, columns, generator))
    return paths


def natural(source: Path, folder: Path, count: int, megapixels: float | None) -> list[str]:
    """Write the photos of a folder as JPEG of quality 90, repeated up to a count of files.

    Args:
        source: A folder of photos, in any format that OpenCV reads.
        folder: Where to write.
        count: How many files to write.
        megapixels: The size of each; that of the photo if None.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file())
    paths = [str(folder / f"{number:05}.jpg") for number in range(count)]
    for number, path in enumerate(paths):
        picture = cv2.imread(str(files[number % len(files)]))
        assert picture is not None, files[number % len(files)]
        if megapixels is not None:
            scale = (megapixels * 1e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


@contextmanager
def photos(folder: Path | None, count: int) -> Iterator[list[str]]:
    """Yield the paths of images in a folder, or of generated JPEGs of 0.3 megapixels."""
    if folder is not None:
        files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
        yield files[:count]
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield write(Path(temporary), count, 480, 640)
