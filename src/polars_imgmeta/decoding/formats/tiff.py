"""Tags of a TIFF that are too long to read for its header.

Pillow reads the values of all tags of the first directory. Photoshop, for one, keeps its layers
in a tag of hundreds of megabytes, and a large picture has as many strips as rows.

Source: Adobe, "TIFF Revision 6.0"; "BigTIFF Design" of LibTIFF.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.exif import BYTES, MAX_ENTRIES, ORDERS

_MAX_VALUE_BYTES = 1 << 19
_MAX_LAYOUT_BYTES = 1 << 15
# Pixels of a tile, which may be larger than the picture.
_ORDINARY_TILE = 1 << 22
_LAYOUT = frozenset({273, 279, 324, 325})  # offsets and lengths of strips and tiles
_DIRECTORIES = frozenset({34665, 34853, 40965})  # of Exif, GPS and interoperability
_UNKNOWN_TYPE = bytes(2)
# A strip or a tile takes as much as so many pixels; ordinary files have fewer of them.
_PIXELS_PER_STRIP, _ORDINARY_STRIPS = 128, 1 << 13


class _Entry(NamedTuple):
    """An entry of a directory.

    Attributes:
        position: Its place in the file.
        tag: Its number.
        values: How many it has.
        length: How many bytes they take.
        value: Where they are, if they take more than a few; or the only one.
        count_form: The form of the count, for `struct`.
    """

    position: int
    tag: int
    values: int
    length: int
    value: int
    count_form: str


def patches(stream: BinaryIO) -> dict[int, bytes]:
    """Return what to show of the first directory in place of tags of long values.

    Of strips and tiles one is left, other tags get an unknown type, so that they are skipped.

    Returns:
        Bytes by position; none for what is not a TIFF.

    Raises:
        LongHeaderError: If the directory has too many entries.
    """
    shown = {}
    for entry in _entries(stream):
        if entry.tag in _LAYOUT and entry.length > _MAX_LAYOUT_BYTES:
            shown[entry.position + 4] = struct.pack(entry.count_form, 1)
        elif entry.length > _MAX_VALUE_BYTES:
            shown[entry.position + 2] = _UNKNOWN_TYPE
    return shown


def without_metadata(data: bytes) -> bytes | None:
    """Return a TIFF without tags of long values that its pixels do not need.

    Pillow reads them all, and the directories that they point to.

    Returns:
        A copy in which these tags have an unknown type, or None if there are none.

    Raises:
        LongHeaderError: If the directory has too many entries.
    """
    stream = io.BytesIO(data)
    hidden = [
        entry.position
        for entry in _entries(stream)
        if (entry.length > _MAX_VALUE_BYTES and entry.tag not in _LAYOUT)
        or (entry.tag in _DIRECTORIES and _is_long(stream, entry.value))
    ]
    if not hidden:
        return None
    changed = bytearray(data)
    for position in hidden:
        changed[position + 2 : position + 4] = _UNKNOWN_TYPE
    return bytes(changed)


def weight_of_strips(stream: BinaryIO, pixels: int) -> int:
    """Return how often a pixel counts in a picture of very many strips or tiles of few pixels."""
    found = [entry for entry in _entries(stream) if entry.tag in _LAYOUT and entry.length]
    strips = max((entry.values for entry in found), default=0)
    if strips <= _ORDINARY_STRIPS:
        return 1
    return max(1, strips * _PIXELS_PER_STRIP // max(pixels, 1))


def _is_long(stream: BinaryIO, directory: int) -> bool:
    """Return whether a directory has long values, or too many entries."""
    try:
        return any(entry.length > _MAX_VALUE_BYTES for entry in _entries(stream, directory))
    except LongHeaderError:
        return True


def _entries(stream: BinaryIO, directory: int | None = None) -> Iterator[_Entry]:
    """Yield the entries of a directory, by default the first; none of what is not a TIFF.

    Raises:
        LongHeaderError: If there are too many.
    """
    stream.seek(0)
    head = stream.read(16)
    order = ORDERS.get(head[:2])
    if order is None or not {*head[2:4]} <= {0, 42, 43} or len(head) < 16:  # noqa: PLR2004
        return
    big = 43 in head[2:4]  # noqa: PLR2004
    number, count_form = order + ("Q" if big else "I"), order + ("Q" if big else "H")
    entry_form = struct.Struct(order + ("HHQQ" if big else "HHII"))
    if directory is None:
        (directory,) = struct.unpack_from(number, head, 8 if big else 4)
    if directory >= 1 << 62:
        return
    stream.seek(directory)
    count_bytes = struct.calcsize(count_form)
    start = stream.read(count_bytes)
    if len(start) < count_bytes:
        return
    (entries,) = struct.unpack(count_form, start)
    table = stream.read(min(entries, MAX_ENTRIES + 1) * entry_form.size)
    if len(table) > MAX_ENTRIES * entry_form.size:
        msg = f"a TIFF directory of {entries} entries, more than {MAX_ENTRIES}"
        raise LongHeaderError(msg)
    for position in range(0, len(table) - entry_form.size + 1, entry_form.size):
        tag, kind, count, value = entry_form.unpack_from(table, position)
        length = BYTES.get(kind, 0) * count
        yield _Entry(directory + count_bytes + position, tag, count, length, value, number)


def weight_of_tile(tile: tuple[int, int], pixels: int) -> int:
    """Return how often a pixel counts in a picture of few pixels, of which a tile has many.

    A decoder allocates whole tiles.
    """
    area = tile[0] * tile[1]
    return -(-area // max(pixels, 1)) if area > max(pixels, _ORDINARY_TILE) else 1
