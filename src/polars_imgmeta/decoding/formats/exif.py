"""The orientation in Exif or XMP, read with bounded work.

Pillow reads all tags of an Exif directory, and copies their values, to find one. This reader
finds the same one: in each case it stops or goes on as Pillow does.

Sources:
    CIPA DC-008, "Exif"; TIFF 6.0; Adobe, "XMP Specification", part 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from polars_imgmeta.decoding.formats.bounded import LongHeaderError

MAX_ENTRIES = 4096
"""Entries of a directory of tags. Cameras write some dozens."""

SIGNATURE = b"Exif\0\0"
_ORIENTATION = 274
# Bytes of a value by type, and the code of `struct` of those that are numbers.
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_NUMBERS = {3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
_NUMBERS |= {16: "Q"}
ORDERS = {b"II": "<", b"MM": ">"}
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")


def orientation_of(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8; 1 if there is none, or no valid one.

    Args:
        exif: Exif data, with or without their signature.
        xmp: XMP data, for Exif data without an orientation.

    Raises:
        LongHeaderError: If the directory has too many entries.
    """
    while exif.startswith(SIGNATURE):
        exif = exif[len(SIGNATURE) :]
    try:
        value = _find(exif) if exif else None
    except struct.error:
        return 1  # Pillow does not look into XMP either
    if value is None and xmp:
        found = _XMP.search(xmp)
        value = int(found[1]) if found else None
    return int(value) if value is not None and value in range(1, 9) else 1


def _find(exif: bytes) -> float | None:
    """Return the value of the tag in the first directory; 0 if it is no number."""
    order = ORDERS.get(exif[:2])
    if order is None or exif[2:4] not in {b"*\0", b"\0*"}:
        raise struct.error
    (position,) = struct.unpack_from(order + "I", exif, 4)
    entries = _entries(exif, order, position)
    room = len(exif)
    seen = set[int]()
    for tag, kind, count, data in entries:
        if tag in seen:  # the first one counts
            continue
        length = BYTES.get(kind, 0) * count
        start = 0
        if length > len(data):
            (start,) = struct.unpack(order + "I", data)
            room -= length
            if room < 0:
                continue
            if start + length > len(exif):
                return None  # the end of the directory, for Pillow
        if tag == _ORIENTATION and length:
            return _number(order, kind, exif[start : start + length] if start else data)
        if length:
            seen.add(tag)
    return None


def _entries(exif: bytes, order: str, position: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, count and value or position of a directory, as far as it is there."""
    if position + 2 > len(exif):
        return
    (entries,) = struct.unpack_from(order + "H", exif, position)
    table = exif[position + 2 : position + 2 + 12 * min(entries, MAX_ENTRIES + 1)]
    if len(table) > 12 * MAX_ENTRIES:
        msg = f"Exif metadata of {entries} entries, more than {MAX_ENTRIES}"
        raise LongHeaderError(msg)
    yield from struct.iter_unpack(order + "HHI4s", table[: len(table) // 12 * 12])


def _number(order: str, kind: int, data: bytes) -> float:
    """Return the first of the numbers, if they are any."""
    if kind not in _NUMBERS:
        return 0
    number, *divisor = struct.unpack_from(order + _NUMBERS[kind], data)
    return float(number / divisor[0] if divisor and divisor[0] else 0 if divisor else number)
