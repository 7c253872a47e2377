"""The segments of a JPEG before its first scan: those of the pixels, and the metadata.

Source: ITU-T T.81, annex B; CIPA DC-008, "Exif".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.exif import SIGNATURE

MAX_SEGMENTS = 4096
"""Segments before the first scan: enough for an ICC profile, or Exif, of 256 MiB."""
_WINDOW_BYTES = 1 << 16
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_SCAN, _EXIF_OR_XMP, _ESCAPED, _FILL = 0xDA, 0xE1, 0x00, 0xFF
# Markers that have no length, or for Pillow none: JPG, RST0 to EOI, JPG0 to JPG13.
_ALONE = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
_RESERVED = range(0x01, 0xC0)
COLOUR_MARKERS = frozenset({0xE0, 0xEE})
"""Application data of JFIF and Adobe, which declare the colour space."""
METADATA_MARKERS = frozenset({*range(0xE0, 0xF0), 0xFE}) - COLOUR_MARKERS
"""Other application data, and comments."""
ARITHMETIC_FRAMES = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
DAMAGED = -1


Reader: TypeAlias = Callable[[int, int], bytes]
"""Returns the bytes from a position, of a length, or fewer at the end."""


class Segments(NamedTuple):
    """What precedes the first scan.

    Attributes:
        pixels: The bytes up to the scan, without metadata; or up to and with the part that is
            damaged.
        scan: The position of the scan, or None if there is none that can be reached.
        exif: Exif data of all segments together.
        xmp: XMP data of the last segment that has some.
        frames: The markers of the other segments, among them those of the frame.
    """

    pixels: bytes
    scan: int | None
    exif: bytes
    xmp: bytes
    frames: frozenset[int]


def read_segments(read: Reader) -> Segments:
    """Read the segments up to the first scan.

    Args:
        read: What reads the image.

    Raises:
        LongHeaderError: If there are too many.
    """
    pixels, exif, xmp = [b"\xff\xd8"], [b""], b""
    markers: set[int] = set()
    scan = None
    for position, marker, length in _walk(read):
        if marker in METADATA_MARKERS:
            if marker == _EXIF_OR_XMP:
                content = read(position + 4, length - 4)
                if content.startswith(SIGNATURE):
                    exif.append(content[len(SIGNATURE) :])
                elif content.startswith(_XMP):
                    xmp = content[len(_XMP) :]
        elif marker == _SCAN:
            scan = position
        else:
            markers.add(marker)
            pixels.append(read(position, length))
    return Segments(b"".join(pixels), scan, b"".join(exif), xmp, frozenset(markers))


def _walk(read: Reader) -> Iterator[tuple[int, int, int]]:
    """Yield position, marker and length of segments, up to a scan or to what is damaged.

    What is damaged has the marker `DAMAGED`.
    """
    position = 2
    for _ in range(MAX_SEGMENTS):
        head = read(position, 4)
        if len(head) < 4:  # noqa: PLR2004
            yield position, DAMAGED, 4
            return
        marker = head[1]
        if head[0] != _FILL or marker in {_ESCAPED, _FILL}:
            window = read(position, _WINDOW_BYTES)  # Pillow and libjpeg skip up to a marker
            found = _MARKER.search(window)
            position += found.start() if found else max(1, len(window) - 1)
            continue
        length = 2 if marker in _ALONE else 2 + (head[2] << 8 | head[3])
        if marker in _RESERVED or not read(position + length - 1, 1):
            yield position, DAMAGED, length
            return
        yield position, marker, length
        if marker == _SCAN:
            return
        position += length
    msg = f"more than {MAX_SEGMENTS} segments before the first scan"
    raise LongHeaderError(msg)
