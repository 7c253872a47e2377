"""The chunks of a PNG: whether they are there, and what those behind the pixels tell."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import dropwhile, takewhile
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.formats.quick import find_last_pixels
from polars_imgmeta.io.sources import Source

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METADATA = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# Length and name before the content, a checksum behind it.
_FRAME_BYTES = 12


class Chunk(NamedTuple):
    """A chunk: its name, and where its content is."""

    name: bytes
    start: int
    length: int


def read_chunks(source: Source, stream: BinaryIO) -> Iterator[Chunk]:
    """The chunks of a PNG that are there as declared, up to its end.

    Of one that is far away, without most of those of pixels.

    Args:
        source: The image.
        stream: Its stream.
    """
    size = stream.seek(0, io.SEEK_END)
    position = len(_SIGNATURE)
    name = b""
    while name != b"IEND" and position + _FRAME_BYTES <= size:
        stream.seek(position)
        before, head = name, stream.read(8)
        length, name = struct.unpack(">I4s", head)
        if source.far and name == b"IDAT" and before != b"IDAT":
            position, head = find_last_pixels(source, position, head) or (position, head)
            length = int.from_bytes(head[:4])
        if position + _FRAME_BYTES + length > size:
            return
        yield Chunk(name, position + 8, length)
        position += _FRAME_BYTES + length


def info_after_pixels(
    stream: BinaryIO, chunks: Sequence[Chunk]
) -> dict[str | tuple[int, int], object]:
    """What the chunks of a PNG behind its pixels tell, skipping the pixels."""

    def copy(chunk: Chunk) -> bytes:
        stream.seek(chunk.start)
        return _chunk(chunk.name, stream.read(chunk.length))

    behind = [*dropwhile(lambda chunk: chunk.name != b"IDAT", chunks)]
    # The frames of an animation have nothing to say about the first.
    still = takewhile(lambda chunk: chunk.name != b"fcTL", behind)
    metadata = [copy(chunk) for chunk in still if chunk.name in _METADATA]
    if not metadata:
        return {}
    # The same picture with these chunks in front of (no) pixels.
    rebuilt = [_SIGNATURE, copy(chunks[0]), *metadata, _chunk(b"IDAT", b"")]
    try:
        return open_with_pillow(io.BytesIO(b"".join(rebuilt))).info
    except exceptions.ImageError:
        return {}


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)
