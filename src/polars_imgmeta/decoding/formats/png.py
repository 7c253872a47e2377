"""The chunks of a PNG: whether they are complete, and the metadata after the pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import dropwhile, takewhile
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.formats.quick import find_last_pixels
from polars_imgmeta.io.sources import Source

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METADATA = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})
# Length and name before the content, a checksum after it.
_FRAME_BYTES = 12


# Chunks of one PNG; a writer makes them of 8 KiB at least.
_MAX_CHUNKS = 1 << 15
# Texts and profiles of one PNG, and their bytes, each of which may decompress to a megabyte.
_MAX_TEXTS, _MAX_TEXT_BYTES = 16, 1 << 20
_TEXTS = frozenset({b"iTXt", b"tEXt", b"zTXt", b"iCCP"})
_OF_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"exif\0", b"xmp\0")
_LONGEST_KEYWORD = 80
# Chunks other than those of pixels.
_MAX_OTHERS = 1 << 12
_STRUCTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"acTL"})


class Chunk(NamedTuple):
    """The name of a chunk, and the position and length of its content."""

    name: bytes
    start: int
    length: int


def read_chunks(source: Source, stream: BinaryIO) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to IEND or to the first that is incomplete.

    Of a remote PNG most IDAT chunks are skipped, as each would cost a request.

    Raises:
        LongHeaderError: If there are too many.
    """
    size = stream.seek(0, io.SEEK_END)
    position = len(_SIGNATURE)
    name = b""
    count = 0
    while name != b"IEND" and position + _FRAME_BYTES <= size:
        count += 1
        if count > _MAX_CHUNKS:
            msg = f"a PNG of more than {_MAX_CHUNKS} chunks"
            raise LongHeaderError(msg)
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


def has_much_metadata(chunks: Sequence[Chunk]) -> bool:
    """Return whether texts and profiles take more work than a header should."""
    texts = [chunk.length for chunk in chunks if chunk.name in _TEXTS]
    others = sum(chunk.name not in {b"IDAT", b"fdAT"} for chunk in chunks)
    return len(texts) > _MAX_TEXTS or sum(texts) > _MAX_TEXT_BYTES or others > _MAX_OTHERS


def rebuild_header(stream: BinaryIO, chunks: Sequence[Chunk]) -> bytes:
    """Return a PNG of the chunks before the pixels, of the texts only those with an orientation."""
    before = [*takewhile(lambda chunk: chunk.name != b"IDAT", chunks)]
    needed = [chunk for chunk in before if chunk.name in _STRUCTURE]
    return _rebuild(stream, [*needed[:_MAX_OTHERS], *_of_orientation(stream, before)])


def info_after_pixels(
    stream: BinaryIO, chunks: Sequence[Chunk]
) -> dict[str | tuple[int, int], object]:
    """Return Pillow's `info` of the metadata after the pixels, without decoding the pixels."""
    after = [*dropwhile(lambda chunk: chunk.name != b"IDAT", chunks)]
    # From the first fcTL on, chunks belong to further frames of an animation.
    first_frame = [*takewhile(lambda chunk: chunk.name != b"fcTL", after)]
    metadata = _of_orientation(stream, first_frame)
    if not metadata:
        return {}
    try:
        # A PNG of the same header with this metadata before empty pixels.
        return open_with_pillow(io.BytesIO(_rebuild(stream, [chunks[0], *metadata]))).info
    except exceptions.ImageError:
        return {}


def _of_orientation(stream: BinaryIO, chunks: Sequence[Chunk]) -> list[Chunk]:
    """Return the last chunks that may contain an orientation, which override earlier ones."""

    def has(chunk: Chunk) -> bool:
        if chunk.name not in _METADATA or chunk.length > _MAX_TEXT_BYTES:
            return False
        stream.seek(chunk.start)
        return chunk.name == b"eXIf" or stream.read(_LONGEST_KEYWORD).startswith(_OF_ORIENTATION)

    return [chunk for chunk in chunks if has(chunk)][-_MAX_TEXTS:]


def _rebuild(stream: BinaryIO, chunks: Sequence[Chunk]) -> bytes:
    parts = [_SIGNATURE]
    for chunk in chunks:
        stream.seek(chunk.start)
        parts.append(_encode_chunk(chunk.name, stream.read(chunk.length)))
    return b"".join((*parts, _encode_chunk(b"IDAT", b"")))


def _encode_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)
