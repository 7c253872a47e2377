"""One image: from its locator to the values of its properties.

The one place where a failure of an image turns from an exception into data.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from polars_imgmeta import exceptions, headers, locators, pictures
from polars_imgmeta.budget import PixelBudget
from polars_imgmeta.catalogue import CATALOGUE, Property
from polars_imgmeta.typing import PropertyName

_pixels_in_flight = PixelBudget(pictures.DEFAULT_MAX_PIXELS)
_BYTES_OF_A_PIXEL = 16


@dataclass(frozen=True, slots=True)
class Measurement:
    """The properties of one image.

    Attributes:
        values: The property values; those of an unreadable part are missing.
        error: Why some are missing, or None where none is.
    """

    values: dict[PropertyName, float]
    error: exceptions.ImageError | None


def measure(locator: str, names: Sequence[PropertyName], *, max_pixels: int) -> Measurement:
    """Read one image once and compute its properties.

    Args:
        locator: Where the image is.
        names: The properties; the header answers `shape` ones without decoding.
        max_pixels: Pictures of more pixels are not decoded.

    Returns:
        The values and, where some are missing, the reason. Nothing that the
        image or its place does wrong is raised.
    """
    properties = [CATALOGUE[name] for name in names]
    values: dict[PropertyName, float] = {}
    try:
        _measure_into(values, locator, properties, max_pixels)
    except exceptions.ImageError as error:
        return Measurement(values, _bare(error))
    except OSError as error:  # from reading; opening maps its own
        return Measurement(values, exceptions.from_os_error(error))
    except MemoryError as error:
        return Measurement(values, exceptions.from_decoder_error(error, what="the data"))
    return Measurement(values, None)


def _bare(error: exceptions.ImageError) -> exceptions.ImageError:
    """The same without a traceback, which would keep the image in memory."""
    return type(error)(str(error))


def _measure_into(
    values: dict[PropertyName, float],
    locator: str,
    properties: Sequence[Property],
    max_pixels: int,
) -> None:
    """Fill in values one after the other, so that a failure keeps the ones before."""
    of_shape = [row for row in properties if row.need == "shape"]
    of_pixels = [row for row in properties if row.need != "shape"]
    with locators.open_image(locator) as stream:
        header = headers.read_header(stream)
        for row in of_shape:
            values[row.name] = row.kernel(header.shape)
        if not of_pixels:
            return
        pixels = header.width * header.height * header.weight
        if pixels > max_pixels:
            counted = f", which count {header.weight} times," if header.weight > 1 else ""
            msg = (
                f"{header.width} x {header.height} pixels{counted} are more than"
                f" `max_pixels`, which is {max_pixels}"
            )
            raise exceptions.TooLargeError(msg)
        # Of a file that is large for its picture, the bytes count.
        size = stream.seek(0, io.SEEK_END)
        with _pixels_in_flight.hold(max(pixels, size // _BYTES_OF_A_PIXEL)):
            stream.seek(0)
            picture = pictures.read_picture(stream.read(), header)
            intensity = pictures.intensity_of(picture)
            for row in of_pixels:
                values[row.name] = row.kernel(intensity if row.need == "intensity" else picture)
