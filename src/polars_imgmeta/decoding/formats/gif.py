"""The size of a GIF, for which Pillow may allocate the whole first frame.

Source: CompuServe, "Graphics Interchange Format, Version 89a".
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_SIGNATURES = frozenset({b"GIF87a", b"GIF89a"})
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"
_COMMENT, _APPLICATION, _LOOP = b"\xfe", b"\xff", b"NETSCAPE2.0"
_HAS_PALETTE, _PALETTE_BITS = 0x80, 0x07


def read_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of the canvas, or None where that is left to Pillow.

    As in Pillow, a first frame that is larger extends the canvas.
    """
    stream.seek(0)
    screen = stream.read(13)
    if screen[:6] not in _SIGNATURES or not _skip_palette(stream, screen[10:11]):
        return None
    width, height = struct.unpack_from("<HH", screen, 6)
    while (kind := stream.read(1)) != _IMAGE:
        if kind == _EXTENSION:
            _skip_extension(stream)
        elif kind in {b"", _TRAILER}:
            return None
    frame = stream.read(9)
    if len(frame) < 9 or not _skip_palette(stream, frame[8:]) or not stream.read(1):  # noqa: PLR2004
        return None
    left, top, columns, rows = struct.unpack_from("<HHHH", frame)
    width, height = max(width, left + columns), max(height, top + rows)
    return (width, height) if width and height else None


def _skip_extension(stream: BinaryIO) -> None:
    """Skip blocks up to an empty one, but by Pillow's rules where there are none."""
    kind = stream.read(1)
    first = _read_block(stream)
    if kind == _APPLICATION and first.startswith(_LOOP):
        _read_block(stream)
    if kind != _COMMENT or first:
        while _read_block(stream):
            pass


def _read_block(stream: BinaryIO) -> bytes:
    length = stream.read(1)
    return stream.read(length[0]) if length else b""


def _skip_palette(stream: BinaryIO, flags: bytes) -> bool:
    """Skip the palette that the flags declare; return whether it is there."""
    if not flags:
        return False
    length = 6 << (flags[0] & _PALETTE_BITS) if flags[0] & _HAS_PALETTE else 0
    return len(stream.read(length)) == length
