"""Uncommon formats and bit depths, each against its definition."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

import polars_imgmeta as im
from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import jxl
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.io.sources import BytesSource

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8)
FLOATS = (RANDOM.random((6, 9, 3), dtype=np.float32) * 1.5 - 0.2).astype(np.float32)
DEEP = RANDOM.integers(0, 1 << 16, (6, 9, 3), dtype=np.uint16)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode an image, check it against its header, and return it in the order RGB."""
    header = read_header(BytesSource(bytes(data)))
    picture = read_picture(data, header)
    assert picture.shape == (*header.shape, 3)
    assert picture.dtype == np.uint8
    return picture[:, :, ::-1]


def by_opencv(suffix: str, samples: NDArray[Any]) -> bytes:
    """Encode with OpenCV, which takes BGR."""
    stored = samples[:, :, ::-1] if samples.ndim == 3 else samples
    # By default some versions store the logarithm of floats, with loss.
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == ".tiff" else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(stored), options)
    assert done
    return data.tobytes()


def by_pillow(image: Image.Image, name: str, **options: Any) -> bytes:  # noqa: ANN401
    """Encode with Pillow."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def from_floats(samples: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Map floats as documented: 0 is black, 1 is white, the rest is clipped."""
    mapped = np.vectorize(lambda value: round(min(max(float(value), 0), 1) * 255))(samples)
    return np.asarray(mapped, np.uint8)


@pytest.mark.parametrize("suffix", [".pfm", ".tiff"])
def test_floats_in_colours(suffix: str) -> None:
    """A floating-point sample of 0 is black and one of 1 is white."""
    np.testing.assert_array_equal(decode(by_opencv(suffix, FLOATS)), from_floats(FLOATS))


@pytest.mark.parametrize("name", ["TIFF", "PPM"])
def test_floats_in_grey(name: str) -> None:
    """The same holds for one channel, and NaN is black."""
    grey = FLOATS[:, :, 0].copy()
    grey[0, :3] = [np.nan, np.inf, -np.inf]
    data = by_pillow(Image.fromarray(grey), name)
    expected = from_floats(np.nan_to_num(grey))
    np.testing.assert_array_equal(decode(data), np.dstack([expected] * 3))


def test_radiance() -> None:
    """Radiance HDR, with one exponent for three channels, is read within its precision."""
    data = by_opencv(".hdr", FLOATS.clip(0))
    difference = decode(data).astype(int) - from_floats(FLOATS)
    assert np.abs(difference).max() <= 2
    assert read_header(BytesSource(bytes(data))).format == "HDR"


def test_pam() -> None:
    """PAM of 8 and 16 bits is read, and is corrupt where samples are missing."""
    header = b"P7\nWIDTH 9\nHEIGHT 6\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    np.testing.assert_array_equal(decode(header + COLOURS.tobytes()), COLOURS)
    deep = header.replace(b"255", b"65535") + DEEP.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(deep), DEEP >> 8)
    with pytest.raises(exceptions.CorruptError):
        decode(deep[:-1])


@pytest.mark.parametrize(
    ("depth", "maximum", "samples", "colour"),
    [
        (1, 255, [7], [7, 7, 7]),
        (2, 255, [7, 99], [7, 7, 7]),
        (4, 255, [1, 2, 3, 0], [1, 2, 3]),
        (1, 1, [1], [255, 255, 255]),
        (3, 15, [0, 8, 15], [0, 136, 255]),
    ],
)
def test_pam_of_other_depths(
    depth: int, maximum: int, samples: list[int], colour: list[int]
) -> None:
    """Alpha is dropped, grey fills three channels, and MAXVAL is scaled to white."""
    header = f"P7\n# a comment\nWIDTH 1\nHEIGHT 1\nDEPTH {depth}\nMAXVAL {maximum}\nENDHDR\n"
    assert decode(header.encode() + bytes(samples)).tolist() == [[colour]]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_16_bits_in_colours(suffix: str) -> None:
    """Samples of 16 bits are reduced to their high byte."""
    np.testing.assert_array_equal(decode(by_opencv(suffix, DEEP)), DEEP >> 8)


def test_32_bits() -> None:
    """Samples of 32 bits are reduced to their high byte, the sign bit excluded."""
    signed = np.array([[-5, 0, 1 << 23, (1 << 31) - 1]], np.int32)
    data = by_pillow(Image.fromarray(signed), "TIFF")
    assert decode(data)[0, :, 0].tolist() == [0, 0, 1, 255]


def test_ppm_of_10_bits() -> None:
    """Samples of 10 bits are scaled by their maximum, as Netpbm defines it."""
    data = b"P6 2 1 1023\n" + struct.pack(">6H", 0, 512, 1023, 1023, 0, 256)
    assert decode(data).tolist() == [[[0, 128, 255], [255, 0, 64]]]


def test_lab() -> None:
    """L*a*b* is converted to sRGB."""
    lab = ImageCms.profileToProfile(
        Image.fromarray(np.full((4, 5, 3), (200, 30, 60), np.uint8)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    colour = decode(by_pillow(lab, "TIFF"))
    assert np.abs(colour.astype(int) - (200, 30, 60)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_tiff_that_pillow_refuses(orientation: int) -> None:
    """A TIFF that only OpenCV decodes, of float colours, has its orientation applied."""
    data = bytearray(by_opencv(".tiff", FLOATS))
    order = "<" if data[:1] == b"I" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    # Overwrite the orientation tag or, if absent, one that is not needed.
    tags = [
        struct.unpack_from(order + "H", data, directory + 2 + 12 * entry)[0]
        for entry in range(entries)
    ]
    spare = tags.index(next(tag for tag in (274, 305, 296, 317, 284) if tag in tags))
    struct.pack_into(order + "HHIHH", data, directory + 2 + 12 * spare, 274, 3, 1, orientation, 0)
    expected = Image.fromarray(from_floats(FLOATS).astype(np.uint8))
    expected.getexif()[274] = orientation
    np.testing.assert_array_equal(
        decode(bytes(data)), np.asarray(ImageOps.exif_transpose(expected))
    )


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw"])
def test_damaged_strips_are_not_filled_up(compression: str) -> None:
    """A TIFF whose strips cannot be decompressed is corrupt, not filled up."""
    image = Image.fromarray(RANDOM.integers(0, 256, (64, 64), dtype=np.uint8))
    data = bytearray(by_pillow(image, "TIFF", compression=compression))
    tags = TiffImageFile(io.BytesIO(data)).tag_v2
    (offset,), (length,) = tags[273], tags[279]
    data[offset : offset + length] = bytes(RANDOM.integers(0, 256, length, dtype=np.uint8))
    header = read_header(BytesSource(bytes(data)))
    assert header.shape == (64, 64)
    with pytest.raises(exceptions.CorruptError):
        read_picture(bytes(data), header)


def test_damaged_floats_are_not_filled_up() -> None:
    """The same holds where only OpenCV reads the file."""
    data = bytearray(by_opencv(".tiff", np.full((6, 9, 3), 0.4, np.float32)))
    plain = bytes(data[8 : 8 + 648])
    packed = zlib.compress(plain)
    data[8 : 8 + 648] = packed.ljust(648, b"\0")
    for tag, kind, before, after in ((259, 3, 1, 8), (279, 4, 648, len(packed))):
        entry = struct.pack("<HHII", tag, kind, 1, before)
        assert entry in data
        data = data.replace(entry, struct.pack("<HHII", tag, kind, 1, after))
    header = read_header(BytesSource(bytes(data)))
    assert decode(bytes(data)).max() == decode(bytes(data)).min() == 102
    data[12:20] = b"\x55" * 8
    with pytest.raises(exceptions.ImageError):
        read_picture(bytes(data), header)


def test_16_bits_that_pillow_misreads() -> None:
    """WhiteIsZero is inverted, and JPEG 2000 of 16 bits reduced to the high byte."""
    grey = DEEP[:, :, 0]
    plain = by_pillow(Image.fromarray(grey), "TIFF")
    photometric = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert photometric in plain
    inverted = plain.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    np.testing.assert_array_equal(decode(inverted)[:, :, 0], 255 - (grey >> 8))
    floats = by_pillow(Image.fromarray(FLOATS[:, :, 0]), "TIFF")
    inverted = floats.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    np.testing.assert_array_equal(decode(inverted), 255 - decode(floats))
    done, jp2 = cv2.imencode(".jp2", cv2.resize(DEEP, (64, 64)))
    assert done
    assert read_header(BytesSource(jp2.tobytes())).decoder == "opencv"
    expected = np.asarray(cv2.imdecode(jp2, cv2.IMREAD_UNCHANGED), np.uint16) >> 8
    difference = decode(jp2.tobytes())[:, :, ::-1].astype(int) - expected
    assert np.abs(difference).max() <= 1


def planar_tiff(order: str, compression: int, bits: int, strips: int, orientation: int) -> bytes:
    """Return a TIFF of `DEEP` in separate planes, each of so many strips."""
    rows, columns = DEEP.shape[:2]
    rows_of_strip = -(-rows // strips)
    sample = np.dtype(f"{order}u{bits // 8}")
    parts = [
        (DEEP[row : row + rows_of_strip, :, channel] >> (16 - bits)).astype(sample).tobytes()
        for channel in range(3)
        for row in range(0, rows, rows_of_strip)
    ]
    parts = [zlib.compress(part) if compression == 8 else part for part in parts]
    lengths = [len(part) for part in parts]
    offsets = [600 + sum(lengths[:number]) for number in range(len(parts))]
    tags = [
        (256, "H", [columns]),
        (257, "H", [rows]),
        (258, "H", [bits] * 3),
        (259, "H", [compression]),
        (262, "H", [2]),
        (273, "I", offsets),
        (274, "H", [orientation]),
        (277, "H", [3]),
        (278, "H", [rows_of_strip]),
        (279, "I", lengths),
        (284, "H", [2]),
    ]
    entries, values = b"", b""
    for tag, form, numbers in tags:
        value = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[form], len(numbers))
        entries += (
            value.ljust(4, b"\0")
            if len(value) <= 4
            else struct.pack(order + "I", 200 + len(values))
        )
        values += value if len(value) > 4 else b""
    head = b"II*\0" if order == "<" else b"MM\0*"
    directory = head + struct.pack(order + "IH", 8, len(tags)) + entries
    return (directory.ljust(200, b"\0") + values).ljust(600, b"\0") + b"".join(parts)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("strips", [1, 3])
def test_separate_planes(order: str, compression: int, bits: int, strips: int) -> None:
    """Separate planes are read, of 16 bits the high byte, in either byte order."""
    data = planar_tiff(order, compression, bits, strips, 1)
    np.testing.assert_array_equal(decode(data), DEEP >> 8)


def test_oriented_planes() -> None:
    """Orientation is applied to planes, as to other pictures."""
    for orientation in range(1, 9):
        deep, flat = (planar_tiff("<", 1, bits, 1, orientation) for bits in (16, 8))
        np.testing.assert_array_equal(decode(deep), decode(flat))


def test_planes_of_other_depths() -> None:
    """Planes that nothing reads are unsupported, cut ones corrupt, and geometry is known."""
    data = planar_tiff("<", 1, 16, 1, 1)
    odd = data.replace(struct.pack("<3H", 16, 16, 16), struct.pack("<3H", 16, 16, 12))
    for changed in (odd, data[:-1]):
        with pytest.raises(exceptions.ImageError):
            read_picture(changed, read_header(BytesSource(data)))
    assert read_header(BytesSource(data)).shape == (6, 9)


def test_cmyk_is_the_same_in_every_format() -> None:
    """The inks of a JPEG, stored as TIFF, have the same values, by the documented formula."""
    noise = RANDOM.integers(0, 256, (24, 32, 4), dtype=np.uint8)
    for quality in (30, 100):
        jpeg = by_pillow(Image.fromarray(noise, "CMYK"), "JPEG", quality=quality)
        inks = Image.open(io.BytesIO(jpeg))
        inks.load()
        assert inks.mode == "CMYK"
        tiff = by_pillow(Image.fromarray(np.asarray(inks), "CMYK"), "TIFF")
        np.testing.assert_array_equal(decode(jpeg), decode(tiff))
        white = 255 - np.asarray(inks).astype(np.int64)
        exact = white[:, :, :3] * white[:, :, 3:] / 255
        np.testing.assert_allclose(decode(jpeg), exact, rtol=0, atol=1)


def test_wrong_or_no_suffix(tmp_path: Path) -> None:
    """The format follows from the content, not from the file name."""
    image = Image.fromarray(COLOURS)
    for file, name in {"a.jpg": "PNG", "b": "GIF", "c.TXT": "TIFF", "d.PNG": "WEBP"}.items():
        (tmp_path / file).write_bytes(by_pillow(image, name))
    frame = im.scan_images(tmp_path / "*").collect()
    rows = im.unnest(im.extract(frame, "path"))
    assert rows["error"].to_list() == [None] * 4
    assert rows["width"].to_list() == [9] * 4


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(size=SIZES | st.sampled_from([(8, 8), (640, 480), (1920, 1080), (256, 128), (1500, 1)]))
def test_size_of_jpeg_xl(size: tuple[int, int]) -> None:
    """All encodings of the size in a JPEG XL header are parsed, even of a truncated file."""
    image = Image.new("RGB", size, (1, 2, 3))
    data = encode_jxl(image)
    header = read_header(BytesSource(bytes(data)))
    assert (header.width, header.height) == size
    assert header.format == "JXL"
    assert read_header(BytesSource(data[:20])).shape == header.shape


def encode_jxl(image: Image.Image) -> bytes:
    """Encode without loss."""
    import pillow_jxl  # noqa: F401, PLC0415 - registers itself

    return by_pillow(image, "JXL", lossless=True)


def test_jpeg_xl() -> None:
    """JPEG XL is decoded without loss, and is corrupt where truncated."""
    np.testing.assert_array_equal(decode(encode_jxl(Image.fromarray(COLOURS))), COLOURS)
    assert jxl.read_header(io.BytesIO(b"\xff\xd8\xff\xe0 no JPEG XL")) is None
    with pytest.raises(exceptions.CorruptError):
        decode(encode_jxl(Image.fromarray(COLOURS))[:40])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic(orientation: int) -> None:
    """HEIC is decoded as by the plug-in, with its orientation applied."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    heif = pillow_heif.from_pillow(Image.fromarray(COLOURS).resize((64, 48)))
    heif.save(file, exif=exif.tobytes(), quality=-1)
    data = file.getvalue()
    picture = decode(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert (picture.shape[1], picture.shape[0]) == expected.size
    np.testing.assert_array_equal(picture, np.asarray(expected))


@pytest.mark.parametrize(
    ("module", "name", "data"),
    [
        ("pillow_heif", "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("pillow_jxl", "JPEG XL", b"\xff\x0a" + b"\x41" * 30),
    ],
)
def test_plugin_is_not_installed(
    module: str, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the plug-in of a format is not installed, the error names the extra."""
    monkeypatch.setitem(sys.modules, module, None)
    for registered in ("HEIF", "JXL"):
        if registered in Image.OPEN:
            monkeypatch.delitem(Image.OPEN, registered)
            monkeypatch.setattr(Image, "ID", [i for i in Image.ID if i != registered])
    (tmp_path / "a").write_bytes(data)
    frame = im.extract(pl.DataFrame({"path": [str(tmp_path / "a")]}), "path", "brightness")
    assert im.errors(frame).rows()[0][1:] == (
        "unsupported",
        f"{name} needs the extra `formats`: pip install 'polars-imgmeta[formats]'",
    )
