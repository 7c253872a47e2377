"""What a JPEG XL declares; the Pillow plug-in decodes the pixels to report it.

Source: ISO/IEC 18181-1, "JPEG XL image coding system", the bundles SizeHeader,
ImageMetadata and those within it; 18181-2 for the boxes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from polars_imgmeta.decoding.formats.bounded import MAX_BYTES
from polars_imgmeta.decoding.formats.declared import Declared
from polars_imgmeta.decoding.formats.jxl_entropy import Bits

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"

# With names of extra channels.
_MAX_HEADER_BYTES = 4096
_ALPHA, _SPOT, _CFA = 0, 2, 5  # types of extra channels
GREY = 1
"""A space of colours."""
_MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
_BYTE = 8
# Before them is an offset, which some writers leave out.
_EXIF_STARTS = frozenset({b"II*\0", b"MM\0*"})
# The bits of a dimension, by its two-bit selector.
_DIMENSION_BITS = (9, 13, 18, 30)
# Width over height, by the three-bit ratio; ratio 0 means that the width follows.
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class Metadata(NamedTuple):
    """The header of a codestream, up to the space of its colours.

    Attributes:
        size: Width and height as stored.
        orientation: The orientation to be applied, 1 to 8.
        preview: Width and height of a preview, if there is one.
        animated: Whether it is an animation.
        depth: The bits of a sample.
        is_float: Whether samples are floats.
        extra: The types of channels beyond those of colours.
        xyb: Whether colours are stored as XYB.
        colours: The number of channels of colours.
        profile: Whether a colour profile follows.
        space: The number of the colour space, if it is not the default.
        extended: Whether fields of tone mapping follow, and of further extensions; None if
            all fields are the default.
        end: The position behind all this, in bits; 0 where it is damaged.
    """

    size: tuple[int, int]
    orientation: int = 1
    preview: tuple[int, int] | None = None
    animated: bool = False
    depth: int = _BYTE
    is_float: bool = False
    extra: tuple[int, ...] = ()
    xyb: bool = True
    colours: int = 3
    profile: bool = False
    space: int | None = None
    extended: bool | None = None
    end: int = 0

    @property
    def weight(self) -> int:
        """How often a pixel counts: the decoder keeps 8 to 20 bytes of each extra channel."""
        return max(1, len(self.extra))


def read_metadata(bits: Bits) -> Metadata:
    """Read the header of a codestream, behind its signature."""
    size = _read_size(bits)
    if bits.take(1):  # all else is the default
        return Metadata(size, end=bits.position)
    extended = bool(bits.take(1))
    orientation, preview, animated = _read_extra_fields(bits) if extended else (1, None, False)
    depth, is_float = _read_depth(bits)
    bits.take(1)  # whether 16 bits suffice
    count = bits.choose((0, 0), (1, 0), (2, 4), (1, 12))
    # A few bytes may declare thousands of channels.
    extra = tuple(_read_extra_channel(bits) for _ in range(count) if not bits.exhausted)
    xyb = bool(bits.take(1))
    profile, colours, space = False, 3, None
    if not bits.take(1):  # the space of the colours is not the default
        profile, space = bool(bits.take(1)), bits.enum()
        colours = 1 if space == GREY else 3
    return Metadata(
        size,
        orientation,
        preview,
        animated,
        depth,
        is_float,
        extra,
        xyb,
        colours,
        profile,
        space,
        extended,
        bits.position,
    )


def read_header(stream: BinaryIO) -> Metadata | None:
    """Return the header of a JPEG XL, or None if this is none.

    What a damaged one does not declare has its default.
    """
    bits = find_header(stream)
    if bits is None:
        return None
    start = bits.position
    metadata = read_metadata(bits)
    if not bits.exhausted:
        return metadata
    bits.position = start
    size = _read_size(bits)
    orientation = 1 + bits.take(3) if not bits.take(1) and bits.take(1) else 1
    return Metadata(size, orientation)


def read_declared(stream: BinaryIO) -> Declared | None:
    """Return what a JPEG XL says of its pixels, or None if it is none, or broken."""
    bits = find_header(stream)
    if bits is None:
        return None
    found = read_metadata(bits)
    if bits.exhausted:
        return None
    alpha = _ALPHA in found.extra
    mode = _MODES[found.colours, alpha]
    if mode == "L" and found.depth > _BYTE:
        mode = "F" if found.is_float else "I;16"
    frames = None if found.animated else 1
    return Declared(mode, found.colours + alpha, found.depth, frames, alpha, found.profile)


def codestream(data: bytes) -> bytes:
    """Return the codestream of a JPEG XL, which may be in pieces."""
    if data.startswith(CODESTREAM):
        return data
    pieces = []
    for name, start, length in _boxes(io.BytesIO(data)):
        if name in {b"jxlc", b"jxlp"}:
            pieces.append(data[start + (4 if name == b"jxlp" else 0) : start + length])
    return b"".join(pieces)


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


def _read_extra_fields(bits: Bits) -> tuple[int, tuple[int, int] | None, bool]:
    """Return orientation, size of a preview, and whether it is an animation."""
    orientation, preview = 1 + bits.take(3), None
    if bits.take(1):  # the size at which it is to be shown
        _read_size(bits)
    if bits.take(1):
        small = bits.take(1)
        choices = ((16, 0), (32, 0), (1, 5), (33, 9))
        choices = choices if small else ((1, 6), (65, 8), (321, 10), (1345, 12))
        height = width = bits.choose(*choices) * (8 if small else 1)
        if ratio := bits.take(3):
            width = height * _RATIOS[ratio][0] // _RATIOS[ratio][1]
        else:
            width = bits.choose(*choices) * (8 if small else 1)
        preview = width, height
    if not bits.take(1):
        return orientation, preview, False
    bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))  # ticks a second
    bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
    bits.choose((0, 0), (0, 3), (0, 16), (0, 32))  # loops
    bits.take(1)
    return orientation, preview, True


def _read_extra_channel(bits: Bits) -> int:
    """Return the type of an extra channel."""
    if bits.take(1):
        return _ALPHA
    kind = bits.enum()
    _read_depth(bits)
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))  # how much smaller it is
    name = bits.choose((0, 0), (0, 4), (16, 5), (48, 10))
    bits.take(8 * name)
    if kind == _ALPHA:
        bits.take(1)
    elif kind == _SPOT:
        bits.take(4 * 16)
    elif kind == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))
    return kind


def _read_size(bits: Bits) -> tuple[int, int]:
    """Return width and height."""
    small = bits.take(1)
    height = _read_side(bits, small)
    ratio = bits.take(3)
    numerator, denominator = _RATIOS[ratio]
    width = height * numerator // denominator if ratio else _read_side(bits, small)
    return width, height


def _read_side(bits: Bits, small: int) -> int:
    if small:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take(_DIMENSION_BITS[bits.take(2)])


def _read_depth(bits: Bits) -> tuple[int, bool]:
    """Return the bits of a sample, and whether it is a float."""
    if not bits.take(1):
        return bits.choose((8, 0), (10, 0), (12, 0), (1, 6)), False
    depth = bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)
    return depth, True


def find_header(stream: BinaryIO) -> Bits | None:
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
    return Bits(data, 8 * len(CODESTREAM)) if data.startswith(CODESTREAM) else None


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
