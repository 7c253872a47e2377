"""Headers of images that OpenCV reads and Pillow does not.

These are Radiance HDR, and TIFF and BMP with fields that Pillow refuses.
OpenCV has no function that reads a header.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from polars_imgmeta.decoding.formats.tiff import weight_of_tile

_TEXT_HEADER_BYTES = 4096
_FLOAT_WEIGHT = 3
_RADIANCE = re.compile(rb"#\?(?:RADIANCE|RGBE)\n(?:.*\n)*?\n-Y +(\d{1,10}) +\+X +(\d{1,10})\n")

# Not 16, which OpenCV scales wrongly.
_BMP_BITS = frozenset({1, 4, 8, 24, 32})
_BMP_UNCOMPRESSED, _BMP_MASKS = frozenset({0, 3}), 3
_BMP_INFO_BYTES, _BMP_MASK_BYTES = 40, 16

# TIFF tags, and the `struct` code of each value type.
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_TRANSPOSED = range(5, 9)
_SEGMENTS = ((273, 279), (324, 325))  # offsets and lengths of strips, or of tiles
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_BITS, _COMPRESSION, _CHANNELS, _PLANES = 258, 259, 277, 284
# OpenCV decodes others, such as JPEG 2000 within TIFF, as black pictures.
_TIFF_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})
# Sizes, depths, compression, colours, strips, tiles and tables.
_PIXEL_TAGS = frozenset(
    {
        *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322),
        *(323, 324, 325, 338, 339, 347, 529, 530, 531, 532),
    }
)
_MAX_ENTRIES = 4096
_MAX_VALUES = 1 << 17
_HEADER_TAGS = frozenset({_WIDTH, _HEIGHT, _ORIENTATION, _BITS, _COMPRESSION, _CHANNELS, _PLANES})
_HEADER_TAGS |= {_TILE_WIDTH, _TILE_HEIGHT}
_HEADER_TAGS |= {tag for pair in _SEGMENTS for tag in pair}


@dataclass(frozen=True, slots=True)
class OpenCVHeader:
    """The header of an image that OpenCV decodes, whose orientation it applies.

    Attributes:
        format: The name of the format.
        width: Columns, with orientation applied.
        height: Rows, with orientation applied.
        complete: Whether the pixels are present as declared.
        weight: Memory of a pixel, as a multiple of an 8-bit pixel's.
    """

    format: str
    width: int
    height: int
    complete: bool = True
    weight: int = 1


def read_opencv_header(stream: BinaryIO) -> OpenCVHeader | None:
    """Read the header of an image that only OpenCV reads, or return None for any other."""
    stream.seek(0)
    start = stream.read(_TEXT_HEADER_BYTES)
    header = None
    if found := _RADIANCE.match(start):
        header = OpenCVHeader("HDR", int(found[2]), int(found[1]), weight=_FLOAT_WEIGHT)
    try:
        if start[:4] in {b"II*\0", b"MM\0*"}:
            header = _read_tiff(stream, "<" if start[:1] == b"I" else ">")
        elif start[:2] == b"BM":
            header = _read_bmp(stream)
    except struct.error:  # truncated
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def _read_bmp(stream: BinaryIO) -> OpenCVHeader:
    """Read the fixed fields of a BMP; only uncompressed rows count as complete."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    offset, _, width, height, _, bits, compression = struct.unpack("<10xIIiiHHI", stream.read(34))
    row_bytes = (width * bits + 31) // 32 * 4
    complete = (
        compression in _BMP_UNCOMPRESSED
        and bits in _BMP_BITS
        and 0 <= offset <= size - row_bytes * abs(height)
    )
    return OpenCVHeader("BMP", width, abs(height), complete)


def _read_tiff(stream: BinaryIO, order: str) -> OpenCVHeader:
    """Read the first directory of a TIFF, without trusting the lengths that it declares."""
    size = stream.seek(0, io.SEEK_END)

    def read(form: str, position: int) -> tuple[int, ...]:
        stream.seek(position)
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    (directory,) = read("I", 4)
    (entries,) = read("H", directory)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(min(entries, _MAX_ENTRIES)):
        position = directory + 2 + 12 * entry
        tag, kind, count = read("HHI", position)
        if tag not in _HEADER_TAGS or tag in tags or kind not in _TYPES:
            continue
        if not 0 < count <= _MAX_VALUES:
            continue
        form = f"{count}{_TYPES[kind]}"
        if struct.calcsize(order + form) > 4:  # noqa: PLR2004 - the bytes of an entry's value
            (position,) = read("I", position + 8)
            tags[tag] = read(form, position)
        else:
            tags[tag] = read(form, position + 8)
    segments = [
        segment
        for offsets, lengths in _SEGMENTS
        for segment in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
    ]
    width, height = (tags.get(tag, (0,))[0] for tag in (_WIDTH, _HEIGHT))
    bits, compression = max(tags.get(_BITS, (1,))), tags.get(_COMPRESSION, (1,))[0]
    row_bytes = (width * bits * tags.get(_CHANNELS, (1,))[0] + 7) // 8
    # Up to 8 bits OpenCV fills up what it cannot decompress; beyond, it checks each segment.
    checked = bits > 8 or (  # noqa: PLR2004
        compression == 1 and sum(length for _, length in segments) >= height * row_bytes
    )
    present = bool(segments) and all(offset + length <= size for offset, length in segments)
    # Of separate planes OpenCV reads the first as if it held all channels.
    interleaved = tags.get(_PLANES, (1,))[0] == 1
    complete = checked and present and interleaved and compression in _TIFF_COMPRESSIONS
    if tags.get(_ORIENTATION, (1,))[0] in _TRANSPOSED:
        width, height = height, width
    weight = _FLOAT_WEIGHT if bits > 16 else 1  # noqa: PLR2004
    tile = tags.get(_TILE_WIDTH, (0,))[0], tags.get(_TILE_HEIGHT, (0,))[0]
    weight *= weight_of_tile(tile, width * height)
    return OpenCVHeader("TIFF", width, height, complete, weight)


def rebuild_radiance(data: bytes) -> bytes | None:
    """Return a Radiance HDR with a header of our own."""
    found = _RADIANCE.match(data[:_TEXT_HEADER_BYTES])
    if not found:
        return None
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (int(found[1]), int(found[2]))
    return head + data[found.end() :]


def rebuild_bmp(data: bytes) -> bytes | None:
    """Return an uncompressed BMP with a header of our own, of a palette and rows that are there."""
    fields = struct.unpack_from("<10xIIiiHHI12xI", data)
    offset, length, width, height, _, bits, compression, colours = fields
    row_bytes = (width * bits + 31) // 32 * 4
    rows = data[offset : offset + row_bytes * abs(height)]
    if (
        length < _BMP_INFO_BYTES
        or bits not in _BMP_BITS
        or compression not in _BMP_UNCOMPRESSED
        or not 0 < len(rows) == row_bytes * abs(height)
    ):
        return None
    masks = compression == _BMP_MASKS and length >= _BMP_INFO_BYTES + _BMP_MASK_BYTES
    size = _BMP_INFO_BYTES + masks * _BMP_MASK_BYTES
    entries = 4 * min(colours or 1 << bits, 1 << bits) if bits <= 8 else 0  # noqa: PLR2004
    table = data[14 + length : 14 + length + entries]
    if len(table) < entries:
        return None
    head = struct.pack(
        "<2sIIII", b"BM", 14 + size + entries + len(rows), 0, 14 + size + entries, size
    )
    info = struct.pack("<iiHHIIiiII", width, height, 1, bits, compression, 0, 0, 0, entries // 4, 0)
    return b"".join((head, info, data[54 : 14 + size], table, rows))


def rebuild_tiff(data: bytes) -> bytes | None:
    """Return a TIFF whose only directory has no other tags than those of the pixels."""
    order = "<" if data[:1] == b"I" else ">"
    (position,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, position)
    entries = [data[at : at + 12] for at in range(position + 2, position + 2 + 12 * count, 12)]
    kept: dict[int, bytes] = {}
    for entry in entries[:_MAX_ENTRIES]:
        (tag,) = struct.unpack_from(order + "H", entry)
        if tag in _PIXEL_TAGS:
            kept.setdefault(tag, entry)  # the first, as in `read_opencv_header`
    gap = b"\0" * (len(data) % 2)
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
    start = struct.pack(order + "I", len(data) + len(gap))
    return b"".join((data[:4], start, data[8:], gap, directory, bytes(4)))
