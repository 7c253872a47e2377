"""From bytes to a picture, as a viewer shows it.

OpenCV decodes where it is right and fast, Pillow what OpenCV cannot read or gets
wrong. Orientation is left to neither: it comes with the header and is applied
here.
"""

from __future__ import annotations

import io
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polars_imgmeta import exceptions
from polars_imgmeta.headers import Header
from polars_imgmeta.opencv import cv2
from polars_imgmeta.plugins import open_with_pillow
from polars_imgmeta.silence import without_warnings

Picture: TypeAlias = NDArray[np.uint8]
"""What a viewer shows, as `uint8` of shape (rows, columns, 3), in the order BGR."""

DEFAULT_MAX_PIXELS: Final = 2 * 89_478_485
"""The size from which Pillow, unless told otherwise, calls a picture a bomb."""

# EXIF orientation, to be undone by first transposing and then flipping along an
# axis (None: not at all; -1: both).
_UPRIGHT: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


def read_picture(data: bytes, header: Header) -> Picture:
    """Decode the first frame of an image as a viewer shows it.

    Orientation is applied, alpha dropped, a palette expanded, and of 16 bits
    the high byte kept.

    Args:
        data: The image.
        header: Its header.

    Returns:
        Pixels of shape (`header.height`, `header.width`, 3).

    Raises:
        CorruptError: If the pixels are damaged.
        UnsupportedError: If they are of a kind that cannot be shown in 8 bits.
        TooLargeError: If they do not fit into memory.
    """
    stored = _decode_with_opencv(data) if header.decoder == "opencv" else None
    if stored is None:
        with without_warnings():
            stored = _decode_with_pillow(data)
    picture = _upright(stored, header.orientation)
    if picture.shape[:2] != header.shape:
        rows, columns = picture.shape[:2]
        msg = (
            f"the header tells {header.width} x {header.height} pixels,"
            f" the data hold {columns} x {rows}"
        )
        raise exceptions.CorruptError(msg)
    return picture


def intensity_of(picture: Picture) -> NDArray[np.uint8]:
    """Return the grey picture Y, `uint8` of shape (rows, columns)."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def _decode_with_opencv(data: bytes) -> Picture | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def _decode_with_pillow(data: bytes) -> Picture:
    image = open_with_pillow(io.BytesIO(data))
    try:
        image.load()
        return _to_bgr(image)
    except exceptions.ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise almost anything
        raise exceptions.from_decoder_error(error, what="the pixels") from None


def _to_bgr(image: Image.Image) -> Picture:
    # Pillow itself would clip 16 bits at 255; a viewer shows the high byte.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if image.mode in {"F", "I"}:
        msg = f"pixels of {'floating-point' if image.mode == 'F' else '32-bit'} samples"
        raise exceptions.UnsupportedError(msg)
    try:
        colours = np.asarray(image.convert("RGB"))
    except ValueError:
        msg = f"pixels of mode {image.mode} cannot be converted to RGB"
        raise exceptions.UnsupportedError(msg) from None
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _upright(stored: Picture, orientation: int) -> Picture:
    if orientation not in _UPRIGHT:
        return stored
    transpose, axis = _UPRIGHT[orientation]
    picture = cv2.transpose(stored) if transpose else stored
    if axis is not None:
        picture = cv2.flip(picture, axis)
    return picture.astype(np.uint8, copy=False)
