"""Small sample images, drawn instead of shipped."""

from __future__ import annotations

import io
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
    for name, data in draw_samples().items():
        (folder / name).write_bytes(data)


def draw_samples() -> dict[str, bytes]:
    """Return a dozen encoded images by file name, some of them corrupt."""
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
    drawn = {f"{name}.png": _encode(pixels, "png") for name, pixels in pictures.items()}
    rotated = Image.Exif()
    rotated[ExifTags.Base.Orientation] = _ROTATED_CLOCKWISE
    return drawn | {
        "portrait.jpg": _encode(pictures["dawn"], "jpeg", exif=rotated),
        "truncated.png": drawn["noise.png"][: len(drawn["noise.png"]) // 2],
        "notes.jpg": b"Not an image, whatever the name says.\n",
        "empty.jpg": b"",
    }


def _encode(pixels: NDArray[np.integer[Any]], form: str, exif: Image.Exif | None = None) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, form, exif=exif or Image.Exif())
    return file.getvalue()


def _grey(values: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    return np.dstack([values] * 3)


def _blurred(pixels: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    blurred = np.asarray(cv2.GaussianBlur(pixels, (0, 0), radius), np.float64)
    minimum, maximum = blurred.min(), blurred.max()
    stretched: NDArray[np.float64] = (blurred - minimum) * 255 / (maximum - minimum)
    return stretched.astype(np.uint8)
