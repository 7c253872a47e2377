"""What OpenCV is given of an image: the parts that its pixels need, and nothing else.

OpenCV's readers of animations, text and metadata cannot be trusted with arbitrary input: a
few bytes can end the process or take minutes. So each format that it decodes is walked here
first. Parts without influence on the pixels are left out, and an image of any other structure
is not given to OpenCV at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import TypeAlias

from polars_imgmeta.decoding.formats.jpeg import read_segments
from polars_imgmeta.decoding.formats.opencv_only import rebuild_bmp, rebuild_radiance, rebuild_tiff

Buffer: TypeAlias = bytes | memoryview

_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR_START, _IHDR_BYTES = b"\0\0\0\x0dIHDR", 12 + 13
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# These may stay, if they are few, to save a copy.
_PNG_HARMLESS = frozenset(b"cHRM gAMA sBIT sRGB bKGD pHYs tIME tEXt hIST eXIf".split())
_MAX_HARMLESS = 16

_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L"})
_WEBP_ALPHA = 0x10

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_JP2_CODESTREAM = b"\xff\x4f\xff\x51"
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_BOXES = frozenset({b"ftyp", b"jxll", b"jxlc", b"jxlp"})
_JP2_BOXES = frozenset({b"ftyp", b"jp2h", b"jp2c"})
_JP2_HEADER_BOXES = frozenset({b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res "})


def rebuild(data: bytes, name: str) -> Buffer | None:
    """Return an image as OpenCV may see it.

    Args:
        data: The encoded image.
        name: Its format.

    Returns:
        The image without what its pixels do not need, without a copy where nothing is left
        out; None if OpenCV may not see it.
    """
    rebuilder = _REBUILDERS.get(name)
    try:
        return rebuilder(data) if rebuilder else None
    except (IndexError, struct.error):  # truncated
        return None


def _rebuild_png(data: bytes) -> Buffer | None:
    """Keep IHDR, PLTE, tRNS and IDAT: neither animations nor texts, compressed or not."""
    if data[8:16] != _IHDR_START:
        return None
    position = len(_PNG) + _IHDR_BYTES
    others = 0
    # Tens of thousands of times a second, for tiny pictures.
    while (name := data[position + 4 : position + 8]) != b"IEND":
        position += 12 + int.from_bytes(data[position : position + 4])
        if position > len(data):
            return None
        if name not in _PNG_PIXELS:
            others += 1 if name in _PNG_HARMLESS else _MAX_HARMLESS + 1
    end = position + 12 + int.from_bytes(data[position : position + 4])
    if end > len(data):
        return None
    if others <= _MAX_HARMLESS:
        return data if end == len(data) else memoryview(data)[:end]
    return b"".join((_PNG, *_png_parts(memoryview(data))))


def _png_parts(data: memoryview) -> Iterator[memoryview]:
    """Yield the chunks that the pixels need, neighbours in one piece."""
    start = position = len(_PNG)
    name = b""
    while name != b"IEND":
        name = bytes(data[position + 4 : position + 8])
        end = position + 12 + int.from_bytes(data[position : position + 4])
        if name not in _PNG_PIXELS:
            yield data[start:position]
            start = end
        position = end
    yield data[start:position]


def _rebuild_jpeg(data: bytes) -> Buffer | None:
    """Drop metadata before the first scan, and junk."""
    found = read_segments(lambda start, length: data[start : start + length])
    if found.scan is None:
        return None
    if len(found.pixels) == found.scan:
        return data
    return b"".join((found.pixels, memoryview(data)[found.scan :]))


def _rebuild_webp(data: bytes) -> Buffer | None:
    """Keep the pixels of a still picture, and its alpha."""
    size = int.from_bytes(data[4:8], "little") + 8
    if data[12:16] in _WEBP_PIXELS:
        return data if size >= len(data) else memoryview(data)[:size]
    if data[12:16] != b"VP8X" or data[16:20] != b"\x0a\0\0\0":
        return None
    kept: list[bytes] = []
    position = 30
    names: set[bytes] = set()
    while position < min(size, len(data)) and not names & _WEBP_PIXELS:
        name, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length + length % 2
        if name in {b"ANIM", b"ANMF"}:
            return None
        if name == b"ALPH" or name in _WEBP_PIXELS:
            kept.append(data[position:end])
            names.add(name)
        position = end
    if not names & _WEBP_PIXELS:
        return None
    head = bytes((data[20] & _WEBP_ALPHA,))
    body = b"".join((b"WEBPVP8X\x0a\0\0\0", head, data[21:30], *kept))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _rebuild_jpeg2000(data: bytes) -> Buffer | None:
    """Keep the boxes of the picture and of its colours."""
    if data.startswith(_JP2_CODESTREAM):
        return data
    if not data.startswith(_JP2):
        return None
    parts = [_JP2]
    for name, start, end in _boxes(data, len(_JP2), len(data)):
        if name == b"jp2h" and not all(
            inner in _JP2_HEADER_BOXES for inner, _, _ in _boxes(data, start + 8, end)
        ):
            return None
        if name in _JP2_BOXES:
            parts.append(data[start:end])
        if name == b"jp2c":
            return b"".join(parts)
    return None


def _boxes(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of boxes of ordinary lengths."""
    while position + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, position)
        length = length or end - position  # zero means: to the end
        if not 8 <= length <= end - position:  # noqa: PLR2004 - the head of a box
            raise IndexError
        yield name, position, position + length
        position += length


def _rebuild_jxl(data: bytes) -> Buffer | None:
    """Keep the pixels: metadata, and what restores a packed JPEG, decompress to any length."""
    if not data.startswith(_JXL):
        return data
    kept, position = [_JXL], len(_JXL)
    try:
        for name, start, position in _boxes(data, len(_JXL), len(data)):
            if name in _JXL_BOXES:
                kept.append(data[start:position])
    except IndexError:  # a box is cut: the decoder judges its pixels, and sees no other one
        if data[position + 4 : position + 8] in _JXL_BOXES:
            kept.append(data[position:])
    return b"".join(kept)


_REBUILDERS: dict[str, Callable[[bytes], Buffer | None]] = {
    "BMP": rebuild_bmp,
    "HDR": rebuild_radiance,
    "JPEG": _rebuild_jpeg,
    "JPEG2000": _rebuild_jpeg2000,
    "JXL": _rebuild_jxl,
    "PNG": _rebuild_png,
    "TIFF": rebuild_tiff,
    "WEBP": _rebuild_webp,
}
