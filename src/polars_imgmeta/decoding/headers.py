"""Headers: format, geometry and orientation of an image, read without decoding pixels."""

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

Decoder: TypeAlias = Literal["opencv", "pillow", "own"]
_LIBRARIES: dict[Decoder, str] = {
    "opencv": "OpenCV",
    "pillow": "Pillow",
    "own": "polars-imgmeta",
}

# Formats that OpenCV decodes correctly and faster than Pillow. Not BMP: it scales 16 bits wrongly.
_OPENCV_FORMATS = frozenset({"JPEG", "MPO", "PNG", "WEBP"})
# In animations of these formats OpenCV does not detect a damaged first frame.
_OPENCV_STILLS_ONLY = frozenset({"PNG", "WEBP"})

# Pillow decodes QOI in Python, at about a second per megapixel; one byte can encode 62 pixels.
_WEIGHTS = {"QOI": 8}
# Pillow decodes icons while opening them, before their size can be checked; it refuses
# twice this number of pixels.
_ICON_SIGNATURES = frozenset({b"\0\0\1\0", b"\0\0\2\0", b"icns"})
_MAX_ICON_PIXELS = 1 << 21
# `width` and `height` are Int32.
_MAX_SIDE = (1 << 31) - 1
# Start of codestream, followed by the SIZ marker segment, which holds the bit depth.
_JPEG2000_SIZ = b"\xff\x4f\xff\x51"
_JPEG2000_HEADER_BYTES = 1 << 16
_MAX_PPM_SAMPLE = (1 << 16) - 1
_TRANSFORMED = frozenset(range(2, 9))
_TRANSPOSED = frozenset(range(5, 9))


class Header(NamedTuple):
    """The header of an image.

    Attributes:
        format: Pillow's name of the format.
        width: Columns of the picture, with orientation applied.
        height: Rows of the picture, with orientation applied.
        orientation: The EXIF orientation still to be applied to the decoded
            pixels, 1 to 8.
        decoder: What decodes the pixels; Pillow is the fallback of OpenCV.
        weight: Cost of a pixel in memory or time, as a multiple of an 8-bit pixel's.
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

    @property
    def codec(self) -> str:
        """The decoder of the pixels, for messages."""
        return f"the {self.format} decoder of {_LIBRARIES[self.decoder]}"


def read_header(source: Source) -> Header:
    """Read the header of an image, without decoding pixels.

    Broken metadata are treated as absent.

    Raises:
        UnsupportedError: If the format is unknown.
        CorruptError: If the header is damaged or the content is empty.
    """
    if quick := read_quick_header(source):
        return _make_header(quick.format, quick.size, quick.orientation, "opencv")
    stream = source.stream()
    icon = source.start[:4] in _ICON_SIGNATURES
    with isolated(max_pixels=_MAX_ICON_PIXELS if icon else math.inf):
        # Pillow's JPEG XL plug-in would decode the pixels to determine their size.
        if found := jxl.read_size(stream):
            return _make_header("JXL", found[:2], found[2], "pillow")
        if size := pam.read_size(stream):
            return _make_header("PAM", size, 1, "own")
        try:
            image = open_with_pillow(stream)
        except exceptions.ImageError:
            other = read_opencv_header(source.stream())  # a plug-in may have closed the other
            if other is None:
                raise
            size = (other.width, other.height)
            return _make_header(other.format, size, 1, "pillow", other.weight)
        decoder: Decoder = "opencv" if _suits_opencv(image, stream) else "pillow"
        if image.format == "PNG":
            chunks = list(png.read_chunks(source, stream))
            # OpenCV allocates whatever length a chunk declares.
            if not chunks or chunks[-1].name != b"IEND":
                decoder = "pillow"
            image.info.update(png.info_after_pixels(stream, chunks))
        orientation = _orientation(image)
    name = "JPEG" if image.format == "MPO" else str(image.format)
    return _make_header(name, image.size, orientation, decoder, _WEIGHTS.get(name, 1))


def _make_header(
    name: str,
    stored_size: tuple[int, int],
    orientation: int,
    decoder: Decoder,
    weight: int = 1,
) -> Header:
    width, height = stored_size[::-1] if orientation in _TRANSPOSED else stored_size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        msg = f"the header of this {name} image tells {width} x {height} pixels"
        raise exceptions.CorruptError(msg)
    return Header(name, width, height, orientation, decoder, weight)


def _suits_opencv(image: ImageFile.ImageFile, stream: BinaryIO) -> bool:
    if image.format in _OPENCV_STILLS_ONLY and getattr(image, "is_animated", False):
        return False
    if image.mode in {"RGB", "RGBA"} and image.format in {"JPEG2000", "PPM"}:
        return _has_deep_colours(image, stream)
    return image.format in _OPENCV_FORMATS


def _has_deep_colours(image: ImageFile.ImageFile, stream: BinaryIO) -> bool:
    """Return whether colours have so many bits that Pillow reduces them wrongly."""
    if image.format == "PPM":  # Pillow rounds; the high byte is wanted
        arguments = image.tile[0].args if image.tile else None
        return isinstance(arguments, tuple) and arguments[-1] == _MAX_PPM_SAMPLE
    # Pillow rounds, and overflows.
    stream.seek(0)
    start = stream.read(_JPEG2000_HEADER_BYTES)
    position = start.find(_JPEG2000_SIZ)
    depth = start[position + 42 : position + 43] if position >= 0 else b""
    return bool(depth) and (depth[0] & 0x7F) + 1 > 8  # noqa: PLR2004


def _orientation(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation to be applied; 1 where it is absent or broken."""
    if image.format == "TIFF":  # Pillow applies it while loading
        return 1
    try:
        # The override of the PNG plug-in would decode the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        return int(value) if value in _TRANSFORMED else 1
    except Exception:  # noqa: BLE001 - broken metadata must not fail a readable picture
        return 1
