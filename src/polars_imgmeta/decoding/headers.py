"""Headers: format, geometry and orientation of an image, read without decoding pixels."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import BinaryIO, Literal, NamedTuple, TypeAlias, cast

from PIL import Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import (
    gif,
    heif,
    ico,
    jpeg2000,
    jxl,
    jxl_frames,
    netpbm,
    png,
    tiff,
    webp,
)
from polars_imgmeta.decoding.formats.bounded import MAX_BYTES, BoundedStream, LongHeaderError
from polars_imgmeta.decoding.formats.exif import orientation_of
from polars_imgmeta.decoding.formats.jpeg import ARITHMETIC_FRAMES, read_segments
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

# Decoders in Python take up to a second a megapixel, and few bytes can encode many pixels.
_PYTHON_WEIGHT = 8
# Arithmetic coding, which hardly any writer uses, takes four times as long to decode.
_ARITHMETIC_WEIGHT = 4
# For a JPEG 2000 whose header does not declare what decoding takes.
_JPEG2000_WEIGHT = 2
_BYTES_PER_PIXEL = 16
# OpenCV reads no side as long; Pillow keeps a pointer for each row, twice where it converts.
_FEW_COLUMNS, _MANY_ROWS, _COLUMN_WEIGHT = 2, 1 << 20, 2
# Pillow decodes odd icons while opening them, before their size can be checked; it refuses
# twice this number of pixels.
_ICON_SIGNATURES = frozenset({b"\0\0\1\0", b"\0\0\2\0", b"icns"})
_MAX_ICON_PIXELS = 1 << 21
# `width` and `height` are Int32.
_MAX_SIDE = (1 << 31) - 1
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SCAN = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
_TILE_TAGS = (322, 323)  # of a TIFF: width and height
_RAW_EXIF = "Raw profile type exif"
_TRANSPOSED = frozenset(range(5, 9))
# No image is as small.
_MIN_BYTES = 4


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
        plain_start: The bytes up to the pixels of a JPEG, or all of a small PNG, if the pixels are
            known to need all of them; else none.
    """

    format: str
    width: int
    height: int
    orientation: int
    decoder: Decoder
    weight: int = 1
    plain_start: bytes = b""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return self.height, self.width

    def is_plain(self, data: bytes) -> bool:
        """Whether OpenCV may see an image as it is, because it begins, or is, as `plain_start`."""
        start = self.plain_start
        known = self.format == "JPEG" or len(data) == len(start)
        return bool(start) and known and data.startswith(start)

    @property
    def codec(self) -> str:
        """The decoder of the pixels, for messages."""
        return f"the {self.format} decoder of {_LIBRARIES[self.decoder]}"


def read_header(source: Source) -> Header:
    """Read the header of an image, without decoding pixels.

    Broken metadata are treated as absent. The work is bounded, whatever the file.

    Raises:
        UnsupportedError: If the format is unknown.
        CorruptError: If the header is damaged or the content is empty.
        TooLargeError: If the header takes more than its share of work.
    """
    if header := _known_header(source) or _ordinary_header(source):
        return header
    if 0 < source.size < _MIN_BYTES:
        msg = "not an image of a known format"
        raise exceptions.UnsupportedError(msg)
    if own := _read_own(_bounded(source)):
        return own
    icon = source.start[:4] in _ICON_SIGNATURES
    with isolated(max_pixels=_MAX_ICON_PIXELS if icon else math.inf):
        try:
            if source.start.startswith(_JPEG):
                return _read_jpeg(source)
            if source.start.startswith(_PNG):
                return _read_png(source)
            return _read_other(source)
        except LongHeaderError:
            raise
        except exceptions.ImageError:
            other = read_opencv_header(_bounded(source))
            if other is None:
                raise
            size = (other.width, other.height)
            return _make_header(other.format, size, 1, "pillow", other.weight)


# Of any thread. Small JPEGs of one encoder and size begin with the same bytes.
_latest_plain: Header | None = None


def _known_header(source: Source) -> Header | None:
    """Return the header of the latest plain JPEG, if this one begins with the same bytes."""
    latest = _latest_plain
    if latest is None or source.size < len(latest.plain_start):
        return None
    return latest if source.start.startswith(latest.plain_start) else None


def _ordinary_header(source: Source) -> Header | None:
    """Read the header of an image of the ordinary kind, or return None."""
    global _latest_plain  # noqa: PLW0603 - see there
    quick = read_quick_header(source)
    if quick is None:
        return None
    decoder: Decoder = "opencv" if quick.suits_opencv else "pillow"
    header = _make_header(
        quick.format, quick.size, quick.orientation, decoder, plain_start=quick.plain_start
    )
    if header.plain_start and header.format == "JPEG":
        _latest_plain = header
    return header


def _bounded(source: Source) -> BinaryIO:
    return cast("BinaryIO", BoundedStream(source.stream()))


def _read_own(stream: BinaryIO) -> Header | None:
    """Read a format for whose header Pillow is not needed, or return None."""
    # Pillow's JPEG XL plug-in would decode the pixels to determine their size.
    if jpeg_xl := jxl.read_header(stream):
        weight = jpeg_xl.weight * jxl_frames.weight_of_frames(stream, jpeg_xl)
        return _make_header("JXL", jpeg_xl.size, jpeg_xl.orientation, "pillow", weight)
    if container := heif.read_geometry(stream):
        weight = max(1, container.decoded // max(1, math.prod(container.size)))
        return _make_header(container.name, container.size, container.orientation, "pillow", weight)
    if found := webp.read_geometry(stream):
        decoder: Decoder = "opencv" if found.suits_opencv else "pillow"
        return _make_header("WEBP", found.size, found.orientation, decoder)
    if portable := netpbm.read_map(stream):
        return _make_header(portable.name, (portable.width, portable.height), 1, "own")
    for name, read_size in (("GIF", gif.read_size), ("ICO", ico.read_size)):
        if size := read_size(stream):
            # The pictures of an icon may be of any kind that Pillow decodes in Python.
            weight = _PYTHON_WEIGHT if name == "ICO" else 1
            return _make_header(name, size, 1, "pillow", weight)
    return None


def _read_jpeg(source: Source) -> Header:
    """Read an unusual JPEG: Pillow judges the segments of the pixels, and sees no others."""
    stream = BoundedStream(source.stream())
    found = read_segments(_reader(cast("BinaryIO", stream)))
    if stream.exhausted:
        raise _too_long()
    scan = b"" if found.scan is None else _SCAN
    # With a fill byte, so that even an empty one begins like a JPEG.
    image = open_with_pillow(io.BytesIO(_JPEG + found.pixels[2:] + scan))
    orientation = orientation_of(found.exif, found.xmp)
    # Of CMYK, OpenCV's conversion is coarser.
    decoder: Decoder = "pillow" if image.mode == "CMYK" else "opencv"
    weight = 1 if found.frames.isdisjoint(ARITHMETIC_FRAMES) else _ARITHMETIC_WEIGHT
    return _make_header("JPEG", image.size, orientation, decoder, weight)


def _read_png(source: Source) -> Header:
    """Read an unusual PNG, without most of its texts, each of which may be compressed."""
    stream = source.stream()
    chunks = list(png.read_chunks(source, stream))
    if png.has_much_metadata(chunks):
        image = open_with_pillow(io.BytesIO(png.rebuild_header(stream, chunks)))
    else:
        image = _open(source)
    # OpenCV reads neither animations correctly nor files without an end.
    animated = getattr(image, "is_animated", False)
    complete = bool(chunks) and chunks[-1].name == b"IEND"
    image.info.update(png.info_after_pixels(stream, chunks))
    decoder: Decoder = "opencv" if complete and not animated else "pillow"
    return _make_header("PNG", image.size, _orientation(image), decoder)


def _read_other(source: Source) -> Header:
    """Read what only Pillow knows."""
    image = _open(source, tiff.patches(_bounded(source)))
    name = str(image.format)
    # Pillow's plug-in for IM takes 1e3 for a number of columns, and does not decode it.
    if not all(isinstance(side, int) for side in image.size):
        msg = f"the header of this {name} image declares {image.width} x {image.height} pixels"
        raise exceptions.CorruptError(msg)
    if name == "JPEG2000":
        return _read_jpeg2000(source, image)
    # Decoders in Python are slow.
    weight = _PYTHON_WEIGHT if any(tile[0] in Image.DECODERS for tile in image.tile[:1]) else 1
    if name == "TIFF":
        width, height = (image.tag_v2.get(tag) for tag in _TILE_TAGS)  # type: ignore[attr-defined]
        if isinstance(width, int) and isinstance(height, int):
            weight = tiff.weight_of_tile((width, height), image.width * image.height)
        strips = tiff.weight_of_strips(_bounded(source), image.width * image.height)
        weight = max(weight, strips)
    return _make_header(name, image.size, _orientation(image), "pillow", weight)


def _read_jpeg2000(source: Source, image: ImageFile.ImageFile) -> Header:
    """Add to what Pillow knows what the pixels cost.

    Colours of more than 8 bits OpenCV decodes: Pillow rounds, and overflows.
    """
    stream = jpeg2000.read_codestream(_reader(_bounded(source)))
    if stream is None:  # its pixels will not be decoded
        return _make_header("JPEG2000", image.size, 1, "pillow", _JPEG2000_WEIGHT)
    deep = stream.bits > 8 and image.mode in {"RGB", "RGBA"}  # noqa: PLR2004
    weight = stream.weight(image.width * image.height, _BYTES_PER_PIXEL)
    return _make_header("JPEG2000", image.size, 1, "opencv" if deep else "pillow", weight)


def _reader(stream: BinaryIO) -> Callable[[int, int], bytes]:
    def read(position: int, length: int) -> bytes:
        stream.seek(position)
        return stream.read(length)

    return read


def _open(source: Source, patches: Mapping[int, bytes] | None = None) -> ImageFile.ImageFile:
    """Open an image with Pillow, which sees as much of it as a header may take."""
    stream = BoundedStream(source.stream(), patches)
    try:
        return open_with_pillow(cast("BinaryIO", stream))
    except exceptions.ImageError:
        if stream.exhausted:
            raise _too_long() from None
        raise


def _too_long() -> LongHeaderError:
    msg = f"the header takes more than {MAX_BYTES} bytes"
    return LongHeaderError(msg)


def _make_header(
    name: str,
    stored_size: tuple[int, int],
    orientation: int,
    decoder: Decoder,
    weight: int = 1,
    *,
    plain_start: bytes = b"",
) -> Header:
    width, height = stored_size[::-1] if orientation in _TRANSPOSED else stored_size
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        msg = f"the header of this {name} image declares {width} x {height} pixels"
        raise exceptions.CorruptError(msg)
    if stored_size[0] <= _FEW_COLUMNS and stored_size[1] > _MANY_ROWS and decoder != "own":
        weight = max(weight, _COLUMN_WEIGHT)
    return Header(name, width, height, orientation, decoder, weight, plain_start)


def _orientation(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation to be applied; 1 where it is absent or broken."""
    if image.format == "TIFF":  # Pillow applies it while loading
        return 1
    info = image.info
    exif, xmp = info.get("exif"), info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    try:
        if exif is None and _RAW_EXIF in info:
            exif = bytes.fromhex("".join(info[_RAW_EXIF].split("\n")[3:]))
        return orientation_of(exif or b"", xmp.encode() if isinstance(xmp, str) else xmp)
    except (AttributeError, TypeError, ValueError):  # broken metadata
        return 1
