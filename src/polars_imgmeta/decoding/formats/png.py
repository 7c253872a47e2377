"""The chunks of a PNG: whether they are complete, and the metadata after the pixels."""

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
# Length and name before the content, a checksum after it.
_FRAME_BYTES = 12


class Chunk(NamedTuple):
    """The name of a chunk, and the position and length of its content."""

    name: bytes
    start: int
    length: int


def read_chunks(source: Source, stream: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to IEND or to the first that is incomplete.

    Of a remote PNG most IDAT chunks are skipped, as each would cost a request.
    """
    size = stream.seek(0, io.SEEK_END)
    position = len(_SIGNATURE)
    name = b""
    while name != b"IEND" and position + _FRAME_BYTES <= size:
        stream.seek(position)
        previous, head = name, stream.read(8)
        length, name = struct.unpack(">I4s", head)
        if source.remote and name == b"IDAT" and previous != b"IDAT":
            position, head = find_last_pixels(source, position, head) or (position, head)
            length = int.from_bytes(head[:4])
        if position + _FRAME_BYTES + length > size:
            return
        yield Chunk(name, position + 8, length)
        position += _FRAME_BYTES + length


def info_after_pixels(
    stream: BinaryIO, chunks: Sequence[Chunk]
) -> dict[str | tuple[int, int], object]:
    """Return Pillow's `info` of the metadata after the pixels, without decoding the pixels."""

    def copy(chunk: Chunk) -> bytes:
        stream.seek(chunk.start)
        return _encode_chunk(chunk.name, stream.read(chunk.length))

    after = [*dropwhile(lambda chunk: chunk.name != b"IDAT", chunks)]
    # From the first fcTL on, chunks belong to further frames of an animation.
    first_frame = takewhile(lambda chunk: chunk.name != b"fcTL", after)
    metadata = [copy(chunk) for chunk in first_frame if chunk.name in _METADATA]
    if not metadata:
        return {}
    # A PNG of the same header with this metadata before empty pixels.
    rebuilt = [_SIGNATURE, copy(chunks[0]), *metadata, _encode_chunk(b"IDAT", b"")]
    try:
        return open_with_pillow(io.BytesIO(b"".join(rebuilt))).info
    except exceptions.ImageError:
        return {}


def _encode_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)
