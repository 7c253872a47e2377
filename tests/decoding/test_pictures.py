"""Headers and pictures: against Pillow, against specifications, and of damaged data."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image, ImageFile
from strategies import (
    FORMATS,
    Encoded,
    Samples,
    damaged_encodings,
    encodings,
    exif_of,
    shown_by_pillow,
    upright,
    write,
)

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.headers import Header, read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring import measurement

# Callers check the header before they decode pixels.
MAX_PIXELS: Final = 1 << 22


def header_of(data: bytes) -> Header:
    """Return the header of an image in memory."""
    return read_header(BytesSource(data))


def decode(data: bytes) -> Samples:
    """Return the picture of an image in memory, as RGB."""
    return read_picture(data, header_of(data))[..., ::-1]


def attempt(data: bytes) -> tuple[Header | None, Samples | None, str]:
    """Return header and picture as far as they can be read, and the error or an empty string."""
    header = None
    try:
        header = header_of(data)
        if header.width * header.height > MAX_PIXELS:
            return header, None, "skipped"
        return header, read_picture(data, header), ""
    except exceptions.ImageError as error:
        return header, None, f"{error.kind}: {error}"


def noise(rows: int, columns: int, channels: int = 3, seed: int = 0) -> Samples:
    """Return random samples, so that any misplaced sample shows."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows, columns, channels), dtype=np.uint8)


def flat(colour: Sequence[int], mode: str = "RGB") -> Image.Image:
    """Return an image of one colour."""
    return Image.new(mode, (6, 4), tuple(colour))


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG."""
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)


def png(
    samples: NDArray[np.uint8] | NDArray[np.uint16], colour_type: int, *, interlaced: bool = False
) -> bytes:
    """Return a PNG of 8 or 16 bits, written from the specification."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
        passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    lines = b"".join(
        b"\0" + line.tobytes()
        for top, left, down, right in passes
        if left < samples.shape[1]
        for line in big_endian[top::down, left::right]
    )
    rows, columns = samples.shape[:2]
    depth = samples.itemsize * 8
    ihdr = struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", ihdr),
            png_chunk(b"IDAT", zlib.compress(lines)),
            png_chunk(b"IEND", b""),
        ]
    )


def with_chunk(data: bytes, chunk: bytes, *, after_pixels: bool) -> bytes:
    """Return a PNG with one more chunk right before or after its pixels."""
    position = data.rindex(b"IEND" if after_pixels else b"IDAT") - 4
    return data[:position] + chunk + data[position:]


def exif_with(kind: int, count: int, value: bytes, appendix: bytes = b"") -> bytes:
    """Return EXIF data whose orientation has this type, count and value."""
    entry = struct.pack("<HHI", 274, kind, count) + value
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0" + appendix


def xmp_of(orientation: str) -> bytes:
    """Return the iTXt content of an XMP packet with an orientation."""
    return (
        b"XML:com.adobe.xmp\0\0\0\0\0"
        + (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
            f' tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
        ).encode()
    )


def jpeg_with(image: Image.Image, exif: bytes) -> bytes:
    """Return a JPEG with EXIF data."""
    return write(image, "JPEG", exif=exif)


def png_with(image: Image.Image, exif: bytes) -> bytes:
    """Return a PNG with EXIF data before its pixels."""
    chunk = png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return with_chunk(write(image, "PNG"), chunk, after_pixels=False)


def late_png_with(image: Image.Image, exif: bytes) -> bytes:
    """Return a PNG with EXIF data after its pixels."""
    chunk = png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return with_chunk(write(image, "PNG"), chunk, after_pixels=True)


def webp_with(image: Image.Image, exif: bytes) -> bytes:
    """Return a WebP with EXIF data."""
    return write(image, "WEBP", lossless=True, exif=exif)


CARRIERS = pytest.mark.parametrize("carrier", [jpeg_with, png_with, late_png_with, webp_with])
ORIENTATIONS = pytest.mark.parametrize("orientation", range(1, 9))


# Whole images


@given(encodings())
def test_reference(encoded: Encoded) -> None:
    """Every encoding is decoded to the picture that was written."""
    header = header_of(encoded.data)
    assert header.format == encoded.format
    assert header.shape == encoded.reference.shape[:2]
    picture = read_picture(encoded.data, header)
    assert picture.dtype == np.uint8
    difference = picture[..., ::-1].astype(np.int64) - encoded.reference
    assert np.abs(difference).max() <= encoded.tolerance


@given(encodings())
def test_pillow(encoded: Encoded) -> None:
    """Every encoding is decoded as by Pillow."""
    expected = shown_by_pillow(encoded.data)
    header = header_of(encoded.data)
    assert header.shape == expected.shape[:2]
    difference = read_picture(encoded.data, header)[..., ::-1].astype(np.int64) - expected
    assert np.abs(difference).max() <= encoded.tolerance


def test_format_follows_from_content(tmp_path: Path) -> None:
    """The format follows from the content, not from the suffix."""
    picture = Image.fromarray(noise(5, 7))
    for content in ("PNG", "BMP", "TIFF"):
        measurements = []
        for name in ("image.jpg", "image.png", "image.txt", "image"):
            path = tmp_path / name
            path.write_bytes(write(picture, content))
            measurements.append(measurement.measure(str(path), "standard", max_pixels=100))
        assert measurements[0].error is None
        assert measurements[0].values["width"] == 7
        assert all(measurement == measurements[0] for measurement in measurements)


# Orientation


@CARRIERS
@ORIENTATIONS
def test_orientation(carrier: Callable[[Image.Image, bytes], bytes], orientation: int) -> None:
    """Each of the eight orientations is applied, wherever the EXIF data are stored."""
    stored = np.kron(noise(3, 5), np.ones((8, 8, 1), np.uint8))
    data = carrier(Image.fromarray(stored), exif_of(orientation))
    header = header_of(data)
    assert header.orientation == orientation
    assert header.shape == upright(stored, orientation).shape[:2]
    untransformed = decode(carrier(Image.fromarray(stored), exif_of(1)))
    np.testing.assert_array_equal(decode(data), upright(untransformed, orientation))
    np.testing.assert_array_equal(decode(data), shown_by_pillow(data))


@ORIENTATIONS
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_orientation_of_tiff(orientation: int, compression: str) -> None:
    """The orientation of a TIFF is taken from its tag."""
    stored = noise(5, 8)
    data = write(
        Image.fromarray(stored), "TIFF", tiffinfo={274: orientation}, compression=compression
    )
    assert header_of(data).shape == upright(stored, orientation).shape[:2]
    np.testing.assert_array_equal(decode(data), upright(stored, orientation))


@ORIENTATIONS
def test_orientation_of_avif(orientation: int) -> None:
    """The orientation of an AVIF is taken from its `irot` and `imir` properties."""
    stored = np.kron(noise(3, 5), np.ones((8, 8, 1), np.uint8))
    data = write(Image.fromarray(stored), "AVIF", exif=exif_of(orientation), quality=100, speed=10)
    assert header_of(data).shape == upright(stored, orientation).shape[:2]
    difference = decode(data).astype(np.int64) - upright(stored, orientation)
    assert np.abs(difference).mean() < 10


@ORIENTATIONS
@pytest.mark.parametrize("after_pixels", [False, True])
def test_orientation_of_xmp(orientation: int, after_pixels: bool) -> None:  # noqa: FBT001 - a parameter
    """The orientation in an XMP packet of a PNG is applied, before or after the pixels."""
    stored = noise(5, 8)
    chunk = png_chunk(b"iTXt", xmp_of(str(orientation)))
    data = with_chunk(write(Image.fromarray(stored), "PNG"), chunk, after_pixels=after_pixels)
    assert header_of(data).orientation == orientation
    assert header_of(data).shape == upright(stored, orientation).shape[:2]
    np.testing.assert_array_equal(decode(data), upright(stored, orientation))


GARBAGE: Final = {
    "zero": exif_of(0),
    "nine": exif_of(9),
    "maximum": exif_of(65_535),
    "float": exif_with(11, 1, struct.pack("<f", 6.5)),
    "not a number": exif_with(11, 1, struct.pack("<f", float("nan"))),
    "text": exif_with(2, 2, b"6\0\0\0"),
    "opaque": exif_with(7, 1, b"\x06\0\0\0"),
    "negative": exif_with(8, 1, b"\xff\xff\0\0"),
    "no value": exif_with(3, 0, b"\x06\0\0\0"),
    "ratio to zero": exif_with(5, 1, b"\x1a\0\0\0", struct.pack("<II", 6, 0)),
    "unknown type": exif_with(99, 1, b"\x06\0\0\0"),
    "beyond the end": exif_with(3, 1_000_000, b"\x1a\0\0\0"),
    "truncated": exif_with(3, 1, b"\x06\0\0\0")[:25],
    "not TIFF": b"Exif\0\0garbage",
    "empty": b"Exif\0\0",
}


@CARRIERS
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_orientation(carrier: Callable[[Image.Image, bytes], bytes], name: str) -> None:
    """An invalid orientation or broken metadata leave the picture as stored."""
    image = Image.fromarray(noise(5, 8))
    data = carrier(image, GARBAGE[name])
    header = header_of(data)
    assert (header.orientation, header.shape) == (1, (5, 8))
    np.testing.assert_array_equal(decode(data), decode(carrier(image, exif_of(1))))


@pytest.mark.parametrize("orientation", ["", "0", "9", "x", "-6"])
@pytest.mark.parametrize("after_pixels", [False, True])
def test_garbage_orientation_of_xmp(orientation: str, after_pixels: bool) -> None:  # noqa: FBT001 - a parameter
    """An XMP packet with an invalid orientation leaves the picture as stored."""
    stored = noise(5, 8)
    chunk = png_chunk(b"iTXt", xmp_of(orientation))
    data = with_chunk(write(Image.fromarray(stored), "PNG"), chunk, after_pixels=after_pixels)
    assert header_of(data).orientation == 1
    np.testing.assert_array_equal(decode(data), stored)


@pytest.mark.parametrize(
    "exif",
    [
        exif_with(3, 2, b"\x06\0\x06\0"),
        GARBAGE["truncated"],
        GARBAGE["beyond the end"],
    ],
    ids=["two values", "truncated", "beyond the end"],
)
@CARRIERS
def test_broken_metadata_cause_no_warning(
    carrier: Callable[[Image.Image, bytes], bytes], exif: bytes
) -> None:
    """Broken metadata cause no warning, and warning filters do not change the result."""
    data = carrier(Image.fromarray(noise(5, 8)), exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        header = header_of(data)
    assert [str(warning.message) for warning in caught] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert header_of(data) == header


# Kinds of pixels


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TGA", {}),
        ("QOI", {}),
        ("JPEG2000", {}),
        ("ICO", {"sizes": [(6, 4)]}),
        ("WEBP", {"lossless": True, "exact": True}),
    ],
)
@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
def test_alpha_is_dropped(name: str, options: dict[str, object], alpha: int) -> None:
    """Alpha is dropped, not composited: green stays green at any opacity."""
    data = write(flat((0, 255, 0, alpha), "RGBA"), name, **options)
    np.testing.assert_array_equal(decode(data), np.full((4, 6, 3), (0, 255, 0)))


@pytest.mark.parametrize("name", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_high_byte(name: str) -> None:
    """Samples of 16 bits are reduced to their high byte, neither clipped nor rounded."""
    values = np.array([[0, 255, 256, 40_000], [511, 32_767, 32_768, 65_535]], np.uint16)
    expected = [[0, 0, 1, 156], [1, 127, 128, 255]]
    data = write(Image.fromarray(values), name)
    np.testing.assert_array_equal(decode(data), np.dstack([expected] * 3))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("depth", [8, 16])
def test_png_from_specification(
    colour_type: int,
    channels: int,
    depth: int,
    interlaced: bool,  # noqa: FBT001 - a parameter
) -> None:
    """PNGs that Pillow cannot write are read: 16-bit colour and alpha, and interlaced."""
    high = noise(9, 11, channels)
    low = noise(9, 11, channels, seed=1)
    samples = high if depth == 8 else (high.astype(np.uint16) << 8 | low).astype(np.uint16)
    expected = high[..., :3] if channels >= 3 else np.dstack([high[..., 0]] * 3)
    data = png(samples, colour_type, interlaced=interlaced)
    np.testing.assert_array_equal(decode(data), expected)


def bmp(size: tuple[int, int], depth: int, compression: int, pixels: bytes, table: bytes) -> bytes:
    """Return a BMP, written from the specification; a negative height means rows from the top."""
    beginning = 54 + len(table)
    parts = [40, *size, 1, depth, compression, len(pixels), 0, 0, 0, 0]
    header = struct.pack("<2sIII", b"BM", beginning + len(pixels), 0, beginning)
    return header + struct.pack("<IiiHHIIiiII", *parts) + table + pixels


@pytest.mark.parametrize(
    ("height", "compression", "pixels"),
    [
        (2, 0, b"\x02\x00\x00\x00\x00\x00\x01\x00"),
        (-2, 0, b"\x00\x00\x01\x00\x02\x00\x00\x00"),
        (2, 1, b"\x01\x02\x02\x00\x00\x00\x02\x00\x01\x01\x00\x00\x00\x01"),
    ],
    ids=["from the bottom", "from the top", "run lengths"],
)
def test_bmp_from_specification(height: int, compression: int, pixels: bytes) -> None:
    """BMPs that Pillow cannot write are read: rows from the top, and run lengths."""
    palette = np.arange(256 * 4, dtype=np.uint32).astype(np.uint8).reshape(256, 4)
    data = bmp((3, height), 8, compression, pixels, palette.tobytes())
    expected = palette[np.array([[0, 0, 1], [2, 0, 0]])][..., 2::-1]
    np.testing.assert_array_equal(decode(data), expected)
    np.testing.assert_array_equal(decode(data), shown_by_pillow(data))


@pytest.mark.parametrize(
    ("compression", "masks", "white", "green"),
    [
        (0, b"", 0x7FFF, 0x03E0),
        (3, struct.pack("<III", 0xF800, 0x07E0, 0x001F), 0xFFFF, 0x07E0),
    ],
    ids=["5-5-5", "5-6-5"],
)
def test_bmp_of_16_bits(compression: int, masks: bytes, white: int, green: int) -> None:
    """The maximum of 5 or 6 bits is scaled to 255."""
    data = bmp((2, 1), 16, compression, struct.pack("<HH", white, green), masks)
    np.testing.assert_array_equal(shown_by_pillow(data), [[(255, 255, 255), (0, 255, 0)]])
    np.testing.assert_array_equal(decode(data), [[(255, 255, 255), (0, 255, 0)]])


@pytest.mark.parametrize("transparency", [0, 2, b"\x00\x80\xff"])
def test_palette_with_transparency(transparency: int | bytes) -> None:
    """A palette is expanded, including the colours of transparent entries."""
    indices = np.array([[0, 1], [2, 0], [1, 1]], np.uint8)
    palette = np.array([[10, 20, 30], [200, 0, 0], [0, 0, 250]], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    data = write(image, "PNG", transparency=transparency)
    np.testing.assert_array_equal(decode(data), palette[indices])


@pytest.mark.parametrize("name", ["PNG", "TIFF", "BMP", "GIF", "PPM", "PCX"])
def test_bilevel(name: str) -> None:
    """One bit is black or white."""
    bits = noise(5, 11)[..., 0] > 127
    data = write(Image.fromarray(bits), name)
    np.testing.assert_array_equal(decode(data), np.dstack([bits * 255] * 3))


@pytest.mark.parametrize(
    ("inks", "expected"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 255, 0), (255, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 55), (200, 200, 200)),
    ],
)
def test_cmyk_jpeg(inks: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """CMYK is converted by subtracting the inks from white."""
    data = write(flat(inks, "CMYK"), "JPEG", quality=100)
    np.testing.assert_allclose(decode(data), np.full((4, 6, 3), expected), rtol=0, atol=2)


def test_rgb_jpeg() -> None:
    """A JPEG that stores RGB is read without conversion from YCbCr."""
    data = write(flat((200, 100, 50)), "JPEG", quality=100, keep_rgb=True)
    np.testing.assert_allclose(decode(data), np.full((4, 6, 3), (200, 100, 50)), rtol=0, atol=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GIF", {}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
    ],
)
def test_first_frame(name: str, options: dict[str, object]) -> None:
    """The picture is the first frame of an animation, or the first of several pages."""
    first, second = (np.full((4, 6, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 0, 90)))
    second[1:3, 1:3] = 7
    others = [Image.fromarray(second), Image.fromarray(first[::-1] // 2)]
    data = write(Image.fromarray(first), name, save_all=True, append_images=others, **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) >= 2
    np.testing.assert_array_equal(decode(data), first)


def test_first_picture_of_mpo() -> None:
    """The picture of an MPO is its first JPEG."""
    second = flat((0, 0, 90)).resize((12, 8))
    data = write(flat((250, 0, 0)), "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO"
    assert header_of(data).format == "JPEG"
    np.testing.assert_allclose(decode(data), np.full((4, 6, 3), (250, 0, 0)), rtol=0, atol=3)


def test_picture_of_a_million_columns() -> None:
    """A picture with more columns than OpenCV accepts is read."""
    bits = np.zeros((1, 2**20 + 1), np.bool_)
    bits[0, 1::3] = True
    picture = decode(write(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(picture, np.dstack([bits * 255] * 3))


# The header alone


def header_end(name: str, data: bytes) -> int:
    """Return the offset at which the pixels of an image begin."""
    if name == "JPEG":
        scan = data.index(b"\xff\xda")
        return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    if name == "PNG":
        return data.index(b"IDAT") + 4
    return {"BMP": 54, "PPM": len(b"P6\n40 30\n255\n"), "QOI": 14, "TGA": 18}[name]


@pytest.mark.parametrize("name", ["BMP", "JPEG", "PNG", "PPM", "QOI", "TGA"])
def test_header_without_pixels(name: str) -> None:
    """Of data that end after the header, the header is read and the picture is corrupt."""
    data = write(Image.fromarray(noise(30, 40)), name)
    cut = data[: header_end(name, data)]
    header = header_of(cut)
    assert header.shape == header_of(data).shape == (30, 40)
    with pytest.raises(exceptions.CorruptError):
        read_picture(cut, header)


def test_header_of_huge_picture() -> None:
    """A header is read however large a size it declares."""
    data = bytearray(write(flat((1, 2, 3)), "PNG"))
    ihdr = struct.pack(">II", 2**31 - 1, 2**31 - 2) + data[24:29]
    data[8:33] = png_chunk(b"IHDR", ihdr)
    assert header_of(bytes(data)).shape == (2**31 - 2, 2**31 - 1)


def test_header_and_pixels_must_agree() -> None:
    """A picture whose size differs from its header's is corrupt."""
    data = write(flat((1, 2, 3)), "PNG")
    header = header_of(data)._replace(width=3)
    message = r"^the header declares 3 x 4 pixels, the data hold 6 x 4$"
    with pytest.raises(exceptions.CorruptError, match=message):
        read_picture(data, header)


# Damage


def test_empty() -> None:
    """Empty data are corrupt."""
    with pytest.raises(exceptions.CorruptError, match=r"^the file is empty$"):
        header_of(b"")


@pytest.mark.parametrize(
    "content",
    ["Not an image, whatever the name says.\n", "<!DOCTYPE html>\n<html></html>", "{}" * 40],
)
def test_text(content: str) -> None:
    """Text is unsupported."""
    message = r"^not an image of a known format$"
    with pytest.raises(exceptions.UnsupportedError, match=message):
        header_of(content.encode())


@pytest.mark.parametrize("content", [b"\n", b"P6", b"BM", b"\xff\xd8\xff", b"GIF"])
def test_few_bytes(content: bytes) -> None:
    """A file of a few bytes is an ImageError."""
    with pytest.raises(exceptions.ImageError):
        header_of(content)


# A truncated JPEG 2000 may be a coarser picture, in Pillow too.
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "JPEG2000"])
def test_truncated(name: str) -> None:
    """Truncated anywhere, an image is an error or, with all pixels present, the same picture."""
    if name == "ICO":  # has certain sizes only, and no orientation
        data = write(Image.fromarray(noise(16, 16)), name)
    else:
        data = write(Image.fromarray(noise(6, 7)), name, exif=exif_of(6))
    whole = read_picture(data, header_of(data))
    unreadable = 0
    for length in range(4, len(data)):
        header, picture, error = attempt(data[:length])
        assert (picture is None) == (error != "")
        unreadable += picture is None
        assert error.partition(":")[0] in {"", "corrupt", "unsupported"}
        if header is not None:
            assert header.shape in {whole.shape[:2], whole.shape[1::-1]}
        if picture is not None:
            np.testing.assert_array_equal(picture, whole)
    assert unreadable > len(data) // 2


@pytest.mark.parametrize("options", [{"progressive": True}, {"quality": 100}, {"optimize": True}])
def test_truncated_jpeg(options: dict[str, object]) -> None:
    """A truncated JPEG is corrupt, never filled up with grey."""
    data = write(Image.fromarray(noise(24, 31)), "JPEG", **options)
    header = header_of(data)
    for length in range(header_end("JPEG", data), len(data)):
        with pytest.raises(exceptions.CorruptError):
            read_picture(data[:length], header)


def test_png_without_end() -> None:
    """A PNG that lacks only IEND is the same picture."""
    stored = noise(6, 7)
    data = write(Image.fromarray(stored), "PNG")
    assert data[-8:-4] == b"IEND"
    np.testing.assert_array_equal(decode(data[:-12]), stored)


@given(damaged_encodings())
def test_damaged(example: tuple[Encoded, bytes]) -> None:
    """Damaged data are a stable error, or a picture of the size in the header."""
    _, data = example
    header, picture, error = attempt(data)
    if picture is not None:
        assert header is not None
        assert picture.shape == (header.height, header.width, 3)
        assert picture.dtype == np.uint8
    again, _, same_error = attempt(data)
    assert (again, same_error) == (header, error)
    assert not re.search("0x|<|\n", error)


@pytest.mark.parametrize("animated", [False, True])
def test_damaged_pixels_of_png(animated: bool) -> None:  # noqa: FBT001 - a parameter
    """PNG pixels that do not match their checksum are corrupt, also in an animation."""
    first, second = (Image.fromarray(noise(9, 11, seed=seed)) for seed in (1, 2))
    options = {"save_all": True, "append_images": [second]} if animated else {}
    data = bytearray(write(first, "PNG", **options))
    start = data.index(b"IDAT") + 4
    data[start + 20] ^= 0x41
    with pytest.raises(exceptions.CorruptError):
        read_picture(bytes(data), header_of(bytes(data)))


# Settings of the process


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("limit", [1, None])
def test_limit_of_pillow(monkeypatch: pytest.MonkeyPatch, name: str, limit: int | None) -> None:
    """The user's pixel limit of Pillow has no effect, stays as set, and causes no warning."""
    data = write(Image.fromarray(noise(16, 16)), name)
    header, expected = header_of(data), decode(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert header_of(data) == header
        np.testing.assert_array_equal(decode(data), expected)
    assert [str(warning.message) for warning in caught] == []
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("setting", [False, True])
def test_truncated_images_of_pillow(monkeypatch: pytest.MonkeyPatch, setting: bool) -> None:  # noqa: FBT001 - a parameter
    """The user's `LOAD_TRUNCATED_IMAGES` has no effect and stays as set."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", setting)
    for name in FORMATS:
        data = write(Image.fromarray(noise(16, 16)), name)
        assert attempt(data)[2] == ""
        if name != "JPEG2000":  # which may be a coarser picture
            assert attempt(data[: len(data) // 2])[2].startswith("corrupt: ")
        assert setting is ImageFile.LOAD_TRUNCATED_IMAGES
