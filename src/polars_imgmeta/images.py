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
        failure = error
    except OSError as error:  # from reading; opening maps its own
        failure = exceptions.from_os_error(error)
    except MemoryError as error:
        failure = exceptions.from_decoder_error(error, what="the data")
    else:
        return Measurement(values, None)
    # A new one: its traceback would keep the image in memory.
    return Measurement(values, type(failure)(str(failure)))


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
        if not of_pixels:
            header = headers.read_header(stream)
        else:
            data = stream.read()
            header = headers.read_header(io.BytesIO(data))
    for row in of_shape:
        values[row.name] = row.kernel(header.shape)
    if not of_pixels:
        return
    if header.width * header.height > max_pixels:
        msg = (
            f"{header.width} x {header.height} pixels are more than"
            f" `max_pixels`, which is {max_pixels}"
        )
        raise exceptions.TooLargeError(msg)
    with _pixels_in_flight.hold(header.width * header.height):
        picture = pictures.read_picture(data, header)
        intensity = pictures.intensity_of(picture)
        for row in of_pixels:
            values[row.name] = row.kernel(intensity if row.need == "intensity" else picture)
