"""Headers of ordinary JPEG, PNG and WebP images, without a decoder.

Pillow takes several times as long to open an image as it takes to read these few
bytes. Whatever is not as these formats are usually written, damaged or merely
rare, is left to Pillow: of what it opens, either the same is found here or nothing.

Sources:
    ITU-T T.81, annex B, for JPEG; ISO/IEC 15948, "Portable Network Graphics";
    RFC 9649, "WebP Image Format"; CIPA DC-008, "Exif".
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from polars_imgmeta.io.sources import Source

_WINDOW_BYTES = 4096
# Of an Exif segment, which may hold a thumbnail, the first directory is looked at.
_EXIF_BYTES = 2048
_EXIF_SIGNATURE = b"Exif\0\0"
_ORIENTATION = 274
_SHORT = 3
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}

_JPEG = b"\xff\xd8\xff"
# Frames whose pixels have 8 bits, as nearly all do: baseline, extended, progressive.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_CHANNELS = frozenset({1, 3, 4})
_SCAN, _EXIF_OR_XMP, _QUANTIZATION = 0xDA, 0xE1, 0xDB
# Tables, comments, and what applications add.
_SKIPPED = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 33
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_SKIPPED_CHUNKS = frozenset(
    (
        b"PLTE tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT tIME tEXt zTXt iTXt"
    ).split()
)
_TEXTS_WITH_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type ", b"exif\0", b"xmp\0")
_MOST_CHUNK_BYTES = 1 << 16
_PNG_END_BYTES = 12
_PNG_KEY_BYTES = 64
_MOST_GUESSES = 4

_ANIMATION, _XMP, _EXIF = 0x02, 0x04, 0x08
_SKIPPED_PIECES = frozenset({b"ICCP", b"ALPH"})
_TURNED_BY_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)[^1]")


class StoredHeader(NamedTuple):
    """Format, columns and rows as stored, and the orientation to be applied, 1 to 8."""

    format: str
    size: tuple[int, int]
    orientation: int


class _UnusualError(Exception):
    """Something that is not as it usually is."""


def _require(usual: object) -> None:
    if not usual:
        raise _UnusualError


def read_quick_header(source: Source) -> StoredHeader | None:
    """Read a header, or return None where it is not of the ordinary kind."""
    start = source.start
    try:
        if start.startswith(_JPEG):
            return _read_jpeg(source)
        if start.startswith(_PNG):
            return _read_png(source)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _read_webp(source)
    except (_UnusualError, IndexError, struct.error):  # or cut off
        return None
    return None


def _read_jpeg(source: Source) -> StoredHeader:
    """The segments up to the first scan."""
    data, position = source.start, 2
    begin = 0  # of the data, within the file
    size = orientation = None
    has_xmp = False
    while True:
        if position + 12 > len(data):
            begin += position
            data, position = source.read(begin, _WINDOW_BYTES), 0
        marker = data[position + 1]
        length = data[position + 2] << 8 | data[position + 3]
        if data[position] != 0xFF or length < 2:  # noqa: PLR2004 - it counts itself
            raise _UnusualError
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            _require(size is None)
            size = _frame_size(data, position + 4)
        elif marker == _EXIF_OR_XMP:
            content = source.read(begin + position + 4, min(length - 2, _EXIF_BYTES))
            if content.startswith(_EXIF_SIGNATURE):
                _require(orientation is None)  # Pillow joins several
                orientation = _orientation_of(content[6:], length - 8)
            else:
                has_xmp = True
        elif marker not in _SKIPPED or (marker == _QUANTIZATION and (length - 2) % 65):
            raise _UnusualError  # these tables are of 65 bytes each
        position += 2 + length
    if size is None or (has_xmp and not orientation) or begin + position + length > source.size:
        raise _UnusualError
    return StoredHeader("JPEG", size, orientation or 1)


def _frame_size(data: bytes, position: int) -> tuple[int, int]:
    bits, height, width, channels = struct.unpack_from(">BHHB", data, position)
    _require(bits == 8 and channels in _CHANNELS and height and width)  # noqa: PLR2004
    return width, height


def _read_png(source: Source) -> StoredHeader:
    """The chunks up to the end, the pixels skipped."""
    data = source.start
    size = _png_size(data)
    position = _PNG_HEADER_BYTES
    orientation = None
    has_pixels = False
    while True:
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
            # Pixels come in many chunks, nearly all of one length.
            if source.far and (last := find_last_pixels(source, position, head)):
                position, head = last
                length = int.from_bytes(head[:4])
                end = position + 12 + length
            while source.read(end, 8) == head:
                end += 12 + length
        elif name in _SKIPPED_CHUNKS or name == b"eXIf":
            _require(length <= _MOST_CHUNK_BYTES)
            # Behind the pixels nobody checks it, and its beginning tells what it is.
            need = _PNG_KEY_BYTES if has_pixels and name != b"eXIf" else 12 + length
            chunk = data[position:end] if end <= len(data) else source.read(position, need)
            _require(has_pixels or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]))
            _require(not chunk.startswith(_TEXTS_WITH_ORIENTATION, 8))
            if name == b"eXIf":
                _require(orientation is None)  # the later would count
                orientation = _orientation_of(chunk[8:-4], length)
                _require(orientation)
        else:
            raise _UnusualError
        position = end
    _require(has_pixels)
    return StoredHeader("PNG", size, orientation or 1)


def find_last_pixels(source: Source, position: int, head: bytes) -> tuple[int, bytes] | None:
    """Guess where the last chunk of pixels is, without a look at those before.

    Args:
        source: The image.
        position: Where the first such chunk is.
        head: Its length and name, which all but the last have.

    Returns:
        The place and the head of a chunk that reaches just to what may follow pixels,
        or None where the chunks are not as supposed.
    """
    step = 12 + int.from_bytes(head[:4])
    most = (source.size - _PNG_END_BYTES - position) // step
    # What follows the pixels, such as the time, may be longer than one of their chunks.
    for skipped in range(most, max(0, most - _MOST_GUESSES), -1):
        place = position + skipped * step
        found = source.read(place, 8)
        if found[4:] == b"IDAT" and place + 12 + int.from_bytes(found[:4]) < source.size:
            return place, found
        if found[4:] == b"IEND":
            return place - step, head
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk, if it is right."""
    fields = struct.unpack_from(">4sIIBBBBBI", data, 12)
    name, width, height, depth, colour, packing, filtering, interlacing, checksum = fields
    _require(data[8:12] == b"\0\0\0\x0d" and name == b"IHDR" and width and height)
    _require(depth in _DEPTHS.get(colour, ()) and packing == filtering == 0 and interlacing <= 1)
    _require(zlib.crc32(data[12:29]) == checksum)
    return width, height


def _read_webp(source: Source) -> StoredHeader:
    """The chunks of an image that is there as declared, and no animation."""
    data = source.start
    end = int.from_bytes(data[4:8], "little") + 8
    _require(end <= source.size)
    if data[12:16] != b"VP8X":
        return StoredHeader("WEBP", _webp_size(data[12:30], end - 12), 1)
    flags = data[20]
    _require(data[16:20] == b"\x0a\0\0\0" and not flags & _ANIMATION)
    canvas = (
        int.from_bytes(data[24:27], "little") + 1,
        int.from_bytes(data[27:30], "little") + 1,
    )
    size = orientation = None
    position = 30
    while position < end:
        head = source.read(position, 18)
        name, length = struct.unpack_from("<4sI", head)
        _require(position + 8 + length <= end)
        if name in {b"VP8 ", b"VP8L"}:
            _require(size is None)
            size = _webp_size(head, end - position)
        elif name == b"EXIF":
            _require(orientation is None and flags & _EXIF)
            content = source.read(position + 8, min(length, _EXIF_BYTES))
            exif = content.removeprefix(_EXIF_SIGNATURE)  # which does not belong there
            orientation = _orientation_of(exif, length - len(content) + len(exif))
        elif name == b"XMP ":
            _require(flags & _XMP and length <= _MOST_CHUNK_BYTES)
            flags &= ~_XMP
            # Where Exif has an orientation, it counts.
            xmp = b"" if orientation else source.read(position + 8, length)
            _require(not _TURNED_BY_XMP.search(xmp))
        else:
            _require(name in _SKIPPED_PIECES)
        position += 8 + length + length % 2
    _require(size == canvas and not flags & (_XMP if orientation is not None else _XMP | _EXIF))
    return StoredHeader("WEBP", canvas, orientation or 1)


def _webp_size(head: bytes, room: int) -> tuple[int, int]:
    """Width and height from the first bytes of a chunk of pixels."""
    name, length = struct.unpack_from("<4sI", head)
    _require(8 + length <= room)
    if name == b"VP8L":
        signature, bits = struct.unpack_from("<BI", head, 8)
        _require(signature == 0x2F and bits >> 29 == 0)  # noqa: PLR2004 - the version
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    tag, code, width, height = struct.unpack_from("<3s3sHH", head, 8)
    # Shown, and not in terms of frames before.
    _require(name == b"VP8 " and code == b"\x9d\x01\x2a" and tag[0] & 0x11 == 0x10)  # noqa: PLR2004
    width, height = width & 0x3FFF, height & 0x3FFF  # the other bits ask for upscaling
    _require(width and height)
    return width, height


def _orientation_of(exif: bytes, size: int) -> int:
    """The orientation in the first directory, or 0 if there is none.

    Args:
        exif: The Exif data, or the beginning of them.
        size: How many bytes all of them are.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        raise _UnusualError
    (place,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, place)
    fields = struct.unpack_from(order + "HHII" * entries, exif, place + 2)
    tags = fields[::4]
    if _ORIENTATION not in tags:
        return 0
    entry = 4 * tags.index(_ORIENTATION)
    # At a value that is not there, readers stop.
    for first in range(0, entry, 4):
        kind, count, position = fields[first + 1 : first + 4]
        length = _TYPE_BYTES.get(kind, 1) * count
        _require(length <= 4 or position + length <= size)  # noqa: PLR2004 - shorter ones are here
    (value,) = struct.unpack_from(order + "H", exif, place + 2 + 3 * entry + 8)
    _require(fields[entry + 1 : entry + 3] == (_SHORT, 1) and 1 <= value <= 8)  # noqa: PLR2004
    _require(tags.count(_ORIENTATION) == 1)
    return int(value)
