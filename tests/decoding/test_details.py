"""Details of image files: what each format declares, Exif of all kinds, and damage to it."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from faults import Request, Response, serving
from hypothesis import given
from PIL import ExifTags, Image, ImageCms
from strategies import damaged_encodings, encodings, flipped, write

import polars_imgmeta as im
from polars_imgmeta.decoding.details import Details
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.exceptions import ImageError
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure

FILE = im.GROUPS["file"]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def details_of(data: bytes) -> dict[str, Any]:
    """Return all details of an encoded image."""
    source = BytesSource(data)
    details = Details(source, read_header(source))
    return {name: getattr(details, name) for name in FILE}


def picture(mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> Image.Image:
    """Return a picture in one of Pillow's modes."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    if mode == "RGBA":
        image.putalpha(128)  # encoders drop alpha that is opaque everywhere
    return image if image.mode == mode else image.convert(mode)


def exif_with(
    first: dict[int, Any] | None = None,
    camera: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
) -> bytes:
    """Return Exif data of three directories."""
    exif = Image.Exif()
    exif.update(first or {})
    exif.get_ifd(ExifTags.IFD.Exif).update(camera or {})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(place or {})
    return exif.tobytes()


EXIF = exif_with(
    {271: "Maker ", 272: "M-1", 274: 6},
    {36867: "2021:03:04 05:06:07", 36881: "-03:30", 37521: "25"},
    {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 36.0)},
)


@pytest.mark.parametrize(
    ("name", "mode", "options", "expected"),
    [
        ("PNG", "1", {}, ("1", 1, 1, False)),
        ("PNG", "P", {}, ("P", 1, 8, False)),
        ("PNG", "P", {"bits": 2}, ("P", 1, 2, False)),
        ("PNG", "P", {"transparency": 3}, ("P", 1, 8, True)),
        ("PNG", "LA", {}, ("LA", 2, 8, True)),
        ("PNG", "I;16", {}, ("I;16", 1, 16, False)),
        ("PNG", "RGBA", {}, ("RGBA", 4, 8, True)),
        ("JPEG", "L", {}, ("L", 1, 8, False)),
        ("JPEG", "RGB", {}, ("RGB", 3, 8, False)),
        ("JPEG", "CMYK", {}, ("CMYK", 4, 8, False)),
        ("WEBP", "RGB", {}, ("RGB", 3, 8, False)),
        ("WEBP", "RGBA", {}, ("RGBA", 4, 8, True)),
        ("TIFF", "1", {}, ("1", 1, 1, False)),
        ("TIFF", "RGBA", {}, ("RGBA", 4, 8, True)),
        ("TIFF", "I;16", {}, ("I;16", 1, 16, False)),
        ("TIFF", "F", {}, ("F", 1, 32, False)),
        ("GIF", "L", {}, ("P", 1, 8, False)),
        ("AVIF", "RGB", {}, ("RGB", 3, 8, False)),
        ("AVIF", "RGBA", {}, ("RGBA", 4, 8, True)),
        ("JPEG2000", "RGB", {}, ("RGB", 3, 8, False)),
        ("JPEG2000", "I;16", {}, ("I;16", 1, 16, False)),
        ("BMP", "RGB", {}, ("RGB", 3, 8, False)),
        ("PPM", "1", {}, ("1", 1, 1, False)),
    ],
)
def test_colours(name: str, mode: str, options: dict[str, Any], expected: tuple[object]) -> None:
    """Mode, channels, depth and alpha are those of the file."""
    found = details_of(write(picture(mode), name, **options))
    assert found["format"] == name
    keys = ("mode", "channels", "bit_depth", "has_alpha")
    assert tuple(found[key] for key in keys) == expected
    assert (found["frames"], found["orientation"], found["has_icc_profile"]) == (1, 1, False)
    assert {found[key] for key in FILE[8:]} == {None}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", ("L", 1, 8, False)),
        ("LA", ("LA", 2, 8, True)),
        ("RGB", ("RGB", 3, 8, False)),
        ("RGBA", ("RGBA", 4, 8, True)),
    ],
)
@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl(mode: str, expected: tuple[object], *, container: bool) -> None:
    """A JPEG XL is described by its header, and even by the beginning of it."""
    import pillow_jxl  # noqa: F401, PLC0415 - registers itself in Pillow

    data = write(picture(mode), "JXL", lossless=True, use_container=container, exif=EXIF)
    found = details_of(data)
    keys = ("mode", "channels", "bit_depth", "has_alpha")
    assert tuple(found[key] for key in keys) == expected
    assert (found["frames"], found["has_icc_profile"]) == (1, False)
    assert found["camera_make"] == "Maker"
    # With the offset that the standard has before Exif, and this writer leaves out.
    at = data.index(b"Exif") - 4
    start = at + 8
    length = struct.pack(">I", int.from_bytes(data[at : at + 4]) + 4)
    standard = data[:at] + length + b"Exif" + bytes(4) + data[start:]
    assert details_of(standard) == found
    codestream = data.index(b"\xff\x0a")
    short = details_of(data[: codestream + 40])
    assert tuple(short[key] for key in keys) == expected


class BitWriter:
    """Writes a header of JPEG XL, least significant bit first."""

    def __init__(self) -> None:
        self.bits = ""

    def add(self, *fields: tuple[int, int]) -> None:
        """Append numbers with their counts of bits."""
        for value, count in fields:
            self.bits += f"{value:0{count}b}"[::-1]

    def codestream(self) -> bytes:
        """Return the header."""
        number = int(self.bits[::-1], 2)
        return b"\xff\x0a" + number.to_bytes(len(self.bits) // 8 + 1, "little") + bytes(40)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ([(0, 1), (3, 2), (15, 6)], ("I;16", 1, 16, False)),
        ([(1, 1), (0, 2), (7, 4)], ("F", 1, 32, False)),  # with 8 bits of exponent
    ],
)
def test_jpeg_xl_of_more_than_8_bits(
    depth: list[tuple[int, int]], expected: tuple[object, ...]
) -> None:
    """Samples of 16 bits and floats, which not every release of the plug-in writes."""
    writer = BitWriter()
    writer.add((1, 1), (4, 5), (1, 3))  # 40 x 40
    writer.add((0, 1), (0, 1), *depth, (1, 1))  # no extra fields
    writer.add((0, 2))  # no extra channels
    writer.add((0, 1), (0, 1), (0, 1), (1, 2))  # not XYB; greys without an ICC profile
    found = details_of(writer.codestream())
    keys = ("mode", "channels", "bit_depth", "has_alpha")
    assert tuple(found[key] for key in keys) == expected


def test_the_rarer_fields_of_jpeg_xl() -> None:
    """Fields before the depth are skipped: other sizes, a preview, and times of an animation."""
    writer = BitWriter()
    writer.add((1, 1), (4, 5), (1, 3))  # 40 x 40
    writer.add((0, 1), (1, 1), (5, 3))  # not the default; extra fields; orientation 6
    writer.add((1, 1), (1, 1), (0, 5), (1, 3))  # to be shown in 8 x 8
    writer.add((1, 1), (0, 1), (0, 2), (7, 6), (0, 3), (0, 2), (7, 6))  # a preview of 8 x 8
    writer.add((1, 1), (0, 2), (0, 2), (1, 2), (5, 3), (0, 1))  # an animation, 5 times
    writer.add((0, 1), (2, 2), (1, 1))  # 12 bits
    writer.add((2, 2), (1, 4))  # three extra channels
    writer.add((0, 1), (1, 2), (0, 1), (0, 2), (0, 2), (1, 2), (1, 4), (65, 8))  # depth, named A
    writer.add((0, 1), (2, 2), (0, 4), (1, 1), (0, 2), (0, 4), (0, 2), (0, 2), (7, 64))  # a spot
    writer.add((1, 1))  # alpha
    writer.add((0, 1), (0, 1), (1, 1), (1, 2))  # not XYB; an ICC profile of greys
    found = details_of(writer.codestream())
    keys = ("mode", "channels", "bit_depth", "has_alpha", "has_icc_profile", "frames")
    assert [found[key] for key in keys] == ["LA", 2, 12, True, True, None]
    assert found["orientation"] == 6


def test_an_animated_jpeg_xl_has_no_pixels() -> None:
    """The plug-in would decode all frames, and return the last instead of the first."""
    writer = BitWriter()
    writer.add((1, 1), (4, 5), (1, 3))  # 40 x 40
    writer.add((0, 1), (1, 1), (0, 3), (0, 1), (0, 1))  # no orientation, other size, preview
    writer.add((1, 1), (0, 2), (0, 2), (0, 2), (0, 1))  # an animation
    writer.add((0, 1), (0, 2), (1, 1), (0, 2), (0, 1), (1, 1))  # 8 bits, no extra channels
    measurement = measure(writer.codestream(), "standard", max_pixels=1 << 20)
    assert measurement.values["width"] == 40
    assert isinstance(measurement.error, im.UnsupportedError)
    assert str(measurement.error) == "an animated JPEG XL, of which only the header is read"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 0\nMAXVAL 255\nENDHDR\n", "channels"),
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 0\nENDHDR\n", "bit_depth"),
        (
            b"Image type: L image\nImage size (x*y): 2*1\nFile size (no of images): 0\n".ljust(
                511, b"\0"
            )
            + b"\x1a\0\0",
            "frames",
        ),
    ],
)
def test_a_count_of_nothing_is_null(data: bytes, name: str) -> None:
    """A header may tell that there are no channels, bits or frames."""
    measurement = measure(data, ["width", name], max_pixels=99)
    assert measurement.values == {"width": 2, name: None}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n", ("1", 1, 1)),  # noqa: E501
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n", ("L", 1, 8)),
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 1\nMAXVAL 65535\nENDHDR\n", ("I;16", 1, 16)),
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 1023\nTUPLTYPE RGB\nENDHDR\n", ("RGB", 3, 10)),
        (b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nENDHDR\n", (None, 2, 8)),
        (b"PF\n2 1\n-1.0\n", (None, 3, 32)),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 2\n", (None, 3, 8)),
        (b"P1\n2 1\n0 1\n", ("1", 1, 1)),
        (b"P2\n2 1\n15\n0 1\n", ("L", 1, 4)),
        (b"P5\n2 1\n65535\n", ("I", 1, 16)),
        (b"P6\n2 1\n255\n" + bytes(6), ("RGB", 3, 8)),
    ],
)  # fmt: skip
def test_formats_with_a_text_header(data: bytes, expected: tuple[object, ...]) -> None:
    """Portable maps and Radiance HDR tell their samples in text; not all modes have a name."""
    found = details_of(data)
    assert (found["mode"], found["channels"], found["bit_depth"]) == expected
    assert (found["frames"], found["has_alpha"], found["has_icc_profile"]) == (1, False, False)


@pytest.mark.parametrize(
    ("depth", "kind", "mode"),
    [(2, b"GRAYSCALE_ALPHA", "LA"), (4, b"RGB_ALPHA", "RGBA"), (5, b"OTHER_ALPHA", None)],
)
def test_pam_with_alpha(depth: int, kind: bytes, mode: str | None) -> None:
    """The type of a tuple tells alpha, whatever the number of samples."""
    header = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH %d\nMAXVAL 255\nTUPLTYPE %s\nENDHDR\n"
    found = details_of(header % (depth, kind) + bytes(depth))
    assert (found["mode"], found["channels"], found["has_alpha"]) == (mode, depth, True)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("metadata", [{}, {"exif": EXIF, "icc_profile": PROFILE}])
def test_webp(mode: str, count: int, metadata: dict[str, bytes], *, lossless: bool) -> None:
    """Chunks say of a WebP what Pillow finds by opening all of it."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 8, 12, len(mode)), dtype=np.uint8)
    frames = [Image.fromarray(one) for one in noise]
    more = {"save_all": True, "append_images": frames[1:]} if count > 1 else {}
    data = write(frames[0], "WEBP", lossless=lossless, **more, **metadata)
    found = details_of(data)
    with Image.open(io.BytesIO(data)) as image:
        assert (found["mode"], found["channels"]) == (image.mode, len(image.getbands()))
        assert found["frames"] == getattr(image, "n_frames", 1) == count
        assert found["has_alpha"] == image.has_transparency_data
        assert found["has_icc_profile"] == ("icc_profile" in image.info) == bool(metadata)
    assert found["camera_make"] == ("Maker" if metadata else None)
    assert found["bit_depth"] == 8


def test_16_bits_in_colour() -> None:
    """Pillow reads colours of 16 bits as 8; the depth is that of the file."""
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = write(picture(size=(1, 1)), "PNG")
    at = data.index(b"IHDR")
    import zlib  # noqa: PLC0415 - for this test

    chunk = b"IHDR" + header
    data = data[:at] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at + 21 :]
    assert details_of(data)["bit_depth"] == 16


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_metadata(name: str) -> None:
    """Profile and Exif are read from every format that can hold them."""
    if name == "HEIF":
        import pillow_heif  # noqa: PLC0415 - registers itself in Pillow

        pillow_heif.register_heif_opener()
    found = details_of(write(picture(), name, exif=EXIF, icc_profile=PROFILE))
    assert found["has_icc_profile"] is True
    assert found["orientation"] == 6
    assert (found["camera_make"], found["camera_model"]) == ("Maker", "M-1")
    assert found["captured"] == datetime(2021, 3, 4, 5, 6, 7, 250_000)  # noqa: DTZ001 - of the camera
    assert found["captured_offset"] == -210
    assert found["latitude"] == pytest.approx(-33.86)
    assert found["longitude"] == pytest.approx(151.21)


def test_exif_after_the_pixels_of_a_png() -> None:
    """PNG may have Exif at its end."""
    data = write(picture(), "PNG", exif=EXIF)
    at = data.index(b"eXIf") - 4
    chunk = data[at : at + 12 + int.from_bytes(data[at : at + 4])]
    moved = data.replace(chunk, b"")
    end = moved.index(b"IEND") - 4
    assert details_of(moved[:end] + chunk + moved[end:]) == details_of(data)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_frames(name: str) -> None:
    """Frames and pages are counted."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    data = write(frames[0], name, save_all=True, append_images=frames[1:])
    assert details_of(data)["frames"] == 3


@pytest.mark.parametrize(
    ("camera", "captured", "offset"),
    [
        ({36867: "2021:03:04 05:06:07"}, "2021-03-04 05:06:07", None),
        ({36868: "2021:03:04 05:06:07", 36882: "+05:45"}, "2021-03-04 05:06:07", 345),
        ({36867: "2021:03:04 05:06:07\0", 37521: "1"}, "2021-03-04 05:06:07.1", None),
        ({36867: "2021:03:04 05:06:07", 37521: "12345678"}, "2021-03-04 05:06:07.123456", None),
        ({36867: "2021:03:04 05:06:07", 36881: "Z"}, "2021-03-04 05:06:07", 0),
        ({36867: "2021:03:04 05:06:07", 36881: "+99:00"}, "2021-03-04 05:06:07", None),
        ({36867: "0000:00:00 00:00:00", 36881: "+01:00"}, None, None),
        ({36867: "    :  :     :  :  "}, None, None),
        ({36867: "2021:02:30 05:06:07"}, None, None),
        ({36867: "2021-03-04T05:06:07", 36881: "+01:60"}, "2021-03-04 05:06:07", None),
        ({36867: "2021:03:04 05:06:07", 37521: "x"}, "2021-03-04 05:06:07", None),
        ({36867: "2021:03:04 05:06:07", 37521: " 25 "}, "2021-03-04 05:06:07.25", None),
        ({36867: "2021:03:04 24:00:00"}, None, None),
        ({36867: "0000:00:00 00:00:00", 36868: "2020:01:02 03:04:05"}, "2020-01-02 03:04:05", None),
        ({36867: "yesterday"}, None, None),
        ({36867: 5}, None, None),
        ({}, None, None),
    ],
)
def test_times(camera: dict[int, Any], captured: str | None, offset: int | None) -> None:
    """A time that is absent or impossible is null, and so is an offset."""
    found = details_of(write(picture(), "JPEG", exif=exif_with(camera=camera)))
    assert found["captured"] == (captured and datetime.fromisoformat(captured))
    assert found["captured_offset"] == offset


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({1: "N", 2: (1.0, 30.0, 0.0), 3: "W", 4: (2.0, 15.0, 36.0)}, (1.5, -2.26)),
        ({1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (180.0, 0.0, 0.0)}, (None, 180)),
        ({1: "s", 2: (1.0, 30.0, 0.0), 3: "w", 4: (2.0, 0.0, 0.0)}, (-1.5, -2)),
        ({1: "S", 2: (0.0, 0.0, 0.0), 3: "W", 4: (0.0, 0.0, 0.0)}, (0, 0)),
        ({1: "", 2: (1.0, 0.0, 0.0), 3: "E", 4: (181.0, 0.0, 0.0)}, (None, None)),
        ({2: (1.0, 0.0, 0.0), 4: (1.0, 0.0, 0.0)}, (None, None)),
        ({1: "N", 2: (1.0, 0.0), 3: "X", 4: (1.0, 0.0, 0.0)}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_places(place: dict[int, Any], expected: tuple[float | None, float | None]) -> None:
    """An angle that is absent, incomplete or impossible is null."""
    found = details_of(write(picture(), "JPEG", exif=exif_with(place=place)))
    assert (found["latitude"], found["longitude"]) == pytest.approx(expected)
    assert "-0.0" not in (repr(found["latitude"]), repr(found["longitude"]))


def test_a_division_by_zero() -> None:
    """Cameras without a fix write 0/0."""
    data = write(picture(), "JPEG", exif=EXIF)
    rational = struct.pack("<II", 33, 1)
    order = rational if rational in data else struct.pack(">II", 33, 1)
    found = details_of(data.replace(order, bytes(8)))
    assert found["latitude"] is None
    assert found["longitude"] == pytest.approx(151.21)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (b"Ger\xc3\xa4t", "Gerät"),
        (b"Ger\xe4t", "Gerät"),
        (b"A\0garbage", "A"),
        (b"   ", None),
        (b"\xff\xfe", "ÿþ"),
    ],
)
def test_texts(stored: bytes, expected: str | None) -> None:
    """Texts end at NUL, and may be UTF-8 or Latin-1."""
    padded = stored.ljust(12, b" ")
    data = write(picture(), "JPEG", exif=exif_with({271: "ABCDEFGHIJKL"}))
    assert details_of(data.replace(b"ABCDEFGHIJKL", padded))["camera_make"] == expected


@given(encoded=encodings())
def test_details_of_any_image(encoded: Any) -> None:  # noqa: ANN401 - drawn
    """Every format has details in their ranges, beside its header."""
    found = details_of(encoded.data)
    assert found["orientation"] == encoded.orientation
    assert found["frames"] == 1
    for name in ("mode", "channels", "bit_depth", "has_alpha", "has_icc_profile"):
        assert found[name] is not None
    assert found["channels"] <= 4
    assert found["bit_depth"] in {1, 2, 4, 8, 16, 32}


def test_warnings_of_exif_are_not_seen() -> None:
    """Pillow warns of a text with a type of several numbers, when it is asked for it."""
    data = write(picture(), "JPEG", exif=exif_with({271: "ABCDEFGHIJKL"}))
    order = "<" if b"II*\0" in data else ">"
    old, new = (struct.pack(order + "HHI", 271, *kind) for kind in ((2, 13), (3, 6)))
    assert old in data
    assert details_of(data.replace(old, new))["camera_make"] is None


@given(data=flipped(write(picture(), "JPEG", exif=EXIF)[:700], max_flips=12))
def test_damaged_exif(data: bytes) -> None:
    """Damage leads to other values or nulls, never to a failure of a readable header."""
    rest = write(picture(), "JPEG", exif=EXIF)[700:]
    try:
        read_header(BytesSource(data + rest))
    except ImageError:
        return
    found = details_of(data + rest)
    for name in FILE:
        row, value = im.CATALOGUE[name], found[name]
        assert value is None or type(value) is row.dtype.to_python()
        if isinstance(value, int | float) and row.minimum is not None:
            assert row.minimum <= value
        assert pl.Series([value], dtype=row.dtype, strict=True).dtype == row.dtype


@given(damaged=damaged_encodings())
def test_damaged_images(damaged: Any) -> None:  # noqa: ANN401 - drawn
    """Where a header can be read, details raise nothing."""
    try:
        read_header(BytesSource(damaged[1]))
    except ImageError:
        return
    assert details_of(damaged[1])["format"]


def test_a_column_of_details(tmp_path: Path) -> None:
    """Details without a value are null, without an error, and survive Parquet."""
    picture().save(tmp_path / "a.jpg", exif=EXIF)
    picture("RGBA").save(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_bytes(b"broken")
    frame = im.extract(im.scan_images(tmp_path).collect(), "path", "file")
    assert im.errors(frame)["locator"].to_list() == [str(tmp_path / "c.jpg")]
    rows = im.unnest(frame)
    assert rows["captured"].dtype == pl.Datetime("us")
    assert rows["captured"].is_null().to_list() == [False, True, True]
    utc = pl.col("captured") - pl.duration(minutes="captured_offset")
    assert rows.select(utc).to_series()[0] == datetime(2021, 3, 4, 8, 36, 7, 250_000)  # noqa: DTZ001
    im.write_parquet(frame, tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(frame)
    with_error = im.extract(frame.select("path"), "path", ["camera_make", "latitude"])
    again = im.extract(with_error, "path", ["camera_make", "latitude"])
    assert again.equals(with_error)


def test_a_property_of_details(tmp_path: Path) -> None:
    """Properties of one's own get the details."""
    picture().save(tmp_path / "a.jpg", exif=EXIF)

    @im.custom_property(needs="details", dtype=pl.String)
    def camera(details: Details) -> str:
        return f"{details.camera_make} {details.camera_model}"

    frame = im.extract(im.scan_images(tmp_path).collect(), "path", [camera, "width"])
    assert im.unnest(frame).select("camera", "width", "error").row(0) == ("Maker M-1", 8, None)


@pytest.mark.server
def test_details_of_remote_images_read_headers_only() -> None:
    """Of a large JPEG on a server only its beginning is requested."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    data = write(Image.fromarray(noise), "JPEG", quality=95, exif=EXIF, icc_profile=PROFILE)
    with serving({"/a.jpg": data}) as server:
        frame = pl.DataFrame({"url": [server.url("/a.jpg")]})
        found = im.unnest(im.extract(frame, "url", "file"))
        assert found["error"].to_list() == [None]
        assert found["camera_model"].to_list() == ["M-1"]
        assert server.bytes_sent < 1 << 16 < len(data)


@pytest.mark.server
@pytest.mark.parametrize("name", ["WEBP", "PNG", "TIFF"])
def test_details_of_remote_images_behind_the_pixels(name: str) -> None:
    """Metadata at the end of a file are fetched without what is between."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    options = {"lossless": True} if name == "WEBP" else {}
    data = write(Image.fromarray(noise), name, exif=EXIF, icc_profile=PROFILE, **options)
    with serving({"/a": data}) as server:
        frame = pl.DataFrame({"url": [server.url("/a")]})
        found = im.unnest(im.extract(frame, "url", "file"))
        assert found.select("error", "camera_model", "has_icc_profile").row(0) == (
            None,
            "M-1",
            True,
        )
        assert server.bytes_sent < 1 << 17 < len(data)


@pytest.mark.server
def test_a_server_that_fails_is_no_absence_of_details() -> None:
    """What cannot be fetched is an error of the row, not a null."""
    pages = [Image.new("L", (200, 200), shade) for shade in (1, 2)]
    data = write(pages[0], "TIFF", save_all=True, append_images=pages[1:])

    def answer(request: Request) -> bytes | Response:
        first = request.headers.get("range", "").startswith("bytes=0-")
        return data if first else Response(status=404)

    with serving(answer) as server:
        frame = pl.DataFrame({"url": [server.url("/a.tif")]})
        row = im.extract(frame, "url", ["width", "frames"])
        row = row["url_imgmeta"][0]
    assert row["width"] == 200
    assert row["error"].startswith("not_found: ")
