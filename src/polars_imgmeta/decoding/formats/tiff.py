"""Tags of a TIFF that are too long to read for its header.

Pillow reads the values of all tags of the first directory. Photoshop, for one, keeps its layers
in a tag of hundreds of megabytes, and a large picture has as many strips as rows.

Source: Adobe, "TIFF Revision 6.0"; "BigTIFF Design" of LibTIFF.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.exif import BYTES, MAX_ENTRIES, ORDERS

_MAX_VALUE_BYTES = 1 << 19
_MAX_LAYOUT_BYTES = 1 << 15
# Pixels of a tile, which may be larger than the picture.
_ORDINARY_TILE = 1 << 22
_LAYOUT = frozenset({273, 279, 324, 325})  # offsets and lengths of strips and tiles


def patches(stream: BinaryIO) -> dict[int, bytes]:
    """Return what to show of the first directory in place of tags of long values.

    Of strips and tiles one is left, other tags get an unknown type, so that they are skipped.

    Returns:
        Bytes by position; none for what is not a TIFF.

    Raises:
        LongHeaderError: If the directory has too many entries.
    """
    stream.seek(0)
    head = stream.read(16)
    order = ORDERS.get(head[:2])
    if order is None or not {*head[2:4]} <= {0, 42, 43} or len(head) < 16:  # noqa: PLR2004
        return {}
    count_form, entry_form, at = ("Q", "HHQ8x", 8) if 43 in head[2:4] else ("H", "HHI4x", 4)  # noqa: PLR2004
    (directory,) = struct.unpack_from(order + ("Q" if at > 4 else "I"), head, at)  # noqa: PLR2004
    if directory >= 1 << 62:
        return {}
    stream.seek(directory)
    count_bytes, entry_bytes = (struct.calcsize(order + form) for form in (count_form, entry_form))
    start = stream.read(count_bytes)
    if len(start) < count_bytes:
        return {}
    (entries,) = struct.unpack(order + count_form, start)
    table = stream.read(min(entries, MAX_ENTRIES + 1) * entry_bytes)
    if len(table) > MAX_ENTRIES * entry_bytes:
        msg = f"a TIFF directory of {entries} entries, more than {MAX_ENTRIES}"
        raise LongHeaderError(msg)
    shown = {}
    for position in range(0, len(table) - entry_bytes + 1, entry_bytes):
        tag, kind, count = struct.unpack_from(order + entry_form, table, position)
        length = BYTES.get(kind, 0) * count
        position += directory + count_bytes  # noqa: PLW2901
        if tag in _LAYOUT and length > _MAX_LAYOUT_BYTES:
            shown[position + 4] = struct.pack(order + entry_form[2], 1)
        elif length > _MAX_VALUE_BYTES:
            shown[position + 2] = bytes(2)
    return shown


def weight_of_tile(tile: tuple[int, int], pixels: int) -> int:
    """Return how often a pixel counts in a picture of few pixels, of which a tile has many.

    A decoder allocates whole tiles.
    """
    area = tile[0] * tile[1]
    return -(-area // max(pixels, 1)) if area > max(pixels, _ORDINARY_TILE) else 1
