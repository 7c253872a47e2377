"""Thumbnails: small copies of pictures as `data:` URIs, to embed in pages.

They show the picture that properties are computed from: the first frame, upright and in
8 bits.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.column.deduplication import Images, parts_of
from polars_imgmeta.decoding.formats import webp
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.display.locator_lookup import LocatorLookup
from polars_imgmeta.execution import scheduler
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImagePrefetcher, Requests
from polars_imgmeta.sandbox.measurement import measure_all

DEFAULT_SIDE: Final = 96
# Of 100; the next one where a detailed picture would take too many bytes. WebP takes half
# the bytes of a JPEG of equal quality.
_QUALITIES = (75, 30, 5)
# Pages enlarge pictures of few pixels, where a loss would be seen.
_TINY: Final = 64
_LOSSLESS: Final = 101
_MOST_BYTES = 9_000
# A tooltip as wide as a long path would not fit the window.
_LONGEST_NAME: Final = 48
_DEFAULT: Final = Reading()


def data_uris(
    column: pl.Series, side: int = DEFAULT_SIDE, *, reading: Reading = _DEFAULT
) -> list[str | None]:
    """Make thumbnails on the shared threads; an image that occurs several times is read once.

    Args:
        column: Locators.
        side: The maximum width and height in pixels; smaller pictures are not enlarged.
        reading: How images are read.

    Returns:
        For each row a WebP image as a `data:` URI, or None without a readable image.

    Examples:
        >>> uris = data_uris(pl.Series(["photos/dusk.png", "photos/gone.png", None]))
        >>> [uri and uri[:23] for uri in uris]
        ['data:image/webp;base64,', None, None]
    """
    images = Images(parts_of(column))
    uris: list[str | None] = [None] * len(images)

    wanted = PropertySet([_thumbnail(side)])
    for results in scheduler.run(
        partial(measure_all, reading=reading),
        Requests(images, [wanted] * len(images)),
        prefetcher=ImagePrefetcher.of(reading, images.remote),
    ):
        for number, measurement in results:
            uris[number] = measurement.values.get("thumbnail")
    return [None if number is None else uris[number] for number in images.numbers]


def add_thumbnails(
    rows: pl.DataFrame, lookup: LocatorLookup, pictured: pl.Series, *, reading: Reading
) -> pl.DataFrame:
    """Add thumbnails to the rows where `pictured` is true, in `image`.

    It is a `data:` URI or an empty text. The key in `locator` becomes the locator's text.
    """
    keys = rows["locator"]
    found = lookup.find(keys, pictured=keys.filter(pictured))
    uris = data_uris(found.select(pl.when(pictured).then("locator"))["locator"], reading=reading)
    # Vega would load a null as the address "null".
    image = pl.Series("image", uris, dtype=pl.String).fill_null("")
    text = pl.col("text")
    shortened = "…" + text.str.tail(_LONGEST_NAME - 1)
    fits = text.str.len_chars() <= _LONGEST_NAME
    names = found.select(locator=pl.when(fits).then(text).otherwise(shortened))["locator"]
    return rows.with_columns(image, names.fill_null(""))


def add_examples(
    tables: Sequence[pl.DataFrame],
    lookups: Mapping[str, LocatorLookup | None],
    most: int,
    *,
    reading: Reading,
) -> list[pl.DataFrame]:
    """Add thumbnails to the bins of distributions, the outermost first.

    Args:
        tables: Of `group`, `depth` and the key in `locator`, which becomes the locator's text.
        lookups: The locators of each group, or None.
        most: The maximum number of thumbnails.
        reading: How images are read.
    """
    keys = [
        table.select("group", "depth", "locator", table=pl.lit(number), row=pl.int_range(pl.len()))
        for number, table in enumerate(tables)
    ]
    bins = pl.concat(keys).drop_nulls("locator")
    bins = bins.with_columns(pictured=pl.col("depth").rank("ordinal") <= most)
    found = []
    for lookup in dict.fromkeys(lookups.values()):
        names = [name for name, other in lookups.items() if other is lookup]
        part = bins.filter(pl.col("group").is_in(names))
        if lookup and len(part):
            added = add_thumbnails(part, lookup, part["pictured"], reading=reading)
            found.append(added.select("table", "row", "locator", "image"))
    plain = [table.drop("depth", "locator") for table in tables]
    if not found:
        return plain
    shown = pl.concat(found)
    return [
        table.with_row_index("row")
        .join(
            shown.filter(table=number).drop("table").cast({"row": pl.get_index_type()}),
            on="row",
            how="left",
            maintain_order="left",
        )
        .drop("row")
        .with_columns(pl.col("locator", "image").fill_null(""))
        for number, table in enumerate(plain)
    ]


def _thumbnail(side: int) -> Property:
    """Return the property of an image to have a thumbnail, so that it is made like others."""
    description = "Thumbnail as a `data:` URI"
    kernel = partial(_make_thumbnail, side)
    return Property("thumbnail", pl.String(), "picture", "", None, None, description, kernel)


def _make_thumbnail(side: int, picture: Picture) -> str:
    encoded = _encode_webp(shrink(picture, side))
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")


def size_of(uri: str) -> tuple[int, int]:
    """Return the width and height of a thumbnail in pixels.

    Examples:
        >>> [uri] = data_uris(pl.Series(["photos/dusk.png"]), 40)
        >>> size_of(uri)
        (40, 30)
    """
    geometry = webp.read_geometry(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert geometry is not None  # noqa: S101 - `data_uris` made it
    return geometry.size


def shrink(picture: Picture, side: int) -> Picture:
    """Shrink a picture to fit into a square; a smaller one stays as it is.

    Args:
        picture: Of shape (rows, columns, 3).
        side: The maximum width and height in pixels; the minimum is 1.

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


def _encode_webp(small: Picture) -> bytes:
    encoded = b""
    for quality in (_LOSSLESS,) * (max(small.shape) <= _TINY) + _QUALITIES:
        encoded = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        if len(encoded) <= _MOST_BYTES:
            break
    return encoded
