"""The quick header parsers: they agree with Pillow, or return None."""

from __future__ import annotations

import struct
import warnings
import zlib
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from strategies import Encoded, damaged_encodings, encodings, exif_of, shown_by_pillow, write

from polars_imgmeta import exceptions
from polars_imgmeta.decoding import headers
from polars_imgmeta.decoding.formats.quick import read_quick_header
from polars_imgmeta.decoding.formats.rebuilding import rebuild
from polars_imgmeta.decoding.headers import Header, read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.io.sources import BytesSource

FORMATS = ("JPEG", "PNG", "WEBP")
NOISE = np.random.default_rng(3).integers(0, 256, (30, 20, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)


def no_header(_: object) -> None:
    """Know no header."""


def read_without_quick(data: bytes) -> Header | None:
    """Return the header that is read without the quick parsers, or None."""
    with mock.patch.multiple(headers, _ordinary_header=no_header, _known_header=no_header):
        try:
            return read_header(BytesSource(data))
        except exceptions.ImageError:
            return None


def is_quick(data: bytes) -> bool:
    """Return whether a quick parser reads the header, and check that it is Pillow's."""
    source = BytesSource(data)
    if read_quick_header(source) is None:
        return False
    assert quick_header(data) == read_without_quick(data)
    return True


def quick_header(data: bytes) -> Header:
    """Return a header, with what only the quick parsers find out left out."""
    return read_header(BytesSource(data))._replace(plain_start=b"")


@given(encodings(FORMATS))
def test_ordinary_images(encoded: Encoded) -> None:
    """Ordinary images are read by the quick parsers, with Pillow's geometry."""
    quick = read_quick_header(BytesSource(encoded.data))
    assert quick is not None
    assert (quick.format, quick.orientation) == (encoded.format, encoded.orientation)
    assert read_header(BytesSource(encoded.data)).shape == encoded.reference.shape[:2]
    assert is_quick(encoded.data)


@given(damaged_encodings(FORMATS))
def test_damaged_images(drawn: tuple[Encoded, bytes]) -> None:
    """Of a damaged image the quick parsers read what Pillow reads, or nothing."""
    _, data = drawn
    expected = read_without_quick(data)
    if read_quick_header(BytesSource(data)) and expected:
        assert quick_header(data) == expected


@given(data=st.binary(max_size=200), format=st.sampled_from(FORMATS), at=st.integers(0, 120))
@example(data=b"", format="JPEG", at=0)
def test_arbitrary_bytes(data: bytes, format: str, at: int) -> None:  # noqa: A002 - Pillow's name
    """Any bytes give Pillow's header or None, never an exception."""
    start = write(PICTURE, format)[:at]
    for content in (data, start + data):
        quick, expected = read_quick_header(BytesSource(content)), read_without_quick(content)
        assert quick is None or expected is None or is_quick(content)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_opencv_writes_ordinary_images(suffix: str) -> None:
    """Images written by OpenCV are read by the quick parsers too."""
    assert is_quick(cv2.imencode(suffix, NOISE)[1].tobytes())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [10, 5_000, 60_000])
def test_long_metadata_are_skipped(format: str, size: int) -> None:  # noqa: A002
    """Long metadata before the size are skipped."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "m" * size
    exif[ExifTags.Base.Orientation] = 6
    profile = np.random.default_rng(0).bytes(size)
    data = write(PICTURE, format, exif=exif, icc_profile=profile)
    assert is_quick(data)
    assert read_header(BytesSource(data)).shape == (20, 30)


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("orientation", [None, 1, 6])
@pytest.mark.parametrize("xmp", [b"", b"<x:xmpmeta/>", b'<x:x tiff:Orientation="1"/>'])
def test_webp_metadata_without_effect(prefix: bytes, orientation: int | None, xmp: bytes) -> None:
    """WebP metadata that leave the picture as stored are read by the quick parser."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "m"
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    data = write(PICTURE, "WEBP", exif=prefix + exif.tobytes().removeprefix(b"Exif\0\0"), xmp=xmp)
    assert is_quick(data)
    assert is_quick(write(PICTURE, "WEBP", xmp=xmp))


def jpeg_with(*segments: bytes) -> bytes:
    """Return a JPEG with further segments at its start, each given with its marker."""
    data = write(PICTURE, "JPEG")
    added = b"".join(
        segment[:2] + struct.pack(">H", len(segment)) + segment[2:] for segment in segments
    )
    return data[:2] + added + data[2:]


def app1(content: bytes) -> bytes:
    """Return an APP1 segment, of Exif or XMP."""
    return b"\xff\xe1" + content


def png_with(name: bytes, content: bytes, *, after: bool = False) -> bytes:
    """Return a PNG with one more chunk, before or after the pixels."""
    return insert_chunk(write(PICTURE, "PNG"), name, content, after=after)


def insert_chunk(data: bytes, name: bytes, content: bytes, *, after: bool) -> bytes:
    """Insert a chunk into a PNG, before or after the pixels."""
    position = len(data) - 12 if after else 33
    checksum = zlib.crc32(name + content)
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return data[:position] + chunk + data[position:]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(b"\xc4\xc8\xdb\xdd\xe0\xe1\xe2\xee\xfe"),
            st.sampled_from([0, 3, 65, 130, 5000]),
        ),
        max_size=3,
    )
)
@example([])
@example([(0xE0, 3)])
@example([(0xFE, 3)])
@example([(0xE0, 5000)])
def test_plain_start_of_a_jpeg(segments: list[tuple[int, int]]) -> None:
    """An image whose start is plain has nothing that OpenCV must not see, and others have none."""
    data = jpeg_with(*(bytes((0xFF, marker)) + bytes(size) for marker, size in segments))
    quick = read_quick_header(BytesSource(data))
    if quick is None:
        return
    nothing_left_out = rebuild(data, "JPEG") is data
    scan = data.index(b"\xff\xda\0\x0c")
    fits = scan + 14 <= len(BytesSource(data).start)
    assert quick.plain_start == (data[: scan + 14] if nothing_left_out and fits else b"")


SMALL_JPEGS = st.builds(
    lambda size, quality, cut, tail: (
        write(PICTURE.resize(size), "JPEG", quality=quality)[:cut] + tail
    ),
    st.sampled_from([(3, 5), (5, 3), (8, 8)]),
    st.sampled_from([50, 90]),
    st.sampled_from([None, -1, 300, 623, 630]),
    st.sampled_from([b"", b"\0", b"more"]),
)


@given(st.lists(SMALL_JPEGS, min_size=1, max_size=6))
def test_a_known_start_changes_no_header(images: list[bytes]) -> None:
    """Whatever was read before, an image has the header that it has alone."""

    def outcome(data: bytes) -> object:
        try:
            return read_header(BytesSource(data))
        except exceptions.ImageError as error:
            return str(error)

    alone = []
    for data in images:
        with mock.patch.object(headers, "_latest_plain", None):
            alone.append(outcome(data))
    with mock.patch.object(headers, "_latest_plain", None):
        assert [outcome(data) for data in images] == alone


def test_images_with_the_same_start_are_parsed_once() -> None:
    """As those of one encoder and size are; one that is as long as the start itself, too."""
    first, second = (write(Image.fromarray(one), "JPEG") for one in (NOISE, NOISE[::-1]))
    with mock.patch.object(headers, "_latest_plain", None):
        header = read_header(BytesSource(first))
        with mock.patch.object(headers, "read_quick_header", side_effect=AssertionError):
            assert read_header(BytesSource(second)) is header
            assert read_header(BytesSource(header.plain_start)) is header


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"gAMA", b"tEXt", b"iCCP", b"acTL", b"vpAg"]),
            st.sampled_from([4, 5000]),
            st.booleans(),
        ),
        max_size=2,
    ),
    st.sampled_from(["RGB", "P", "RGBA"]),
    st.sampled_from([b"", b"junk"]),
)
@example([], "P", b"")
@example([], "RGB", b"junk")
def test_plain_png(chunks: list[tuple[bytes, int, bool]], mode: str, junk: bytes) -> None:
    """A PNG that is plain has nothing that OpenCV must not see, and is small."""
    data = write(PICTURE.convert(mode), "PNG")
    for name, size, after in chunks:
        data = insert_chunk(data, name, bytes(size), after=after)
    data += junk
    quick = read_quick_header(BytesSource(data))
    if quick is None:
        return
    assert quick.plain_start == (b"" if chunks or junk else data)
    if quick.plain_start:
        assert rebuild(data, "PNG") is data
        header = read_header(BytesSource(data))
        assert header.is_plain(data)
        assert not header.is_plain(data + b"junk")
        assert not header.is_plain(data[:-1])


def test_what_was_not_seen_is_not_plain() -> None:
    """Of a PNG on a server, chunks between pixels are guessed; others may be among them."""
    data = write(PICTURE.crop((0, 0, 8, 8)), "PNG")
    (length,) = struct.unpack(">I", data[33:37])
    hidden = b"acTL" + bytes(length)
    chunk = struct.pack(">I", length) + hidden + struct.pack(">I", zlib.crc32(hidden))
    data = data[: 33 + 12 + length] + chunk + data[33 : 33 + 12 + length] + data[-12:]
    source = RemoteSource(data)
    assert len(source.start) == source.size
    quick = read_quick_header(source)
    assert quick is not None
    assert quick.plain_start == b""


class RemoteSource(BytesSource):
    """An image on a server, of which all has been fetched."""

    remote = True


def test_the_header_of_another_image_does_not_make_an_image_plain() -> None:
    """What OpenCV sees is judged by the image itself, which may have changed meanwhile."""
    plain = write(PICTURE, "JPEG")
    header = read_header(BytesSource(plain))
    assert header.plain_start
    other = jpeg_with(b"\xff\xfecomment")
    seen = mock.Mock(side_effect=cv2.imdecode)
    with mock.patch.object(cv2, "imdecode", seen):
        read_picture(other, header)
        read_picture(plain, header)
    assert [call.args[0].tobytes() for call in seen.call_args_list] == [plain, plain]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with(app1(b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        jpeg_with(app1(exif_of(6)), app1(exif_of(3))),
        jpeg_with(app1(exif_of(6)[:-6])),
        png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        png_with(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n1\n00")),
        png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP, after=True),
        png_with(b"tEXt", b"exif\0" + exif_of(6)),
        png_with(b"tEXt", b"exif\0" + exif_of(6), after=True),
        png_with(b"iTXt", b"xmp\0\0\0\0\0" + XMP),
        png_with(b"prVt", b"private"),
        write(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(90)]),
        write(PICTURE, "WEBP", xmp=XMP),
        jpeg_with(b"\xff\xdb" + bytes(64)),
        write(PICTURE, "JPEG").partition(b"\xff\xda")[0] + b"\xff\xda\x00\x0c\x03",
        write(PICTURE, "PNG")[:-12],
        write(PICTURE, "WEBP")[:-1],
    ],
    ids=[
        "jpeg-xmp",
        "jpeg-exif-twice",
        "jpeg-exif-cut",
        "png-xmp",
        "png-raw-exif",
        "png-xmp-after",
        "png-exif-as-text",
        "png-exif-as-text-after",
        "png-xmp-as-text",
        "png-private",
        "png-animated",
        "webp-xmp",
        "jpeg-short-table",
        "jpeg-cut-in-scan",
        "png-without-end",
        "webp-cut",
    ],
)
def test_unusual_images_are_left_to_pillow(data: bytes) -> None:
    """Rare features that may change the geometry are left to Pillow."""
    assert read_quick_header(BytesSource(data)) is None


def test_exif_in_a_text_of_a_png() -> None:
    """An orientation in a `tEXt` chunk is applied, as Pillow applies it."""
    data = png_with(b"tEXt", b"exif\0" + exif_of(6))
    assert read_header(BytesSource(data)).shape == shown_by_pillow(data).shape[:2] == (20, 30)


@pytest.mark.parametrize(
    "data",
    [
        png_with(b"tEXt", b"Comment\0a picture"),
        png_with(b"eXIf", exif_of(6)[6:], after=True),
        jpeg_with(app1(exif_of(6)), app1(b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        jpeg_with(b"\xff\xfe a comment", app1(exif_of(8))),
    ],
    ids=["png-text", "png-exif-after", "jpeg-exif-and-xmp", "jpeg-comment"],
)
def test_usual_metadata_are_read(data: bytes) -> None:
    """Comments and common orientation metadata are read by the quick parsers."""
    assert is_quick(data)
    assert read_header(BytesSource(data)).shape == shown_by_pillow(data).shape[:2]


def exif_with(entries: list[tuple[int, int, int, int]], order: str) -> bytes:
    """Return Exif data of these entries: tag, type, count, and value or offset."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    packed = b"".join(
        struct.pack(order + "HHIHH", tag, kind, count, value, 0)
        if order == "<" or kind == 3
        else struct.pack(order + "HHII", tag, kind, count, value)
        for tag, kind, count, value in entries
    )
    count = struct.pack(order + "H", len(entries))
    return b"Exif\0\0" + magic + struct.pack(order + "I", 8) + count + packed + bytes(4)


@given(
    order=st.sampled_from("<>"),
    entries=st.lists(
        st.tuples(
            st.sampled_from([256, 271, 274, 305]),
            st.integers(0, 13),
            st.integers(0, 40),
            st.integers(0, 200),
        ),
        max_size=4,
    ),
    format=st.sampled_from(["JPEG", "PNG"]),
)
def test_odd_exif(
    order: str,
    entries: list[tuple[int, int, int, int]],
    format: str,  # noqa: A002 - Pillow's name
) -> None:
    """Orientations of odd types, values or offsets are read as Pillow reads them."""
    exif = exif_with(entries, order)
    data = jpeg_with(app1(exif)) if format == "JPEG" else png_with(b"eXIf", exif[6:])
    assert read_header(BytesSource(data)) == read_without_quick(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_header(BytesSource(data)).shape == shown_by_pillow(data).shape[:2]
