"""From bytes to a header: what an image says of itself before its pixels."""

from __future__ import annotations

import math
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

from PIL import ExifTags, Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import jxl, pam, png
from polars_imgmeta.decoding.formats.opencv_only import read_opencv_header
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.formats.quick import read_quick_header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.io.sources import Source

Decoder: TypeAlias = Literal["opencv", "pillow"]

# Formats whose pixels OpenCV reads rightly and faster; of BMP it gets 16 bits wrong.
_OPENCV_FORMATS = frozenset({"JPEG", "MPO", "PNG", "WEBP"})
# Of animations it reads damaged first frames without noticing.
_OPENCV_STILLS_ONLY = frozenset({"PNG", "WEBP"})

# Decoded by Python, a second for each million pixels, of which a byte can make 62.
_SLOW = {"QOI": 8}
# Icons are decoded while they are opened, when nothing is known of them; Pillow
# refuses from twice as many pixels.
_ICONS = frozenset({b"\0\0\1\0", b"\0\0\2\0", b"icns"})
_MOST_ICON_PIXELS = 1 << 21
# What a field of the catalogue holds.
_LONGEST = (1 << 31) - 1
# The start of a codestream, whose marker of sizes has the depth.
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"
_JPEG2000_HEADER_BYTES = 1 << 16
_DEEPEST = (1 << 16) - 1
_KNOWN_ORIENTATIONS = frozenset(range(2, 9))
_SIDEWAYS = frozenset(range(5, 9))


class Header(NamedTuple):
    """What an image says of itself before its pixels.

    Attributes:
        format: The name of the format, as Pillow calls it.
        width: Columns of the picture as shown, with its orientation applied.
        height: Rows of the picture as shown.
        orientation: The EXIF orientation that the stored pixels still have, 1
            to 8.
        decoder: Which library reads the pixels; Pillow also where OpenCV fails.
        weight: How many usual pixels one counts for, in memory or time.
    """

    format: str
    width: int
    height: int
    orientation: int
    decoder: Decoder
    weight: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return self.height, self.width


def read_header(source: Source) -> Header:
    """Read the header of an image, without decoding pixels.

    Args:
        source: The image.

    Returns:
        Format, geometry as shown, and orientation. Broken metadata counts as
        none.

    Raises:
        UnsupportedError: If the content is of no known format.
        CorruptError: If it is, and the header is damaged, or if it is empty.
    """
    if quick := read_quick_header(source):
        return _upright(quick.format, quick.size, quick.orientation, "opencv")
    stream = source.stream()
    icon = source.start[:4] in _ICONS
    with isolated(most_pixels=_MOST_ICON_PIXELS if icon else math.inf):
        # Its plug-in would decode the pixels to tell their size.
        if found := jxl.read_size(stream):
            return _upright("JXL", found[:2], found[2], "pillow")
        if size := pam.read_size(stream):
            return _upright("PAM", size, 1, "pillow")
        try:
            image = open_with_pillow(stream)
        except exceptions.ImageError:
            shown = read_opencv_header(stream)
            if shown is None:
                raise
            size = (shown.width, shown.height)
            return _upright(shown.format, size, 1, "pillow", shown.weight)
        decoder: Decoder = "opencv" if _suits_opencv(image, stream) else "pillow"
        if image.format == "PNG":
            chunks = list(png.read_chunks(source, stream))
            # OpenCV believes any declared length, and makes room for it.
            if not chunks or chunks[-1].name != b"IEND":
                decoder = "pillow"
            image.info.update(png.info_after_pixels(stream, chunks))
        orientation = _orientation(image)
    name = "JPEG" if image.format == "MPO" else str(image.format)
    return _upright(name, image.size, orientation, decoder, _SLOW.get(name, 1))


def _upright(
    name: str,
    stored_size: tuple[int, int],
    orientation: int,
    decoder: Decoder,
    weight: int = 1,
) -> Header:
    width, height = stored_size[::-1] if orientation in _SIDEWAYS else stored_size
    if not (0 < width <= _LONGEST and 0 < height <= _LONGEST):
        msg = f"the header of this {name} image tells {width} x {height} pixels"
        raise exceptions.CorruptError(msg)
    return Header(name, width, height, orientation, decoder, weight)


def _suits_opencv(image: ImageFile.ImageFile, stream: BinaryIO) -> bool:
    if image.format in _OPENCV_STILLS_ONLY and getattr(image, "is_animated", False):
        return False
    if image.mode in {"RGB", "RGBA"} and image.format in {"JPEG2000", "PPM"}:
        return _is_deep(image, stream)
    return image.format in _OPENCV_FORMATS


def _is_deep(image: ImageFile.ImageFile, stream: BinaryIO) -> bool:
    """Whether colours have more bits than Pillow reduces rightly."""
    if image.format == "PPM":  # it would round, where the high byte is asked for
        arguments = image.tile[0].args if image.tile else None
        return isinstance(arguments, tuple) and arguments[-1] == _DEEPEST
    # It would round, and overflow.
    stream.seek(0)
    start = stream.read(_JPEG2000_HEADER_BYTES)
    place = start.find(_JPEG2000_SIZE)
    depth = start[place + 42 : place + 43] if place >= 0 else b""
    return bool(depth) and (depth[0] & 0x7F) + 1 > 8  # noqa: PLR2004


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation that the pixels still have; 1 where it is none or broken."""
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        # Not the method of the PNG plug-in, which would decode the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        return int(value) if value in _KNOWN_ORIENTATIONS else 1
    except Exception:  # noqa: BLE001 - broken metadata never fails a readable picture
        return 1
