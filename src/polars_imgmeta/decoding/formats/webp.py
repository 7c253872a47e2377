"""What the chunks of a WebP say; Pillow reads the whole file to open it.

Source: RFC 9649, "WebP Image Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from polars_imgmeta.decoding.formats.bounded import MAX_BYTES
from polars_imgmeta.decoding.formats.declared import Declared

_ANIMATION, _EXIF, _ALPHA, _ICC = 0x02, 0x08, 0x10, 0x20
# Chunks before those of the pixels, and chunks of an animation.
_MAX_CHUNKS = 1 << 16
_LOSSLESS_ALPHA = 1 << 28  # after 14 bits each for width and height


class _Chunk(NamedTuple):
    name: bytes
    start: int
    length: int


def read_declared(stream: BinaryIO) -> Declared | None:
    """Return what a WebP says of its pixels, or None if it is broken."""
    flags = _flags_of(stream)
    alpha = bool(flags & _ALPHA)
    frames, profile = 0, False
    for chunk in _chunks(stream):
        profile |= chunk.name == b"ICCP" and bool(flags & _ICC) and chunk.length > 0
        if chunk.name == b"ANMF" and flags & _ANIMATION:
            frames += 1
        elif chunk.name in {b"VP8 ", b"VP8L"} and not flags & _ANIMATION:
            frames = 1
            if chunk.name == b"VP8L":
                stream.seek(chunk.start)
                (bits,) = struct.unpack("<xI", stream.read(5).ljust(5, b"\0"))
                alpha = bool(bits & _LOSSLESS_ALPHA)
            break
        alpha |= chunk.name == b"ALPH" and not flags & _ANIMATION
    mode = "RGBA" if alpha else "RGB"
    return Declared(mode, len(mode), 8, frames, alpha, profile) if frames else None


def read_exif(stream: BinaryIO) -> bytes:
    """Return the Exif data of a WebP; none if they are longer than what is read of a header."""
    if _flags_of(stream) & _EXIF:
        for chunk in _chunks(stream):
            if chunk.name == b"EXIF":
                stream.seek(chunk.start)
                return stream.read(chunk.length) if chunk.length <= MAX_BYTES else b""
    return b""


def _flags_of(stream: BinaryIO) -> int:
    stream.seek(12)
    start = stream.read(9)
    return start[8] if start.startswith(b"VP8X") and len(start) == 9 else 0  # noqa: PLR2004


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """Yield the chunks as far as they are there, without reading them."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:  # noqa: PLR2004
            return
        name, length = struct.unpack("<4sI", head)
        yield _Chunk(name, position + 8, length)
        position += 8 + length + length % 2
