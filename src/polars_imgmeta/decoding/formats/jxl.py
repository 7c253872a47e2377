"""What a JPEG XL declares; the Pillow plug-in decodes the pixels to report it.

Source: ISO/IEC 18181-1, "JPEG XL image coding system", the bundles SizeHeader,
ImageMetadata and those within it; 18181-2 for the boxes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from polars_imgmeta.decoding.formats.bounded import MAX_BYTES
from polars_imgmeta.decoding.formats.declared import Declared

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"

# With names of extra channels.
_MAX_HEADER_BYTES = 4096
_MAX_EXTRA_CHANNELS, _MAX_NAME_BYTES = 256, 1024
_ALPHA, _SPOT, _CFA = 0, 2, 5  # types of extra channels
_GREY = 1  # of the colour spaces
_MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
_BYTE = 8
# Before them is an offset, which some writers leave out.
_EXIF_STARTS = frozenset({b"II*\0", b"MM\0*"})
# The bits of a dimension, by its two-bit selector.
_DIMENSION_BITS = (9, 13, 18, 30)
# Width over height, by the three-bit ratio; ratio 0 means that the width follows.
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read_size(stream: BinaryIO) -> tuple[int, int, int] | None:
    """Return width and height as stored, and orientation, or None if this is not JPEG XL."""
    bits = _find_header(stream)
    if bits is None:
        return None
    width, height = bits.size()
    default_metadata = bits.take(1)
    orientation = 1 + bits.take(3) if not default_metadata and bits.take(1) else 1
    return width, height, orientation


def read_declared(stream: BinaryIO) -> Declared | None:
    """Return what a JPEG XL says of its pixels, or None if it is none, or broken."""
    bits = _find_header(stream)
    if bits is None:
        return None
    bits.size()
    depth, is_float, colours, alpha, profile, animated = _BYTE, False, 3, False, False, False
    if not bits.take(1):  # the metadata are not the default
        animated = bits.take(1) == 1 and _skip_extra_fields(bits)
        depth, is_float = bits.depth()
        bits.take(1)  # whether 16 bits suffice
        extra = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
        if extra > _MAX_EXTRA_CHANNELS:
            return None
        alpha = _ALPHA in [_read_extra_channel(bits) for _ in range(extra)]
        bits.take(1)  # whether the colours are XYB
        if not bits.take(1):  # their space is not the default
            profile = bool(bits.take(1))
            colours = 1 if bits.enum() == _GREY else 3
    if bits.exhausted:
        return None
    mode = _MODES[colours, alpha]
    if mode == "L" and depth > _BYTE:
        mode = "F" if is_float else "I;16"
    return Declared(mode, colours + alpha, depth, None if animated else 1, alpha, profile)


def read_exif(stream: BinaryIO) -> bytes:
    """Return the Exif data of a JPEG XL; none if they are compressed or very long."""
    for name, start, length in _boxes(stream):
        if name == b"Exif":
            stream.seek(start)
            content = stream.read(length) if length <= MAX_BYTES else b""
            if content[:4] in _EXIF_STARTS:
                return content
            return content[4 + int.from_bytes(content[:4]) :]
    return b""


def _skip_extra_fields(bits: _Bits) -> bool:
    """Skip orientation, other sizes and times; return whether it is an animation."""
    bits.take(3)
    if bits.take(1):  # the size at which it is to be shown
        bits.size()
    if bits.take(1):  # a preview
        small = bits.take(1)
        choices = ((16, 0), (32, 0), (1, 5), (33, 9))
        choices = choices if small else ((1, 6), (65, 8), (321, 10), (1345, 12))
        bits.choose(*choices)
        if not bits.take(3):
            bits.choose(*choices)
    if not bits.take(1):
        return False
    bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))  # ticks a second
    bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choose((0, 0), (0, 3), (0, 16), (0, 32))  # loops
    bits.take(1)
    return True


def _read_extra_channel(bits: _Bits) -> int:
    """Return the type of an extra channel."""
    if bits.take(1):
        return _ALPHA
    kind = bits.enum()
    bits.depth()
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))  # how much smaller it is
    name = bits.choose((0, 0), (0, 4), (16, 5), (48, 10))
    bits.take(8 * min(name, _MAX_NAME_BYTES))
    if kind == _ALPHA:
        bits.take(1)
    elif kind == _SPOT:
        bits.take(4 * 16)
    elif kind == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))
    return kind


class _Bits:
    """A bit reader, least significant bit first; reads zeros after the end.

    Attributes:
        exhausted: Whether it has read after the end.
    """

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self._count = 8 * len(data)
        self.exhausted = False

    def take(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        self._count -= count
        self.exhausted |= self._count < 0
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Return a number of two bits that select its offset and its number of bits."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        return self.choose((0, 0), (1, 0), (2, 4), (18, 6))

    def depth(self) -> tuple[int, bool]:
        """Return the bits of a sample, and whether it is a float."""
        if not self.take(1):
            return self.choose((8, 0), (10, 0), (12, 0), (1, 6)), False
        bits = self.choose((32, 0), (16, 0), (24, 0), (1, 6))
        self.take(4)
        return bits, True

    def size(self) -> tuple[int, int]:
        """Return width and height."""
        small = self.take(1)
        height = self._dimension(small)
        ratio = self.take(3)
        numerator, denominator = _RATIOS[ratio]
        width = height * numerator // denominator if ratio else self._dimension(small)
        return width, height

    def _dimension(self, small: int) -> int:
        if small:
            return 8 * (1 + self.take(5))
        return 1 + self.take(_DIMENSION_BITS[self.take(2)])


def _find_header(stream: BinaryIO) -> _Bits | None:
    """Return the header of the codestream: at 0, or inside the first box that holds it."""
    stream.seek(0)
    start = 0
    if stream.read(len(CODESTREAM)) != CODESTREAM:
        starts = (
            start + (4 if name == b"jxlp" else 0)
            for name, start, _ in _boxes(stream)
            if name in {b"jxlc", b"jxlp"}
        )
        start = next(starts, -1)
    if start < 0:
        return None
    stream.seek(start)
    data = stream.read(_MAX_HEADER_BYTES)
    return _Bits(data[len(CODESTREAM) :]) if data.startswith(CODESTREAM) else None


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and length of the contents of the boxes, if it is a container."""
    stream.seek(0)
    if stream.read(len(CONTAINER)) != CONTAINER:
        return
    size = stream.seek(0, io.SEEK_END)
    position = len(CONTAINER)
    while position + 8 <= size:
        stream.seek(position)
        length, name = struct.unpack(">I4s", stream.read(8))
        head = 8
        if length == 1:  # a length of 64 bits follows
            wide = stream.read(8)
            if len(wide) < 8:  # noqa: PLR2004
                return
            (length,), head = struct.unpack(">Q", wide), 16
        end = position + length if length else size
        if end < position + head:
            return
        yield name, position + head, end - position - head
        position = end
