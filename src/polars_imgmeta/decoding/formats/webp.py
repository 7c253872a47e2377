"""The header of any WebP, which Pillow reads only from the whole file.

Source: RFC 9649, "WebP Image Format".
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.exif import orientation_of

MAX_CHUNKS = 1 << 15
"""Chunks that are looked at; of an animation, each frame is one."""
_FIRST_CHUNK, _CHUNK_HEAD = 12, 8
_EXTENDED = b"VP8X"
ANIMATION, XMP, EXIF = 0x02, 0x04, 0x08
"""The flags of an extended header."""
_METADATA = {b"EXIF": EXIF, b"XMP ": XMP}
_MAX_METADATA_BYTES = 1 << 22


class Geometry(NamedTuple):
    """What a header tells.

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
    """Return width and height that the extended header at the start of a file tells."""
    return (
        int.from_bytes(head[24:27], "little") + 1,
        int.from_bytes(head[27:30], "little") + 1,
    )


def frame_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height that a chunk of pixels tells at its start, or None."""
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
    """Return the first Exif and the first XMP, if the flags tell of them."""
    wanted = {name for name, flag in _METADATA.items() if flags & flag}
    found: dict[bytes, bytes] = {}
    size = stream.seek(0, io.SEEK_END)
    position = _FIRST_CHUNK
    for _ in range(MAX_CHUNKS):
        if found.keys() == wanted or position + _CHUNK_HEAD > size:
            return found
        stream.seek(position)
        name, length = struct.unpack("<4sI", stream.read(_CHUNK_HEAD))
        position += _CHUNK_HEAD + length + length % 2
        if name not in wanted or name in found or position > size:
            continue
        if length > _MAX_METADATA_BYTES:
            msg = f"metadata of {length} bytes, more than {_MAX_METADATA_BYTES}"
            raise LongHeaderError(msg)
        found[name] = stream.read(length)
    msg = f"a WebP of more than {MAX_CHUNKS} chunks"
    raise LongHeaderError(msg)
