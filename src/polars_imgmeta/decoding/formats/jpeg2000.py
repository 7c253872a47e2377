"""What a JPEG 2000 costs to decode: a few bytes can declare millions of tiles and blocks.

The decoder, OpenJPEG, keeps a structure for each tile, precinct and code block, of hundreds to
thousands of bytes, before it reads any pixel.

Source: ITU-T T.800, "JPEG 2000 image coding system: Core coding system", annexes A and I.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.bounded import LongHeaderError

MAX_PARTS = 1 << 12
"""Boxes before the codestream, or segments of its header, that are looked at."""
MAX_TILE_PARTS = 1 << 17
"""Parts of tiles; there are 2^16 tiles at most."""
_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_START = b"\xff\x4f\xff\x51"
_SIZE, _CODING, _CODING_OF_COMPONENT, _TILE, _DATA = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
_TILE_HEAD = 12
_HAS_PRECINCTS = 1

# Bytes of memory, measured with OpenJPEG 2.5.
_PIXEL, _SAMPLE, _TILE_BYTES, _COMPONENT_OF_TILE, _BLOCK = 5, 5, 9000, 1200, 600
_ORDINARY_AREA = 1024
# Those that do not depend on the picture, or are of a small one.
_ALLOWANCE = 1 << 20

Reader: TypeAlias = Callable[[int, int], bytes]
"""Returns the bytes from a position, of a length, or fewer at the end."""


class Codestream(NamedTuple):
    """What the header of a codestream declares.

    Attributes:
        bits: The bits of a sample of the first component.
        memory: How many bytes the decoder needs, about.
        area: The samples of the smallest code block.
        tiles: The position of the first part of a tile.
        wide: Whether numbers of components have 16 bits.
        limits: The binary logarithms of the sides of the picture, which limit blocks.
    """

    bits: int
    memory: int
    area: int
    tiles: int
    wide: bool
    limits: tuple[int, int]

    def weight(self, pixels: int, bytes_per_pixel: int) -> int:
        """Return how often a pixel counts that should take so many bytes."""
        return max(1, -(-(self.memory - _ALLOWANCE) // (bytes_per_pixel * max(pixels, 1))))


def read_codestream(read: Reader) -> Codestream | None:
    """Read the header of the codestream, or return None if it is damaged.

    Raises:
        LongHeaderError: If it has too many parts.
    """
    try:
        return _read(read, _find(read))
    except (struct.error, IndexError, ZeroDivisionError):  # truncated
        return None


def require_declared_blocks(data: bytes) -> None:
    """Check that no tile has blocks of its own, smaller than those of the header.

    Raises:
        CorruptError: If the header is damaged.
        TooLargeError: If a tile has smaller blocks, or there are too many parts of tiles.
    """

    def read(position: int, length: int) -> bytes:
        return data[position : position + length]

    stream = read_codestream(read)
    if stream is None:
        msg = "the pixels cannot be decoded: the codestream is missing or damaged"
        raise exceptions.CorruptError(msg)
    for area in _tile_areas(read, stream):
        if area < stream.area:
            msg = f"a JPEG 2000 with a tile of blocks of {area} samples, less than in its header"
            raise exceptions.TooLargeError(msg)


def _find(read: Reader) -> int:
    """Return the position of the codestream: 0, or that inside the first box that holds it."""
    if read(0, len(_SIGNATURE)) != _SIGNATURE:
        return 0
    position = len(_SIGNATURE)
    for _ in range(MAX_PARTS):
        length, name, wide = struct.unpack(">I4sQ", read(position, 16))
        head = 16 if length == 1 else 8
        if name == b"jp2c":
            return position + head
        length = wide if length == 1 else length
        if length < head:
            raise IndexError
        position += length
    msg = f"a JPEG 2000 of more than {MAX_PARTS} boxes"
    raise LongHeaderError(msg)


def _segments(read: Reader, position: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, position and content of segments, of those that are of interest here."""
    for _ in range(MAX_PARTS):
        marker, length = struct.unpack(">HH", read(position, 4))
        if marker != _DATA and length < 2:  # noqa: PLR2004 - includes itself
            raise IndexError
        needed = marker in {_SIZE, _CODING, _CODING_OF_COMPONENT, _TILE}
        yield marker, position, read(position + 4, length - 2) if needed else b""
        position += 2 + length
    msg = f"a JPEG 2000 of more than {MAX_PARTS} segments"
    raise LongHeaderError(msg)


def _read(read: Reader, start: int) -> Codestream:
    if read(start, len(_START)) != _START:
        raise IndexError
    area = _ORDINARY_AREA
    for marker, position, content in _segments(read, start + 2):
        if marker == _SIZE:
            right, bottom, left, top, *tile, components = struct.unpack_from(">2x8IH", content)
            tile_columns, tile_rows, tile_left, tile_top = tile
            wide = components > 0xFF  # noqa: PLR2004
            columns, rows = max(right - left, 0), max(bottom - top, 0)
            pixels = columns * rows
            limits = (columns.bit_length(), rows.bit_length())
            tiles = -(-(right - tile_left) // tile_columns) * -(-(bottom - tile_top) // tile_rows)
            bits = (content[36] & 0x7F) + 1
        elif marker == _TILE:
            memory = pixels * (_PIXEL + components * _SAMPLE)
            memory += max(tiles, 0) * (_TILE_BYTES + components * _COMPONENT_OF_TILE)
            if area < _ORDINARY_AREA:
                memory += pixels * components * _BLOCK // area
            return Codestream(bits, memory, area, position, wide, limits)
        else:
            area = min(area, _area(marker, content, limits, wide=wide))
    raise IndexError


def _area(marker: int, content: bytes, limits: tuple[int, int], *, wide: bool) -> int:
    """Return the samples of the smallest code block that a segment declares."""
    if marker == _CODING:
        style, parameters = content[0], content[5:]
    elif marker == _CODING_OF_COMPONENT:
        style, parameters = content[1 + wide], content[2 + wide :]
    else:
        return _ORDINARY_AREA
    columns, rows = min(parameters[1] + 2, limits[0]), min(parameters[2] + 2, limits[1])
    area = 1 << columns + rows
    if not style & _HAS_PRECINCTS:
        return area
    for resolution, precinct in enumerate(parameters[5 : 6 + parameters[0]]):
        # The bands of all resolutions but the first have half its sides.
        halved = resolution > 0
        sides = max(0, (precinct & 15) - halved), max(0, (precinct >> 4) - halved)
        area = min(area, 1 << min(columns, sides[0]) + min(rows, sides[1]))
    return area


def _tile_areas(read: Reader, stream: Codestream) -> Iterator[int]:
    """Yield the smallest block that each segment in the header of a part of a tile declares."""
    position = stream.tiles
    for _ in range(MAX_TILE_PARTS):
        head = read(position, _TILE_HEAD)
        if len(head) < _TILE_HEAD or int.from_bytes(head[:2]) != _TILE:
            return
        (length,) = struct.unpack_from(">I", head, 6)
        try:
            for marker, start, content in _segments(read, position + _TILE_HEAD):
                if marker in {_DATA, _TILE} or 0 < length < start - position:
                    break
                yield _area(marker, content, stream.limits, wide=stream.wide)
        except (struct.error, IndexError):  # truncated, as the decoder will find
            return
        if length < _TILE_HEAD:  # to the end
            return
        position += length
    msg = f"a JPEG 2000 of more than {MAX_TILE_PARTS} parts of tiles"
    raise exceptions.TooLargeError(msg)
