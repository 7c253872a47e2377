"""Formats and depths beyond the everyday ones, each against its definition."""

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
SHARES = (RANDOM.random((6, 9, 3), dtype=np.float32) * 1.5 - 0.2).astype(np.float32)
DEEP = RANDOM.integers(0, 1 << 16, (6, 9, 3), dtype=np.uint16)


def shown(data: bytes) -> NDArray[np.uint8]:
    """The picture, in the order RGB, checked against its header."""
    header = read_header(BytesSource(bytes(data)))
    picture = read_picture(data, header)
    assert picture.shape == (*header.shape, 3)
    assert picture.dtype == np.uint8
    return picture[:, :, ::-1]


def by_opencv(suffix: str, samples: NDArray[Any]) -> bytes:
    """Encode with OpenCV, which takes BGR."""
    stored = samples[:, :, ::-1] if samples.ndim == 3 else samples
    # Of floats some versions otherwise store the logarithm, with loss.
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == ".tiff" else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(stored), options)
    assert done
    return data.tobytes()


def by_pillow(image: Image.Image, name: str, **options: Any) -> bytes:  # noqa: ANN401
    """Encode with Pillow."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def from_shares(samples: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The documented mapping of floats: 0 black, 1 white, the rest cut off."""
    mapped = np.vectorize(lambda value: round(min(max(float(value), 0), 1) * 255))(samples)
    return np.asarray(mapped, np.uint8)


@pytest.mark.parametrize("suffix", [".pfm", ".tiff"])
def test_floats_in_colours(suffix: str) -> None:
    """Of floating-point samples 0 is black and 1 white."""
    np.testing.assert_array_equal(shown(by_opencv(suffix, SHARES)), from_shares(SHARES))


@pytest.mark.parametrize("name", ["TIFF", "PPM"])
def test_floats_in_grey(name: str) -> None:
    """The same holds for one channel, and what is no number is black."""
    grey = SHARES[:, :, 0].copy()
    grey[0, :3] = [np.nan, np.inf, -np.inf]
    data = by_pillow(Image.fromarray(grey), name)
    expected = from_shares(np.nan_to_num(grey))
    np.testing.assert_array_equal(shown(data), np.dstack([expected] * 3))


def test_radiance() -> None:
    """Radiance HDR stores floats with one exponent for three channels."""
    data = by_opencv(".hdr", SHARES.clip(0))
    difference = shown(data).astype(int) - from_shares(SHARES)
    assert np.abs(difference).max() <= 2
    assert read_header(BytesSource(bytes(data))).format == "HDR"


def test_pam() -> None:
    """PAM, the newest of the Netpbm formats."""
    header = b"P7\nWIDTH 9\nHEIGHT 6\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    np.testing.assert_array_equal(shown(header + COLOURS.tobytes()), COLOURS)
    deep = header.replace(b"255", b"65535") + DEEP.astype(">u2").tobytes()
    np.testing.assert_array_equal(shown(deep), DEEP >> 8)
    with pytest.raises(exceptions.CorruptError):
        shown(deep[:-1])


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
    """Alpha is dropped, grey shown as grey, and a maximum scaled to white."""
    header = f"P7\n# a comment\nWIDTH 1\nHEIGHT 1\nDEPTH {depth}\nMAXVAL {maximum}\nENDHDR\n"
    assert shown(header.encode() + bytes(samples)).tolist() == [[colour]]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_16_bits_in_colours(suffix: str) -> None:
    """Of 16 bits the high byte is kept."""
    np.testing.assert_array_equal(shown(by_opencv(suffix, DEEP)), DEEP >> 8)


def test_32_bits() -> None:
    """Of 32 bits the high byte is kept; the sign is none of them."""
    signed = np.array([[-5, 0, 1 << 23, (1 << 31) - 1]], np.int32)
    data = by_pillow(Image.fromarray(signed), "TIFF")
    assert shown(data)[0, :, 0].tolist() == [0, 0, 1, 255]


def test_16_bit_ppm_that_is_not_full() -> None:
    """Samples of 10 bits are scaled by their maximum, as Netpbm defines."""
    data = b"P6 2 1 1023\n" + struct.pack(">6H", 0, 512, 1023, 1023, 0, 256)
    assert shown(data).tolist() == [[[0, 128, 255], [255, 0, 64]]]


def test_lab() -> None:
    """Colours in L*a*b* become those of sRGB."""
    lab = ImageCms.profileToProfile(
        Image.fromarray(np.full((4, 5, 3), (200, 30, 60), np.uint8)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    colour = shown(by_pillow(lab, "TIFF"))
    assert np.abs(colour.astype(int) - (200, 30, 60)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_that_pillow_refuses(orientation: int) -> None:
    """OpenCV's pixels of a TIFF are turned by the tag, here of float colours."""
    data = bytearray(by_opencv(".tiff", SHARES))
    order = "<" if data[:1] == b"I" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    # Over the tag itself or, where there is none, over one that is not needed.
    tags = [
        struct.unpack_from(order + "H", data, directory + 2 + 12 * entry)[0]
        for entry in range(entries)
    ]
    spare = tags.index(next(tag for tag in (274, 305, 296, 317, 284) if tag in tags))
    struct.pack_into(order + "HHIHH", data, directory + 2 + 12 * spare, 274, 3, 1, orientation, 0)
    expected = Image.fromarray(from_shares(SHARES).astype(np.uint8))
    expected.getexif()[274] = orientation
    np.testing.assert_array_equal(shown(bytes(data)), np.asarray(ImageOps.exif_transpose(expected)))


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw"])
def test_damaged_strips_are_not_filled_up(compression: str) -> None:
    """A TIFF whose strips do not unpack is corrupt, whichever decoder would fill it up."""
    image = Image.fromarray(RANDOM.integers(0, 256, (64, 64), dtype=np.uint8))
    data = bytearray(by_pillow(image, "TIFF", compression=compression))
    tags = TiffImageFile(io.BytesIO(data)).tag_v2
    (place,), (length,) = tags[273], tags[279]
    data[place : place + length] = bytes(RANDOM.integers(0, 256, length, dtype=np.uint8))
    header = read_header(BytesSource(bytes(data)))
    assert header.shape == (64, 64)
    with pytest.raises(exceptions.CorruptError):
        read_picture(bytes(data), header)


def test_damaged_floats_are_not_filled_up() -> None:
    """The same where OpenCV alone reads the file."""
    data = bytearray(by_opencv(".tiff", np.full((6, 9, 3), 0.4, np.float32)))
    plain = bytes(data[8 : 8 + 648])
    packed = zlib.compress(plain)
    data[8 : 8 + 648] = packed.ljust(648, b"\0")
    for tag, kind, before, after in ((259, 3, 1, 8), (279, 4, 648, len(packed))):
        entry = struct.pack("<HHII", tag, kind, 1, before)
        assert entry in data
        data = data.replace(entry, struct.pack("<HHII", tag, kind, 1, after))
    header = read_header(BytesSource(bytes(data)))
    assert shown(bytes(data)).max() == shown(bytes(data)).min() == 102
    data[12:20] = b"\x55" * 8
    with pytest.raises(exceptions.ImageError):
        read_picture(bytes(data), header)


def test_16_bits_that_pillow_gets_wrong() -> None:
    """White is zero, and colours of more than 8 bits in JPEG 2000."""
    grey = DEEP[:, :, 0]
    plain = by_pillow(Image.fromarray(grey), "TIFF")
    photometric = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert photometric in plain
    inverted = plain.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    np.testing.assert_array_equal(shown(inverted)[:, :, 0], 255 - (grey >> 8))
    floats = by_pillow(Image.fromarray(SHARES[:, :, 0]), "TIFF")
    inverted = floats.replace(photometric, struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    np.testing.assert_array_equal(shown(inverted), 255 - shown(floats))
    done, jp2 = cv2.imencode(".jp2", cv2.resize(DEEP, (64, 64)))
    assert done
    assert read_header(BytesSource(jp2.tobytes())).decoder == "opencv"
    expected = np.asarray(cv2.imdecode(jp2, cv2.IMREAD_UNCHANGED), np.uint16) >> 8
    difference = shown(jp2.tobytes())[:, :, ::-1].astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_separate_planes(bits: int) -> None:
    """Planes of 8 bits are put together; of more, which decoders mix up, unsupported."""
    planes = [np.ascontiguousarray(DEEP[:, :, channel] >> (16 - bits)) for channel in range(3)]
    sample = np.dtype("<u2" if bits == 16 else np.uint8)
    strips = [plane.astype(sample).tobytes() for plane in planes]
    entries = [
        (256, 3, 1, 9),
        (257, 3, 1, 6),
        (258, 3, 3, 170),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, 176),
        (277, 3, 1, 3),
        (279, 4, 3, 188),
        (284, 3, 1, 2),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = (b"II*\0\x08\0\0\0" + directory).ljust(170, b"\0")
    data += struct.pack("<3H", bits, bits, bits)
    data += struct.pack("<3I", *(200 + number * len(strips[0]) for number in range(3)))
    data += struct.pack("<3I", *map(len, strips)) + b"".join(strips)
    if bits == 8:
        np.testing.assert_array_equal(shown(data), DEEP >> 8)
    else:
        header = read_header(BytesSource(bytes(data)))
        assert header.shape == (6, 9)
        with pytest.raises(exceptions.UnsupportedError):
            read_picture(data, header)


def test_wrong_or_no_suffix(tmp_path: Path) -> None:
    """The content decides, whatever the name of the file says."""
    image = Image.fromarray(COLOURS)
    for file, name in {"a.jpg": "PNG", "b": "GIF", "c.TXT": "TIFF", "d.PNG": "WEBP"}.items():
        (tmp_path / file).write_bytes(by_pillow(image, name))
    frame = im.scan_images(tmp_path / "*").collect()
    rows = im.unnest(im.extract(frame, "path"))
    assert rows["error"].to_list() == [None] * 4
    assert rows["width"].to_list() == [9] * 4


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@given(size=SIZES | st.sampled_from([(8, 8), (640, 480), (1920, 1080), (256, 128), (1500, 1)]))
def test_the_size_of_a_jpeg_xl(size: tuple[int, int]) -> None:
    """The header tells the size in all its forms, and agrees with the plug-in."""
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
    """The pixels come from the plug-in."""
    np.testing.assert_array_equal(shown(encode_jxl(Image.fromarray(COLOURS))), COLOURS)
    assert jxl.read_size(io.BytesIO(b"\xff\xd8\xff\xe0 no JPEG XL")) is None
    with pytest.raises(exceptions.CorruptError):
        shown(encode_jxl(Image.fromarray(COLOURS))[:40])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic(orientation: int) -> None:
    """HEIC is shown as the plug-in and Pillow show it."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    heif = pillow_heif.from_pillow(Image.fromarray(COLOURS).resize((64, 48)))
    heif.save(file, exif=exif.tobytes(), quality=-1)
    data = file.getvalue()
    picture = shown(data)
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
def test_without_the_extra(
    module: str, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A format whose plug-in is absent names the extra."""
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
