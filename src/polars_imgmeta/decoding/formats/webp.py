"""What the chunks of a WebP say; Pillow reads the whole file to open it.

Source: RFC 9649, "WebP Image Format".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.declared import Declared
from polars_imgmeta.decoding.formats.exif import orientation_of

MAX_CHUNKS = 1 << 15
"""Chunks that are looked at; of an animation, each frame is one."""
_FIRST_CHUNK, _CHUNK_HEAD = 12, 8
_EXTENDED = b"VP8X"
ANIMATION, XMP, EXIF = 0x02, 0x04, 0x08
"""The flags of an extended header."""
_ALPHA, _ICC = 0x10, 0x20
_LOSSLESS_ALPHA = 1 << 28  # after 14 bits each for width and height
_METADATA = {b"EXIF": EXIF, b"XMP ": XMP}
_MAX_METADATA_BYTES = 1 << 22


class _Chunk(NamedTuple):
    name: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.start + self.length + self.length % 2


class Geometry(NamedTuple):
    """What a header declares.

    Attributes:
        size: Width and height of the canvas.
        orientation: The orientation to be applied, 1 to 8.
        suits_opencv: Whether it is a still picture, whose end is there.
    """

    size: tuple[int, int]
    orientation: int
    suits_opencv: bool


def read_geometry(stream: BinaryIO) -> Geometry | None:
    """Read the header of a WebP, or return None if it is none.

    Raises:
        CorruptError: If it is damaged, or cut before metadata that it announces.
        LongHeaderError: If there are too many chunks, or their metadata are too long.
    """
    stream.seek(0)
    head = stream.read(_FIRST_CHUNK + 18)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    complete = int.from_bytes(head[4:8], "little") + 8 <= stream.seek(0, io.SEEK_END)
    if head[12:16] != _EXTENDED:
        if still := frame_size(head[_FIRST_CHUNK:]):
            return Geometry(still, 1, complete)
        raise _damaged()
    if len(head) < _FIRST_CHUNK + 18 or int.from_bytes(head[16:20], "little") < 10:  # noqa: PLR2004
        raise _damaged()
    flags, size = head[20], canvas_size(head)
    found = _read_metadata(stream, flags)
    if not complete and len(found) < sum(bool(flags & flag) for flag in _METADATA.values()):
        raise _damaged()
    orientation = orientation_of(found.get(b"EXIF", b""), found.get(b"XMP ", b""))
    return Geometry(size, orientation, complete and not flags & ANIMATION)


def _damaged() -> exceptions.CorruptError:
    msg = "the header of this WEBP image is damaged, or the file is cut"
    return exceptions.CorruptError(msg)


def canvas_size(head: bytes) -> tuple[int, int]:
    """Return width and height that the extended header at the start of a file declares."""
    return (
        int.from_bytes(head[24:27], "little") + 1,
        int.from_bytes(head[27:30], "little") + 1,
    )


def frame_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height that a chunk of pixels declares at its start, or None."""
    if len(head) < 18:  # noqa: PLR2004
        return None
    if head[:4] == b"VP8L":
        signature, bits = struct.unpack_from("<BI", head, 8)
        if signature != 0x2F or bits >> 29:  # noqa: PLR2004 - the version
            return None
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    tag, code, width, height = struct.unpack_from("<3s3sHH", head, 8)
    # A key frame that is to be shown.
    if head[:4] != b"VP8 " or code != b"\x9d\x01\x2a" or tag[0] & 0x11 != 0x10:  # noqa: PLR2004
        return None
    width, height = width & 0x3FFF, height & 0x3FFF  # the other bits are a scale
    return (width, height) if width and height else None


def _read_metadata(stream: BinaryIO, flags: int) -> dict[bytes, bytes]:
    """Return the first Exif and the first XMP, if the flags announce them.

    Raises:
        LongHeaderError: If there are too many chunks, or their metadata are too long.
    """
    wanted = {name for name, flag in _METADATA.items() if flags & flag}
    found: dict[bytes, bytes] = {}
    if not wanted:
        return found
    size = stream.seek(0, io.SEEK_END)
    for chunk in _chunks(stream):
        if chunk.name in wanted and chunk.name not in found and chunk.end <= size:
            if chunk.length > _MAX_METADATA_BYTES:
                msg = f"metadata of {chunk.length} bytes, more than {_MAX_METADATA_BYTES}"
                raise LongHeaderError(msg)
            stream.seek(chunk.start)
            found[chunk.name] = stream.read(chunk.length)
            if found.keys() == wanted:
                break
    return found


def read_declared(stream: BinaryIO) -> Declared | None:
    """Return what a WebP says of its pixels, or None if it is broken.

    Raises:
        LongHeaderError: If there are too many chunks.
    """
    flags = _flags_of(stream)
    alpha = bool(flags & _ALPHA)
    frames, profile = 0, False
    for chunk in _chunks(stream):
        profile |= chunk.name == b"ICCP" and bool(flags & _ICC) and chunk.length > 0
        if chunk.name == b"ANMF" and flags & ANIMATION:
            frames += 1
        elif chunk.name in {b"VP8 ", b"VP8L"} and not flags & ANIMATION:
            frames = 1
            if chunk.name == b"VP8L":
                stream.seek(chunk.start)
                (bits,) = struct.unpack("<xI", stream.read(5).ljust(5, b"\0"))
                alpha = bool(bits & _LOSSLESS_ALPHA)
            break
        alpha |= chunk.name == b"ALPH" and not flags & ANIMATION
    mode = "RGBA" if alpha else "RGB"
    return Declared(mode, len(mode), 8, frames, alpha, profile) if frames else None


def read_exif(stream: BinaryIO) -> bytes:
    """Return the Exif data of a WebP.

    Raises:
        LongHeaderError: If there are too many chunks, or the data are too long.
    """
    return _read_metadata(stream, _flags_of(stream) & EXIF).get(b"EXIF", b"")


def _flags_of(stream: BinaryIO) -> int:
    stream.seek(_FIRST_CHUNK)
    start = stream.read(9)
    return start[8] if start.startswith(_EXTENDED) and len(start) == 9 else 0  # noqa: PLR2004


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """Yield the chunks as far as they are there, without reading them.

    Raises:
        LongHeaderError: If there are too many.
    """
    position = _FIRST_CHUNK
    for _ in range(MAX_CHUNKS):
        stream.seek(position)
        head = stream.read(_CHUNK_HEAD)
        if len(head) < _CHUNK_HEAD:
            return
        name, length = struct.unpack("<4sI", head)
        chunk = _Chunk(name, position + _CHUNK_HEAD, length)
        yield chunk
        position = chunk.end
    msg = f"a WebP of more than {MAX_CHUNKS} chunks"
    raise LongHeaderError(msg)
