"""Headers of ordinary JPEG, PNG and WebP images, parsed without a decoder.

Pillow takes several times as long to open an image as these parsers. Whatever they
find unusual, damaged or merely rare, is left to Pillow, so that they return either
what Pillow would report or nothing.

Sources:
    ITU-T T.81, annex B, for JPEG; ISO/IEC 15948, "Portable Network Graphics";
    RFC 9649, "WebP Image Format"; CIPA DC-008, "Exif".
"""

from __future__ import annotations

import re
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

from polars_imgmeta.decoding.formats import jpeg, webp
from polars_imgmeta.io.sources import Source

_WINDOW_BYTES = 4096
# Enough for the first directory of an Exif segment, which may also hold a thumbnail.
_EXIF_BYTES = 2048
_EXIF_SIGNATURE = b"Exif\0\0"
_ORIENTATION = 274
_SHORT = 3
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}

_JPEG = b"\xff\xd8\xff"
# Start of frame: baseline, extended sequential, progressive.
_FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
_CMYK = 4  # channels
_CHANNELS = frozenset({1, 3, _CMYK})
_SCAN, _EXIF_OR_XMP, _QUANTIZATION = 0xDA, 0xE1, 0xDB
# What the pixels need: tables, and what declares the colour space.
_PIXEL_MARKERS = frozenset({0xC4, _QUANTIZATION, 0xDD, *jpeg.COLOUR_MARKERS})

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 33
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PIXEL_CHUNKS = frozenset({b"PLTE", b"tRNS"})
_SKIPPED_CHUNKS = frozenset(
    (
        b"PLTE tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT tIME tEXt zTXt iTXt"
    ).split()
)
_TEXTS_WITH_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type ", b"exif\0", b"xmp\0")
_MAX_CHUNK_BYTES = 1 << 16
_PNG_END_BYTES = 12
_PNG_KEY_BYTES = 64
_MAX_GUESSES = 4
# Beyond this size most IDAT chunks are skipped, as there may be hundreds of thousands.
_LARGE_PNG_BYTES = 1 << 26
# Segments or chunks.
_MAX_PARTS = 1 << 14

_SKIPPED_WEBP_CHUNKS = frozenset({b"ICCP", b"ALPH"})
_XMP_TRANSFORMED = re.compile(rb"tiff:Orientation(?:=\"|>)[^1]")


class StoredHeader(NamedTuple):
    """What a header declares.

    Attributes:
        format: Pillow's name of the format.
        size: Width and height as stored.
        orientation: The orientation to be applied, 1 to 8.
        suits_opencv: Whether OpenCV decodes the pixels as Pillow does: no animation, no CMYK.
        plain_start: The bytes up to the pixels of a JPEG, or all of a small PNG, if the pixels need
            all of them; else none.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    suits_opencv: bool = True
    plain_start: bytes = b""


class _UnusualError(Exception):
    """The image is not of the ordinary kind; Pillow has to read it."""


def _require(usual: object) -> None:
    if not usual:
        raise _UnusualError


def read_quick_header(source: Source) -> StoredHeader | None:
    """Read a header, or return None if the image is not of the ordinary kind."""
    start = source.start
    try:
        if start.startswith(_JPEG):
            return _read_jpeg(source)
        if start.startswith(_PNG):
            return _read_png(source)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _read_webp(source)
    except (_UnusualError, IndexError, struct.error):  # the latter two where it is truncated
        return None
    return None


def _read_jpeg(source: Source) -> StoredHeader:
    """Read the segments up to the first scan."""
    data, position = source.start, 2
    begin = 0  # file offset of `data`
    size = None
    cmyk = False
    plain = True
    metadata: list[tuple[int, int]] = []
    for _ in range(_MAX_PARTS):
        if position + 12 > len(data):
            begin += position
            data, position = source.read(begin, _WINDOW_BYTES), 0
            plain = False
        marker = data[position + 1]
        length = data[position + 2] << 8 | data[position + 3]
        if data[position] != 0xFF or length < 2:  # noqa: PLR2004 - includes itself
            raise _UnusualError
        if marker == _SCAN:
            break
        if marker in _FRAME_MARKERS:
            _require(size is None)
            size = _frame_size(data, position + 4)
            cmyk = data[position + 9] == _CMYK
        elif marker in jpeg.METADATA_MARKERS:
            plain = False
            if marker == _EXIF_OR_XMP:
                metadata.append((begin + position + 4, length - 2))
        elif marker not in _PIXEL_MARKERS or (marker == _QUANTIZATION and (length - 2) % 65):
            raise _UnusualError  # an 8-bit quantization table takes 65 bytes
        position += 2 + length
    end = position + 2 + length
    if size is None or marker != _SCAN or begin + end > source.size:
        raise _UnusualError
    orientation = _jpeg_orientation(source, metadata) if metadata else 1
    plain_start = data[:end] if plain and end <= len(data) else b""
    return StoredHeader("JPEG", size, orientation, not cmyk, plain_start)


def _jpeg_orientation(source: Source, segments: list[tuple[int, int]]) -> int:
    """Return the orientation in segments of Exif or XMP, given as position and length."""
    orientation = None
    has_xmp = False
    for position, length in segments:
        content = source.read(position, min(length, _EXIF_BYTES))
        if content.startswith(_EXIF_SIGNATURE):
            _require(orientation is None)  # Pillow concatenates several segments
            orientation = _orientation_of(content[6:], length - 6)
        else:
            has_xmp = True
    _require(orientation or not has_xmp)
    return orientation or 1


def _frame_size(data: bytes, position: int) -> tuple[int, int]:
    bits, height, width, channels = struct.unpack_from(">BHHB", data, position)
    _require(bits == 8 and channels in _CHANNELS and height and width)  # noqa: PLR2004
    return width, height


def _read_png(source: Source) -> StoredHeader:
    """Read the chunks up to the end, skipping the pixels."""
    data = source.start
    size = _png_size(data[:_PNG_HEADER_BYTES])
    position = _PNG_HEADER_BYTES
    orientation = None
    has_pixels = False
    plain = True
    for _ in range(_MAX_PARTS):
        head = data[position : position + 8]
        if len(head) < 8:  # noqa: PLR2004
            head = source.read(position, 8)
        length, name = struct.unpack(">I4s", head)
        end = position + 12 + length
        if end > source.size:
            raise _UnusualError
        if name == b"IEND":
            break
        if name == b"IDAT":
            has_pixels = True
            # Encoders write many IDAT chunks, all but the last of one length.
            sparse = source.remote or source.size > _LARGE_PNG_BYTES
            if sparse and (last := find_last_pixels(source, position, head)):
                position, head = last
                plain = False  # others between were not seen
                length = int.from_bytes(head[:4])
                end = position + 12 + length
            while source.read(end, 8) == head:
                end += 12 + length
        elif name in _SKIPPED_CHUNKS or name == b"eXIf":
            plain = plain and name in _PIXEL_CHUNKS
            _require(length <= _MAX_CHUNK_BYTES)
            # After the pixels Pillow does not verify checksums; the keyword is enough.
            need = _PNG_KEY_BYTES if has_pixels and name != b"eXIf" else 12 + length
            chunk = data[position:end] if end <= len(data) else source.read(position, need)
            _require(has_pixels or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]))
            _require(not chunk.startswith(_TEXTS_WITH_ORIENTATION, 8))
            if name == b"eXIf":
                _require(orientation is None)  # of several, Pillow takes the last
                orientation = _orientation_of(chunk[8:-4], length)
                _require(orientation)
        else:
            raise _UnusualError
        position = end
    else:
        raise _UnusualError
    _require(has_pixels)
    plain_start = data if plain and end == len(data) == source.size else b""
    return StoredHeader("PNG", size, orientation or 1, plain_start=plain_start)


def find_last_pixels(source: Source, position: int, head: bytes) -> tuple[int, bytes] | None:
    """Guess the position of the last IDAT chunk, without reading those before it.

    Args:
        source: The image.
        position: The position of the first IDAT chunk.
        head: Its length and name, assumed to be those of all IDAT chunks but the last.

    Returns:
        Its presumed position and its head, or None if the assumption does not hold.
    """
    step = 12 + int.from_bytes(head[:4])
    last = (source.size - _PNG_END_BYTES - position) // step
    # Metadata after the pixels may be longer than an IDAT chunk.
    for index in range(last, max(0, last - _MAX_GUESSES), -1):
        guess = position + index * step
        found = source.read(guess, 8)
        if found[4:] == b"IDAT" and guess + 12 + int.from_bytes(found[:4]) < source.size:
            return guess, found
        if found[4:] == b"IEND":
            return guess - step, head
    return None


@lru_cache  # pictures of one size begin alike
def _png_size(data: bytes) -> tuple[int, int]:
    """Return width and height from signature and IHDR, if it is valid."""
    fields = struct.unpack_from(">4sIIBBBBBI", data, 12)
    name, width, height, depth, colour, compression, filtering, interlacing, checksum = fields
    _require(
        data[8:12] == b"\0\0\0\x0d"
        and name == b"IHDR"
        and width
        and height
        and depth in _DEPTHS.get(colour, ())
        and compression == filtering == 0
        and interlacing <= 1
        and zlib.crc32(data[12:29]) == checksum
    )
    return width, height


def _read_webp(source: Source) -> StoredHeader:
    """Read the chunks of a complete WebP."""
    data = source.start
    end = int.from_bytes(data[4:8], "little") + 8
    _require(end <= source.size)
    if data[12:16] != b"VP8X":
        return StoredHeader("WEBP", _webp_size(data[12:30], end - 12), 1)
    flags = data[20]
    animated = bool(flags & webp.ANIMATION)
    _require(data[16:20] == b"\x0a\0\0\0")
    canvas = webp.canvas_size(data)
    size = orientation = None
    position = 30
    for _ in range(_MAX_PARTS):
        if position >= end:
            break
        head = source.read(position, 18)
        name, length = struct.unpack_from("<4sI", head)
        _require(position + 8 + length <= end)
        if name in {b"VP8 ", b"VP8L"}:
            _require(size is None and not animated)
            size = _webp_size(head, end - position)
        elif name == b"EXIF":
            _require(orientation is None and flags & webp.EXIF)
            content = source.read(position + 8, min(length, _EXIF_BYTES))
            exif = content.removeprefix(_EXIF_SIGNATURE)  # which some writers add
            orientation = _orientation_of(exif, length - len(content) + len(exif))
        elif name == b"XMP ":
            _require(flags & webp.XMP and length <= _MAX_CHUNK_BYTES)
            flags &= ~webp.XMP
            # An orientation in Exif takes precedence.
            xmp = b"" if orientation else source.read(position + 8, length)
            _require(not _XMP_TRANSFORMED.search(xmp))
        elif name == b"ANMF":
            _require(animated)
            size = canvas
        else:
            _require(name in _SKIPPED_WEBP_CHUNKS or (animated and name == b"ANIM"))
        position += 8 + length + length % 2
    _require(position >= end)
    _require(
        size == canvas
        and not flags & (webp.XMP if orientation is not None else webp.XMP | webp.EXIF)
    )
    return StoredHeader("WEBP", canvas, orientation or 1, not animated)


def _webp_size(head: bytes, available: int) -> tuple[int, int]:
    """Return width and height from the start of a chunk of pixels."""
    size = webp.frame_size(head)
    if size is None or 8 + int.from_bytes(head[4:8], "little") > available:
        raise _UnusualError
    return size


def _orientation_of(exif: bytes, size: int) -> int:
    """Return the orientation in the first directory, or 0 if there is none.

    Args:
        exif: The Exif data, or their beginning.
        size: The length of all Exif data, in bytes.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        raise _UnusualError
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, directory)
    fields = struct.unpack_from(order + "HHII" * entries, exif, directory + 2)
    tags = fields[::4]
    if _ORIENTATION not in tags:
        return 0
    entry = 4 * tags.index(_ORIENTATION)
    # Readers stop at an entry whose value lies beyond the end.
    for first in range(0, entry, 4):
        kind, count, position = fields[first + 1 : first + 4]
        length = _TYPE_BYTES.get(kind, 1) * count
        _require(length <= 4 or position + length <= size)  # noqa: PLR2004 - stored inline
    (value,) = struct.unpack_from(order + "H", exif, directory + 2 + 3 * entry + 8)
    _require(fields[entry + 1 : entry + 3] == (_SHORT, 1) and 1 <= value <= 8)  # noqa: PLR2004
    _require(tags.count(_ORIENTATION) == 1)
    return int(value)
