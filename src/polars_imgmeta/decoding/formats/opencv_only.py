"""Headers of images that OpenCV reads and Pillow does not.

These are Radiance HDR, PFM in colours, and TIFF and BMP with fields that
Pillow refuses. OpenCV has no way to ask for a header, so that it is read here.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

_TEXT_HEADER_BYTES = 4096
_WEIGHT_OF_FLOATS = 3
_RADIANCE = re.compile(rb"#\?(?:RADIANCE|RGBE)\n(?:.*\n)*?\n-Y +(\d+) +\+X +(\d+)\n")
_PFM_BYTES = 12
_PFM = re.compile(rb"PF\s+(\d+)\s+(\d+)\s+-?[\d.]+\s")

# Not 16, of which OpenCV gets the range wrong.
_BMP_BITS = frozenset({1, 4, 8, 24, 32})
_BMP_UNPACKED = frozenset({0, 3})

# TIFF tags, and the bytes of a value of each type.
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_SIDEWAYS = range(5, 9)
_PLACES = ((273, 279), (324, 325))  # where strips or tiles are, and how long
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_BITS, _PACKING, _CHANNELS, _PLANES = 258, 259, 277, 284
# Of others, such as JPEG 2000 within TIFF, OpenCV makes black pictures.
_TIFF_PACKINGS = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})
_MOST_ENTRIES = 4096
_MOST_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class ShownHeader:
    """What an image says of its pixels as OpenCV shows them, which is upright.

    Attributes:
        format: The name of the format.
        width: Columns as shown.
        height: Rows as shown.
        whole: Whether the pixels are there as declared.
        weight: How many usual pixels one counts for in memory.
    """

    format: str
    width: int
    height: int
    whole: bool = True
    weight: int = 1


def read_opencv_header(stream: BinaryIO) -> ShownHeader | None:
    """Read the header of an image, if it is one of those that OpenCV alone reads.

    Args:
        stream: The image, seekable.
    """
    stream.seek(0)
    start = stream.read(_TEXT_HEADER_BYTES)
    header = None
    if found := _RADIANCE.match(start):
        header = ShownHeader("HDR", int(found[2]), int(found[1]), weight=_WEIGHT_OF_FLOATS)
    elif found := _PFM.match(start):
        width, height = int(found[1]), int(found[2])
        pixels = stream.seek(0, io.SEEK_END) - found.end()
        whole = width * height * _PFM_BYTES <= pixels
        header = ShownHeader("PFM", width, height, whole, _WEIGHT_OF_FLOATS)
    try:
        if start[:4] in {b"II*\0", b"MM\0*"}:
            header = _read_tiff(stream, "<" if start[:1] == b"I" else ">")
        elif start[:2] == b"BM":
            header = _read_bmp(stream)
    except struct.error:  # cut off
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def _read_bmp(stream: BinaryIO) -> ShownHeader:
    """The fixed fields of a BMP whose rows are stored as they are."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    pixels, _, width, height, _, bits, packing = struct.unpack("<10xIIiiHHI", stream.read(34))
    row_bytes = (width * bits + 31) // 32 * 4
    whole = (
        packing in _BMP_UNPACKED
        and bits in _BMP_BITS
        and 0 <= pixels <= size - row_bytes * abs(height)
    )
    return ShownHeader("BMP", width, abs(height), whole)


def _read_tiff(stream: BinaryIO, order: str) -> ShownHeader:
    """The first directory of a TIFF, without believing any length that it declares."""
    size = stream.seek(0, io.SEEK_END)

    def read(form: str, position: int) -> tuple[int, ...]:
        stream.seek(position)
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    (directory,) = read("I", 4)
    (entries,) = read("H", directory)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(min(entries, _MOST_ENTRIES)):
        position = directory + 2 + 12 * entry
        tag, kind, count = read("HHI", position)
        if kind not in _TYPES or not 0 < count <= _MOST_VALUES:
            continue
        form = f"{count}{_TYPES[kind]}"
        if struct.calcsize(order + form) > 4:  # noqa: PLR2004 - the bytes of an entry's value
            (position,) = read("I", position + 8)
            tags[tag] = read(form, position)
        else:
            tags[tag] = read(form, position + 8)
    pieces = [
        piece
        for places, lengths in _PLACES
        for piece in zip(tags.get(places, ()), tags.get(lengths, ()), strict=False)
    ]
    width, height = (tags.get(tag, (0,))[0] for tag in (_WIDTH, _HEIGHT))
    bits, packing = max(tags.get(_BITS, (1,))), tags.get(_PACKING, (1,))[0]
    row_bytes = (width * bits * tags.get(_CHANNELS, (1,))[0] + 7) // 8
    # Of 8 bits OpenCV fills up what it cannot unpack; of more it checks each piece.
    checked = bits > 8 or (  # noqa: PLR2004
        packing == 1 and sum(length for _, length in pieces) >= height * row_bytes
    )
    there = bool(pieces) and all(place + length <= size for place, length in pieces)
    # Of separate planes it reads the first as if it were all of them.
    together = tags.get(_PLANES, (1,))[0] == 1
    whole = checked and there and together and packing in _TIFF_PACKINGS
    if tags.get(_ORIENTATION, (1,))[0] in _SIDEWAYS:
        width, height = height, width
    weight = _WEIGHT_OF_FLOATS if bits > 16 else 1  # noqa: PLR2004
    return ShownHeader("TIFF", width, height, whole, weight)
