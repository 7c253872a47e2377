"""The size of an icon, which Pillow decodes while it opens it.

Source: Microsoft, "Icons", and the structure BITMAPINFOHEADER.
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO

from polars_imgmeta.decoding.formats.bounded import LongHeaderError

_SIGNATURE = b"\0\0\1\0"
_ENTRY = struct.Struct("<BBBxHHII")
_PNG = b"\x89PNG\r\n\x1a\n"
_INFO_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
MAX_ENTRIES = 1024
"""Pictures of an icon. Ordinary icons have up to a dozen."""


def read_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of the picture that Pillow shows, or None for it to judge.

    That is the largest; of several, the first with the fewest colours.

    Raises:
        LongHeaderError: If there are too many.
    """
    stream.seek(0)
    head = stream.read(6)
    if head[:4] != _SIGNATURE or len(head) < 6:  # noqa: PLR2004
        return None
    (count,) = struct.unpack_from("<H", head, 4)
    if count > MAX_ENTRIES:
        msg = f"an icon of {count} pictures, more than {MAX_ENTRIES}"
        raise LongHeaderError(msg)
    table = stream.read(_ENTRY.size * count)
    if not count or len(table) < _ENTRY.size * count:
        return None
    stream.seek(min(_ENTRY.iter_unpack(table), key=_rank)[-1])
    start = stream.read(24)
    if len(start) < 24:  # noqa: PLR2004
        return None
    if start.startswith(_PNG):
        columns, rows = struct.unpack_from(">II", start, 16)
        return (columns, rows) if start[12:16] == b"IHDR" else None
    length, columns, rows = struct.unpack_from("<IIi", start)
    return (columns, abs(rows) // 2) if length in _INFO_HEADERS else None


def _rank(entry: tuple[int, ...]) -> tuple[int, int]:
    width, height, colours, _, bits, _, _ = entry
    depth = bits or (math.ceil(math.log2(colours)) if colours else 0) or 256
    return -(width or 256) * (height or 256), depth
