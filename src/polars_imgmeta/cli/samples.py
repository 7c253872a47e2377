"""Small sample images, drawn instead of shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from polars_imgmeta.decoding.opencv import cv2

_HEIGHT, _WIDTH = 240, 320
_ROTATED_CLOCKWISE = 6  # EXIF: rotate by 90 degrees clockwise


def make_samples(folder: Path) -> None:
    """Draw a dozen images into a folder, some of them corrupt.

    Args:
        folder: The folder, which is created; files of the same names are overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    rows, columns = np.indices((_HEIGHT, _WIDTH))
    pictures: dict[str, NDArray[np.integer[Any]]] = {
        "blobs": _blurred(noise, 9),
        "carpet": _grey((rows // 16 + columns // 16) % 2 * 255),
        "dawn": np.dstack([rows // 2 + 60, columns // 2 + 80, columns // 4 + 120]),
        "dusk": _grey(np.full_like(rows, 51)),
        "fog": _blurred(noise, 3) // 8 + 190,
        "mirror": np.hstack([noise[:, :160], noise[:, 159::-1]]),
        "noise": noise,
        "window": _grey(np.where((rows % 80 < 8) | (columns % 80 < 8), 20, 230)),  # noqa: PLR2004
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    rotated = Image.Exif()
    rotated[ExifTags.Base.Orientation] = _ROTATED_CLOCKWISE
    Image.fromarray(pictures["dawn"].astype(np.uint8)).save(folder / "portrait.jpg", exif=rotated)
    whole = (folder / "noise.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.jpg").write_text("Not an image, whatever the name says.\n")
    (folder / "empty.jpg").write_bytes(b"")


def _grey(values: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    return np.dstack([values] * 3)


def _blurred(pixels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), radius), np.float64)
    minimum, maximum = blurred.min(), blurred.max()
    stretched: NDArray[np.float64] = (blurred - minimum) * 255 / (maximum - minimum)
    return stretched.astype(np.uint8)
