"""Headers of WebP that are not of the ordinary kind, against Pillow."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, WebPImagePlugin

import polars_imgmeta as im
from polars_imgmeta.decoding.formats import webp
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure

_MOST_PIXELS = 1 << 22
_XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def encoded(*, animated: bool, exif: int | None = None, xmp: bytes = b"") -> bytes:
    """Return noise of 12 x 7 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 12, 3), np.uint8)
    image = Image.fromarray(noise)
    metadata = Image.Exif()
    if exif:
        metadata[274] = exif
    options = {"exif": metadata.tobytes()} if exif else {}
    more = [image.rotate(180)] if animated else []
    file = io.BytesIO()
    image.save(file, "WEBP", save_all=animated, append_images=more, xmp=xmp, **options)
    return file.getvalue()


def with_chunk(data: bytes, name: bytes, content: bytes, flags: int = 0) -> bytes:
    """Return an extended WebP with one more chunk before its pixels."""
    chunk = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    length = struct.pack("<I", len(data) - 8 + len(chunk))
    return (
        data[:4] + length + data[8:20] + bytes([data[20] | flags]) + data[21:30] + chunk + data[30:]
    )


FILES = [
    encoded(animated=animated, exif=exif, xmp=xmp)
    for animated, exif, xmp in itertools.product((False, True), (None, 1, 6), (b"", _XMP))
]
FILES += [with_chunk(FILES[4], b"ruSt", b"abc"), with_chunk(FILES[4], b"EXIF", b"II*\0")]


@given(data=st.sampled_from(FILES), damage=st.data())
def test_headers_are_those_of_pillow(data: bytes, damage: st.DataObject) -> None:
    """Whatever Pillow opens has the geometry that Pillow shows, also after some damage."""
    changed = bytearray(data)
    positions = st.integers(12, len(data) - 1)
    values = st.sampled_from([0, 1, 4, 0x0C, 0x7F, 0xFF])
    for position, value in damage.draw(st.lists(st.tuples(positions, values), max_size=2)):
        changed[position] = value
    file = bytes(changed)
    try:
        opened = WebPImagePlugin.WebPImageFile(io.BytesIO(file))
        if opened.width * opened.height > _MOST_PIXELS:
            return  # Pillow decodes before it turns, which would take gigabytes and minutes
        shown = ImageOps.exif_transpose(opened)
    except Exception:  # noqa: BLE001 - of any kind
        return
    assert read_header(BytesSource(file)).shape == shown.size[::-1]


@pytest.mark.parametrize("data", FILES)
def test_cut_files(data: bytes) -> None:
    """A file that is cut is corrupt, with its geometry if nothing is missing that tells it."""
    whole = measure(data, "standard", max_pixels=1 << 20)
    assert whole.error is None
    for length in range(31, len(data) - 1):
        cut = measure(data[:length], "standard", max_pixels=1 << 20)
        assert isinstance(cut.error, im.CorruptError)
        assert cut.values.get("width") in {None, whole.values["width"]}


def test_little_is_read_of_a_large_file() -> None:
    """Of megabytes of pixels, nothing is read."""
    data = with_chunk(FILES[4], b"ruSt", bytes(40 << 20))
    assert webp.read_geometry(io.BytesIO(data)) == ((12, 7), 6, True)
    error = measure(data[: 20 << 20], "geometry", max_pixels=1 << 20).error
    assert isinstance(error, im.CorruptError)


def test_limits_are_named() -> None:
    """A header beyond a limit is `too_large`, and the message tells the limit."""
    many = with_chunk(FILES[4], b"ruSt", b"")
    many = many[:30] + many[30:38] * 40_000 + many[38:]
    for data, message in (
        (many, "a WebP of more than 32768 chunks"),
        (
            with_chunk(FILES[0][:12] + b"VP8X\x0a\0\0\0" + bytes(10), b"XMP ", bytes(5 << 20), 4),
            "metadata of 5242880 bytes, more than 4194304",
        ),
    ):
        error = measure(data, "geometry", max_pixels=1 << 20).error
        assert isinstance(error, im.TooLargeError)
        assert str(error) == message
