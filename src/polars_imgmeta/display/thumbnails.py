"""Small copies of pictures, to be put into pages: as `data:` URIs.

They show what the properties are computed from: the first frame, upright and in
8 bits.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import PropertySet
from polars_imgmeta.column.deduplication import Images, parts_of
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.display.formatting import locator_text
from polars_imgmeta.exceptions import FAILURES
from polars_imgmeta.execution import scheduler
from polars_imgmeta.measuring.measurement import open_picture
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImageLike, ImagePrefetcher, Request, Requests

DEFAULT_SIDE: Final = 96
# Of 100; the next where a busy picture would take too many bytes. WebP takes half
# the bytes of a JPEG that looks as good.
_QUALITIES = (75, 30, 5)
_MOST_BYTES = 9_000
# A tooltip as wide as a path would leave the window, picture first.
_LONGEST_NAME: Final = 48
_DEFAULT: Final = Reading()


def data_uris(
    column: pl.Series,
    side: int = DEFAULT_SIDE,
    *,
    reading: Reading = _DEFAULT,
) -> list[str | None]:
    """Return small copies of pictures, made on the shared pool.

    Args:
        column: What locates the images; each is read once, however often it repeats.
        side: The most pixels that either side of a copy has; a smaller picture is
            not enlarged.
        reading: How images are read.

    Returns:
        For each row a WebP as a `data:` URI; None where there is no image, or none
        that can be read. Nothing that an image or its place does wrong is raised.

    Examples:
        >>> uris = data_uris(pl.Series(["photos/dusk.png", "photos/gone.png", None]))
        >>> [uri and uri[:23] for uri in uris]
        ['data:image/webp;base64,', None, None]
    """
    images = Images(parts_of(column))
    uris: list[str | None] = [None] * len(images)

    def make(requests: Iterator[tuple[int, Request]]) -> Iterator[tuple[int, str | None]]:
        for number, (image, _) in requests:
            yield number, _data_uri(image, side, reading)

    wanted = Requests(images, [PropertySet()] * len(images))
    prefetcher = ImagePrefetcher(reading.storage, images.remote)
    for results in scheduler.run(make, wanted, prefetcher=prefetcher):
        for number, uri in results:
            uris[number] = uri
    return [None if number is None else uris[number] for number in images.numbers]


def beside(rows: pl.DataFrame, *, pictures: int, reading: Reading = _DEFAULT) -> pl.DataFrame:
    """Put small pictures beside some rows, spread evenly.

    Args:
        rows: With a column `locator`, which becomes a short text; if there is none,
            they stay as they are.
        pictures: For how many rows at most.
        reading: How images are read.

    Returns:
        The rows with a column `image`, of `data:` URIs or an empty text.
    """
    if "locator" not in rows.columns or rows.is_empty():
        return rows
    every = -(-len(rows) // pictures)
    chosen = pl.when(pl.int_range(pl.len()) % every == 0).then("locator").alias("chosen")
    uris = data_uris(rows.select(chosen)["chosen"], reading=reading)
    locators = rows["locator"]  # one by one: they may be whole images
    names = [_shorten(locator_text(locators[row])) for row in range(len(rows))]
    # For no picture an empty text: a null becomes the text "null", and is loaded.
    image = pl.Series("image", uris, dtype=pl.String).fill_null("")
    return rows.with_columns(image, pl.Series("locator", names))


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]


def _data_uri(image: ImageLike, side: int, reading: Reading) -> str | None:
    try:
        with open_picture(image, reading) as picture:
            encoded = _encode(shrink(picture, side))
    except (*FAILURES, cv2.error):
        return None
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


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
