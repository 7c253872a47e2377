"""The size that a JPEG XL declares; the Pillow plug-in decodes the pixels to report it.

Source: ISO/IEC 18181-1, "JPEG XL image coding system", the bundles SizeHeader
and ImageMetadata; 18181-2 for the boxes.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"

_MAX_HEADER_BYTES = 32
# The bits of a dimension, by its two-bit selector.
_DIMENSION_BITS = (9, 13, 18, 30)
# Width over height, by the three-bit ratio; ratio 0 means that the width follows.
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read_size(stream: BinaryIO) -> tuple[int, int, int] | None:
    """Return width and height as stored, and orientation, or None if this is not JPEG XL."""
    start = _find_codestream(stream)
    if start is None:
        return None
    stream.seek(start)
    data = stream.read(_MAX_HEADER_BYTES)
    if not data.startswith(CODESTREAM):
        return None
    bits = _Bits(data[len(CODESTREAM) :])
    small = bits.take(1)
    height = bits.dimension(small)
    ratio = bits.take(3)
    numerator, denominator = _RATIOS[ratio]
    width = height * numerator // denominator if ratio else bits.dimension(small)
    default_metadata = bits.take(1)
    orientation = 1 + bits.take(3) if not default_metadata and bits.take(1) else 1
    return width, height, orientation


class _Bits:
    """A bit reader, least significant bit first; reads zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self.rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return value

    def dimension(self, small: int) -> int:
        if small:
            return 8 * (1 + self.take(5))
        return 1 + self.take(_DIMENSION_BITS[self.take(2)])


def _find_codestream(stream: BinaryIO) -> int | None:
    """Return the offset of the codestream: 0, or inside the first box that holds it."""
    stream.seek(0)
    start = stream.read(len(CONTAINER))
    if start.startswith(CODESTREAM):
        return 0
    if start != CONTAINER:
        return None
    size = stream.seek(0, io.SEEK_END)
    position = len(CONTAINER)
    while position + 8 <= size:
        stream.seek(position)
        length, name = struct.unpack(">I4s", stream.read(8))
        head = 8
        if length == 1:  # a length of 64 bits follows
            wide = stream.read(8)
            if len(wide) < 8:  # noqa: PLR2004
                return None
            (length,), head = struct.unpack(">Q", wide), 16
        if name in {b"jxlc", b"jxlp"}:
            return position + head + (4 if name == b"jxlp" else 0)
        if length < head:
            return None
        position += length
    return None
