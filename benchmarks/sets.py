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


@contextmanager
def photos(folder: Path | None, count: int) -> Iterator[list[str]]:
    """Yield the paths of images in a folder, or of generated JPEGs of 0.3 megapixels."""
    if folder is not None:
        files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
        yield files[:count]
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield write(Path(temporary), count, 480, 640)
