"""Small copies of pictures, to be put into pages: as `data:` URIs.

They show what the properties are computed from: the first frame, upright and in
8 bits.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from typing import Final

from polars_imgmeta import pictures, workers
from polars_imgmeta.images import FAILURES, open_picture
from polars_imgmeta.opencv import cv2
from polars_imgmeta.pictures import Picture

DEFAULT_SIDE: Final = 96
# Of 100; the next where a busy picture would take too many bytes. WebP takes half
# the bytes of a JPEG that looks as good.
_QUALITIES = (75, 30, 5)
_MOST_BYTES = 9_000


def data_uri(
    locator: str,
    side: int = DEFAULT_SIDE,
    *,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
) -> str | None:
    """Return a small copy of a picture.

    Args:
        locator: Where the image is.
        side: The most pixels that either side of the copy has; a smaller picture
            is not enlarged.
        max_pixels: Pictures of more pixels are not decoded.

    Returns:
        A WebP as a `data:` URI, or None where the picture cannot be read.
        Nothing that the image or its place does wrong is raised.

    Examples:
        >>> data_uri("photos/dusk.png")[:23]
        'data:image/webp;base64,'
        >>> data_uri("photos/gone.png") is None
        True
    """
    try:
        with open_picture(locator, max_pixels=max_pixels) as picture:
            encoded = _encode(shrink(picture, side))
    except (*FAILURES, cv2.error):
        return None
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


def data_uris(
    locators: Sequence[str | None],
    side: int = DEFAULT_SIDE,
    *,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
) -> list[str | None]:
    """Return small copies of many pictures, made on the shared pool.

    Args:
        locators: Where the images are; each is read once, however often it repeats.
        side: As for `data_uri`.
        max_pixels: As for `data_uri`.

    Returns:
        A URI for each locator; None where it is None or cannot be read.

    Examples:
        >>> [uri is None for uri in data_uris(["photos/dusk.png", None])]
        [False, True]
    """
    distinct = list(dict.fromkeys(locator for locator in locators if locator is not None))
    function = partial(data_uri, side=side, max_pixels=max_pixels)
    made = dict(zip(distinct, workers.run(function, distinct), strict=True))
    return [None if locator is None else made[locator] for locator in locators]


def shrink(picture: Picture, side: int) -> Picture:
    """Fit a picture into a square, never enlarging it.

    Args:
        picture: Of shape (rows, columns, 3).
        side: The most pixels of either side; at least 1 stays of each.

    Examples:
        >>> shrink(np.zeros((10, 40, 3), np.uint8), 20).shape
        (5, 20, 3)
    """
    rows, columns = picture.shape[:2]
    longest = max(rows, columns)
    if longest <= side:
        return picture
    size = (max(1, round(columns * side / longest)), max(1, round(rows * side / longest)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(picture.dtype, copy=False)


def _encode(small: Picture) -> bytes:
    encoded = b""
    for quality in _QUALITIES:
        encoded = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        if len(encoded) <= _MOST_BYTES:
            break
    return encoded
