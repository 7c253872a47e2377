"""Work that files were made to cause: counted, not timed."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from interpreters import run_python
from PIL import Image

import polars_imgmeta as im
from polars_imgmeta.catalogue import kernels
from polars_imgmeta.decoding.formats import bounded, exif, gif, ico, jpeg, tiff
from polars_imgmeta.decoding.formats.rebuilding import rebuild
from polars_imgmeta.decoding.headers import Header, read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.exceptions import ImageError
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure

MEBI = 1 << 20


class CountingSource(BytesSource):
    """An image in memory that counts what is read of it."""

    reads = 0
    bytes_read = 0

    def read(self, position: int, length: int) -> bytes:
        """Count and slice."""
        data = super().read(position, length)
        self.count(data)
        return data

    def count(self, data: bytes) -> None:
        """Count one read."""
        self.reads += 1
        self.bytes_read += len(data)

    def stream(self) -> BinaryIO:
        """Return a stream that counts too."""
        source = self

        class CountingStream(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                data = super().read(size)
                source.count(data)
                return data

            def readline(self, size: int | None = -1) -> bytes:
                data = super().readline(size)
                source.count(data)
                return data

        return CountingStream(self._data)


def png_chunk(name: bytes, content: bytes = b"") -> bytes:
    """Return a chunk."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(*chunks: bytes, size: tuple[int, int] = (2, 2), pixels: bytes = b"\0\1\2" * 2) -> bytes:
    """Return a grey PNG with chunks before the pixels."""
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    end = png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + ihdr + b"".join(chunks) + end


def by_pillow(
    name: str,
    mode: str = "RGB",
    size: tuple[int, int] = (8, 6),
    **options: Any,  # noqa: ANN401 - Pillow's
) -> bytes:
    """Return noise, always the same, encoded by Pillow."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, name, **options)
    return file.getvalue()


def jpeg_with(segments: bytes) -> bytes:
    """Return a JPEG with segments before its tables."""
    data = by_pillow("JPEG")
    return data[:2] + segments + data[data.index(b"\xff\xdb") :]


def exif_segments(content: bytes) -> bytes:
    """Return Exif data in as many segments as they take."""
    parts = [content[start : start + 65_000] for start in range(0, len(content), 65_000)]
    return b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts
    )


def directory(count: int, order: str = "<") -> bytes:
    """Return a TIFF directory of so many small entries."""
    entries = b"".join(struct.pack(order + "HHII", 700 + tag, 3, 1, 0) for tag in range(count))
    return struct.pack(order + "IH", 8, count) + entries + bytes(4)


def values_of_exif() -> bytes:
    """Return Exif whose resolution is three million fractions."""
    entry = struct.pack("<HHII", 0x11A, 5, 3_000_000, 100)
    head = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return head.ljust(100, b"\0") + b"\1\0\0\0" * 6_000_000


def fits(columns: int, rows: int) -> bytes:
    """Return FITS compressed by gzip."""
    first = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"]
    second = ["XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8"]
    second += [f"NAXIS2  = {rows}", "PCOUNT  = 0", "GCOUNT  = 1", "ZIMAGE  = T"]
    second += ["ZCMPTYPE= 'GZIP_1  '", "ZBITPIX = 8", "ZNAXIS  = 2", f"ZNAXIS1 = {columns}"]
    second += [f"ZNAXIS2 = {rows}", "END"]
    units = ("".join(f"{card:80}" for card in cards).ljust(2880) for cards in (first, second))
    return "".join(units).encode() + bytes(8 * rows) + gzip.compress(bytes(4 * columns * rows))


def run_length_bmp(columns: int, rows: int) -> bytes:
    """Return a BMP of 8 bits in runs that jumps over all pixels."""
    body = bytes(1024) + b"\0\2\xff\xff" * 90 + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, columns, rows, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54 + 1024) + info + body


def arithmetic_jpeg(columns: int, rows: int) -> bytes:
    """Return a progressive JPEG coded arithmetically, of one empty scan."""
    frame = b"\xff\xca" + struct.pack(">HBHHBBBB", 11, 8, rows, columns, 1, 1, 0x11, 0)
    table = b"\xff\xdb" + struct.pack(">HB", 67, 0) + b"\1" * 64
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0) + bytes(20)
    return b"\xff\xd8" + table + frame + scan + b"\xff\xd9"


def gif_of_a_large_frame() -> bytes:
    """Return a GIF whose first frame is to be disposed of, and has 65535 x 65535 pixels."""
    disposal = b"!\xf9\4\x09\0\0\0\0"
    return b"GIF89a\1\0\1\0\0\0\0" + disposal + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;"


text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(MEBI)))

COSTLY_HEADERS: dict[str, Callable[[], bytes]] = {
    "AVIF of no boxes": lambda: b"\0\0\0\x18ftypavif" + bytes(12) + b"\0\0\0\x08free" * 90_000,
    "GIF of a large frame": gif_of_a_large_frame,
    "GIF of many comments": lambda: b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\1a\0" * 200_000,
    "GIF of one comment": lambda: b"GIF89a\1\0\1\0\0\0\0!\xfe" + (b"\xff" + bytes(255)) * 60_000,
    "ICNS of many blocks": lambda: (
        b"icns" + struct.pack(">I", 800_008) + b"it32\0\0\0\x08" * 99_999
    ),
    "ICO of many pictures": lambda: b"\0\0\1\0\xff\xff" + bytes(16 * 65_535),
    "IM of many lines": lambda: b"Image type: L image\n" + b"a: b\n" * 200_000,
    "IPTC of many fields": lambda: b"\x1c\3\x14\0\0" * 200_000,
    "JPEG 2000 of many boxes": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 200_000,
    "JPEG of Exif with a long value": lambda: jpeg_with(exif_segments(values_of_exif())),
    "JPEG of Exif with many entries": lambda: jpeg_with(
        exif_segments(b"II*\0" + directory(64_000))
    ),
    "JPEG of junk": lambda: b"\xff\xd8\xff\xe0" + b"\0\2" + b"\xff\0" * 5_000_000,
    "JPEG of many comments": lambda: jpeg_with(b"\xff\xfe\0\2" * 1_000_000),
    "PGM of one comment": lambda: b"P5 #" + b"a" * 20_000_000 + b"\n9 9 255\n" + bytes(81),
    "PNG of many chunks": lambda: png(png_chunk(b"prVt") * 500_000),
    "PNG of many texts": lambda: png(text * 300),
    "PNG of many texts after pixels": lambda: png()[:-12] + text * 300 + png_chunk(b"IEND"),
    "TIFF of a long value": lambda: (
        b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHIII", 700, 1, 40_000_000, 40, 0)
    ).ljust(40_000_100, b"\0"),
    "TIFF of many entries": lambda: b"II*\0" + directory(60_000),
    "WebP of many frames": lambda: (
        b"RIFF\xff\xff\xff\0WEBPVP8X\x0a\0\0\0\2\0\0\0\7\0\0\7\0\0" + b"ANMF\0\0\0\0" * 2_000_000
    ),
    "XPM of many colours": lambda: (
        b'/* XPM */\n"9 9 99999999 5",\n' + b'"aaaaa c #000",\n' * 90_000
    ),
}


@contextmanager
def allocations() -> Iterator[Callable[[], int]]:
    """Count bytes: yield a function that returns their peak."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", COSTLY_HEADERS)
def test_geometry_is_cheap(name: str) -> None:
    """A header takes a bounded number of reads, of bytes read, and of bytes allocated."""
    source = CountingSource(COSTLY_HEADERS[name]())
    with allocations() as peak:
        try:
            header: Header | ImageError = read_header(source)
        except ImageError as error:
            header = error
        allocated = peak()
    assert isinstance(header, Header | ImageError)
    assert source.reads < 4 * bounded.MAX_READS
    assert source.bytes_read < 4 * bounded.MAX_BYTES
    assert allocated < 32 * MEBI


def test_limits_of_headers_are_named() -> None:
    """A header beyond a limit is `too_large`, with the limit in the message."""
    expected = {
        "JPEG of Exif with a long value": "the header takes more than 8388608 bytes",
        "JPEG of Exif with many entries": "Exif metadata of 64000 entries, more than 4096",
        "JPEG of many comments": "more than 4096 segments before the first scan",
        "PGM of one comment": "the header takes more than 65536 reads",
        "PNG of many chunks": "a PNG of more than 32768 chunks",
        "TIFF of many entries": "a TIFF directory of 60000 entries, more than 4096",
    }
    for name, message in expected.items():
        error = measure(COSTLY_HEADERS[name](), "width", max_pixels=1 << 22).error
        assert isinstance(error, im.TooLargeError), name
        assert str(error) == message


def test_much_metadata_costs_no_geometry() -> None:
    """Where pixels need none of the metadata, neither geometry nor values are lost."""
    for name in ("PNG of many texts", "PNG of many texts after pixels"):
        measurement = measure(COSTLY_HEADERS[name](), "standard", max_pixels=1 << 22)
        assert measurement.error is None
        assert measurement.values["width"] == 2
    size = measure(gif_of_a_large_frame(), "geometry", max_pixels=1 << 22)
    assert size.error is None
    assert size.values["width"] == 65_535


def test_texts_cost_no_pixels_that_pillow_decodes() -> None:
    """Of an animation Pillow sees no texts; of a PNG without an end they are `too_large`."""
    many = png_chunk(b"tEXt", b"a\0" + bytes(MEBI)) * 70
    control = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    animated = png(
        control, png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 2, 2, 0, 0, 1, 1, 0, 0))
    )
    whole = measure(animated, "standard", max_pixels=1 << 22)
    measurement = measure(animated[:33] + many + animated[33:], "standard", max_pixels=1 << 22)
    assert whole.error is None
    assert measurement.error is None
    assert measurement.values == whole.values
    error = measure(png(many)[:-12], "standard", max_pixels=1 << 22).error
    assert isinstance(error, im.TooLargeError)
    assert str(error) == "a PNG of more than 64 MiB of texts"


def test_layers_of_a_tiff_are_not_read() -> None:
    """A tag of many megabytes, as Photoshop's layers are, is skipped; the rest is read."""
    layers = bytes(20 * MEBI)
    data = by_pillow("TIFF", tiffinfo={37724: layers})
    source = CountingSource(data)
    assert read_header(source).shape == (6, 8)
    assert source.bytes_read < MEBI
    assert read_picture(data, read_header(source)).shape == (6, 8, 3)


@pytest.mark.parametrize("compression", [5, 8, 32773])
def test_a_tile_counts_that_is_larger_than_the_picture(compression: int) -> None:
    """A decoder allocates a tile as a whole, here of 2^30 pixels for a picture of 64."""
    tags = {256: 8, 257: 8, 258: 8, 259: compression, 262: 1, 277: 1}
    tags |= {322: 32_768, 323: 32_768, 324: 200, 325: 20}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(300, b"\0")
    with allocations() as peak:
        measurement = measure(data, "standard", max_pixels=1 << 27)
        assert peak() < 32 * MEBI
    assert isinstance(measurement.error, im.TooLargeError)
    assert "8 x 8 pixels, which count 16777216 times" in str(measurement.error)
    assert measurement.values["width"] == 8


def tiff_with(*tags: tuple[int, int, int], values: bytes) -> bytes:
    """Return a grey TIFF of 8 x 6 pixels with tags whose values are at its end."""
    plain = [(256, 3, 1, 8), (257, 3, 1, 6), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    plain += [(273, 4, 1, 300), (277, 3, 1, 1), (278, 3, 1, 6), (279, 4, 1, 48)]
    entries = sorted([*plain, *((*tag, 348) for tag in tags)])
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table
    return head.ljust(300, b"\0") + bytes(range(48)) + values


@pytest.mark.parametrize("place", ["resolution", "exposure in Exif", "entries of Exif"])
def test_metadata_of_a_tiff_cost_no_pixels(place: str) -> None:
    """A fraction takes Pillow hundreds of bytes and two microseconds; it is shown none."""
    many = 400_000
    fractions = struct.pack("<II", 1, 3) * many
    directory_of_one = struct.pack("<HHHII", 1, 0x829A, 5, many, 366) + bytes(4)
    data = {
        "resolution": lambda: tiff_with((282, 5, many), values=fractions),
        "exposure in Exif": lambda: tiff_with((0x8769, 4, 1), values=directory_of_one + fractions),
        "entries of Exif": lambda: tiff_with((0x8769, 4, 1), values=directory(60_000)[4:]),
    }[place]()
    plain = tiff_with(values=b"")
    if "Exif" in place:  # the only value of the tag is the position
        at = data.index(struct.pack("<HHI", 0x8769, 4, 1))
        assert data[at + 8 : at + 12] == struct.pack("<I", 348)
    with allocations() as peak:
        measurement = measure(data, "standard", max_pixels=99)
        assert peak() < 16 * MEBI
    assert measurement.error is None
    assert measurement.values == measure(plain, "standard", max_pixels=99).values


def test_very_many_strips_count() -> None:
    """Pillow keeps hundreds of bytes for each strip, even if it has one pixel."""
    count = 20_000
    tags = [(256, 3, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, count, 200), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, count, 100_000)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(200, b"\0")
    data = head + struct.pack("<I", 8) * 24_950 + struct.pack("<I", 1) * count
    header = read_header(BytesSource(data))
    assert (header.shape, header.weight) == ((count, 1), 128)
    assert read_picture(data, header).shape == (count, 1, 3)
    ordinary = by_pillow("TIFF", "L", (200, 3000), compression="tiff_lzw", strip_size=200)
    assert read_header(BytesSource(ordinary)).weight == 1


def test_compressed_boxes_of_a_jpeg_xl_are_left_out() -> None:
    """They may decompress to any length, as may what restores a packed JPEG."""

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), name) + content

    start = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    metadata = box(b"brob", b"Exifabc") + box(b"Exif", bytes(9)) + box(b"what", b"")
    pixels = box(b"jxlp", b"\0\0\0\0\xff\x0a") + box(b"jxlp", b"\x80\0\0\1")
    assert rebuild(start + metadata + pixels + metadata, "JXL") == start + pixels
    assert rebuild(start + box(b"jbrd", b"a") + metadata + pixels, "JXL") == start + pixels
    assert rebuild(b"\xff\x0a", "JXL") == b"\xff\x0a"


def test_strips_of_a_tiff_are_not_read() -> None:
    """Of very many strips the header reads one; the pixels need all of them."""
    data = by_pillow("TIFF", "L", (3, 40_000), compression="tiff_lzw", strip_size=3)
    patches = tiff.patches(io.BytesIO(data))
    assert len(patches) == 2
    source = CountingSource(data)
    assert read_header(source).shape == (40_000, 3)
    assert source.bytes_read < MEBI


def test_repeated_tags_of_a_tiff_are_not_read() -> None:
    """Where Pillow refuses a TIFF, OpenCV's reader reads each tag once, and none that it skips."""
    values = bytes((4 << 17) + 4)
    entries = [(256, 3, 1, 9), (257, 3, 1, 9), (258, 3, 1, 77), *[(273, 4, 1 << 17, 60_000)] * 2000]
    entries += [(700 + number, 4, (1 << 17) + 1, 60_000) for number in range(2000)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = (b"II*\0" + struct.pack("<IH", 8, len(entries)) + table).ljust(60_000, b"\0") + values
    source = CountingSource(data)
    assert read_header(source).shape == (9, 9)
    assert source.bytes_read < 4 * MEBI
    with allocations() as peak:
        assert isinstance(measure(data, "standard", max_pixels=99).error, ImageError)
        assert peak() < 32 * MEBI


WEIGHTS: dict[str, tuple[Callable[[], bytes], int]] = {
    "BMP in runs": (lambda: run_length_bmp(9, 9), 8),
    "DDS": (lambda: by_pillow("DDS"), 8),
    "FITS compressed by gzip": (lambda: fits(9, 9), 8),
    "ICO": (lambda: by_pillow("ICO", sizes=[(8, 6)]), 8),
    "JPEG": (lambda: by_pillow("JPEG"), 1),
    "JPEG 2000": (lambda: by_pillow("JPEG2000"), 1),
    "JPEG 2000 in colour": (lambda: by_pillow("JPEG2000", size=(1000, 1000)), 2),
    "JPEG coded arithmetically": (lambda: arithmetic_jpeg(9, 9), 4),
    "PNG": (png, 1),
    "PNG of one long column": (lambda: png(size=(1, (1 << 20) + 1)), 2),
    "PGM of one long column": (lambda: b"P5 1 9000000 99\n", 1),
    "QOI": (lambda: by_pillow("QOI"), 8),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_costly_pixels_count_more(name: str) -> None:
    """Pixels count towards `max_pixels` as often as they cost more, and are refused beyond."""
    make, weight = WEIGHTS[name]
    data = make()
    header = read_header(BytesSource(data))
    assert header.weight == weight
    counted = weight * header.width * header.height
    error = measure(data, "standard", max_pixels=counted - 1).error
    assert isinstance(error, im.TooLargeError)
    assert f"`max_pixels`, which is {counted - 1}" in str(error)
    if weight > 1:
        assert f"which count {weight} times" in str(error)


@pytest.mark.parametrize("shape", [(1 << 22, 1), (1, 1 << 22), (1 << 11, 1 << 11)])
def test_kernels_take_little_memory_in_every_shape(shape: tuple[int, int]) -> None:
    """The arrays of the kernels take less than 12 bytes a pixel, of noise too."""
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    intensity = np.ascontiguousarray(picture[:, :, 0])
    kernels.pixel_entropy(picture[:8, :8])  # a table
    for kernel, value in (
        (kernels.brightness, intensity),
        (kernels.contrast, intensity),
        (kernels.pixel_entropy, picture),
        (kernels.sharpness, intensity),
        (kernels.symmetry, intensity),
    ):
        with allocations() as peak:
            kernel(value)
            assert peak() < 12 * intensity.size, kernel.__name__


# --- what OpenCV is given


def still_chunks(data: bytes) -> list[bytes]:
    """Return the names of the chunks of a PNG."""
    names, position = [], 8
    while position < len(data):
        names.append(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4])
    return names


def apng_that_kills() -> bytes:
    """Return an APNG of 143 bytes, on which OpenCV 5.0.0 ends with SIGSEGV."""
    frame = struct.pack(">IIIIIHHBB", 0, 2, 2, 0, 0, 1, 1, 0, 0)
    head = png()[:33] + png_chunk(b"acTL", struct.pack(">II", 0x80000001, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0\1\2" * 2))
    return head + pixels + png_chunk(b"fcTL", frame) + png_chunk(b"fd\x80T")


def test_an_apng_that_killed(tmp_path: Path) -> None:
    """The process survives, and other rows have their values."""
    code = (
        "import polars as pl, polars_imgmeta as im\n"
        f"bad, good = {apng_that_kills()!r}, {png()!r}\n"
        "for data in (bad, bad + bytes(12), bad[:-12] + good[-12:], bad + good[-12:]):\n"
        "    frame = pl.DataFrame({'image': [good, data, good]}).imgmeta.extract('image')\n"
        "    print(frame['image_imgmeta'].struct.field('brightness').is_not_null().to_list()[::2])"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[True, True]\n" * 4


def test_a_still_png_is_not_copied() -> None:
    """Ordinary chunks are passed on as they are; other ones are left out."""
    ordinary = png(png_chunk(b"gAMA", bytes(4)), png_chunk(b"tEXt", b"a\0b"))
    assert rebuild(ordinary, "PNG") is ordinary
    control = png_chunk(b"acTL", struct.pack(">II", 1, 0))
    for extra in (control, png_chunk(b"fcTL"), png_chunk(b"fdAT"), png_chunk(b"pr\x80t"), text):
        rebuilt = rebuild(png(extra), "PNG")
        assert rebuilt is not None
        assert bytes(rebuilt) == png()
    many = png(png_chunk(b"tEXt", b"a\0b") * 17)
    assert rebuild(many, "PNG") == png()
    assert rebuild(apng_that_kills(), "PNG") is None
    assert rebuild(png()[:-1], "PNG") is None
    assert bytes(rebuild(png() + b"more", "PNG") or b"") == png()


@given(
    names=st.lists(
        st.sampled_from(
            [
                b"acTL",
                b"fcTL",
                b"fdAT",
                b"IDAT",
                b"PLTE",
                b"tRNS",
                b"zTXt",
                b"iCCP",
                b"tEXt",
                b"\0\0\0\0",
            ]
        ),
        max_size=30,
    ),
    content=st.binary(max_size=9),
)
def test_opencv_sees_known_chunks_alone(names: list[bytes], content: bytes) -> None:
    """Whatever the chunks, what is passed on has pixels and few harmless others."""
    rebuilt = rebuild(png(*(png_chunk(name, content) for name in names)), "PNG")
    assert rebuilt is not None
    seen = still_chunks(bytes(rebuilt))
    assert set(seen) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"tEXt"}
    assert seen.count(b"tEXt") <= 16
    assert seen[0] == b"IHDR"
    assert seen[-1] == b"IEND"


def test_opencv_sees_no_metadata() -> None:
    """Exif, XMP, profiles and comments of JPEG and WebP are left out; pixels are the same."""
    metadata: dict[str, Any] = {
        "exif": b"Exif\0\0II*\0" + directory(1),
        "xmp": b"<x/>",
        "icc_profile": bytes(200),
    }
    for name in ("JPEG", "WEBP"):
        data = by_pillow(name, **metadata)
        rebuilt = rebuild(data, name)
        assert rebuilt is not None
        for part in (b"Exif", b"EXIF", b"<x/>", bytes(200)):
            assert part not in bytes(rebuilt)
        plain = by_pillow(name)
        np.testing.assert_array_equal(
            read_picture(data, read_header(BytesSource(data))),
            read_picture(plain, read_header(BytesSource(plain))),
        )
    plain = by_pillow("JPEG")
    assert rebuild(plain, "JPEG") is plain
    plain = by_pillow("WEBP")
    assert rebuild(plain, "WEBP") is plain


def test_opencv_sees_no_other_structure() -> None:
    """Animations, unknown boxes, truncated files and other formats are refused."""
    frames = [Image.effect_noise((8, 6), 50) for _ in range(2)]
    assert rebuild(by_pillow("WEBP", save_all=True, append_images=frames), "WEBP") is None
    jp2 = by_pillow("JPEG2000")
    assert rebuild(jp2, "JPEG2000") == jp2
    at = jp2.index(b"jp2h")
    unknown = jp2[: at + 4] + b"\0\0\0\x08what" + jp2[at + 4 :]
    length = int.from_bytes(jp2[at - 4 : at]) + 8
    assert rebuild(unknown[: at - 4] + struct.pack(">I", length) + unknown[at:], "JPEG2000") is None
    for name in ("GIF", "PPM", "SUN", "AVIF", "EXR", "MPO"):
        assert rebuild(png(), name) is None
    for name in ("PNG", "JPEG", "WEBP", "JPEG2000", "TIFF", "HDR"):
        for end in (0, 1, 4, 12, 13, 20):
            data = b"" if name in {"TIFF", "HDR"} else by_pillow(name)
            assert rebuild(data[:end], name) in (None, data[:end])


# --- readers of ours, judged by Pillow


def orientation_by_pillow(data: bytes) -> int:
    """Return the orientation that Pillow finds."""
    found = Image.Exif()
    found.load(data)
    value = found.get(274, 1)
    return int(value) if value in range(1, 9) else 1


@given(
    order=st.sampled_from("<>"),
    entries=st.lists(
        st.tuples(
            st.sampled_from([271, 274, 274, 282]),
            st.integers(0, 17),
            st.sampled_from([0, 1, 1, 1, 2, 5, 40, 2**31]),
            st.sampled_from([1, 3, 6, 6 << 16, 6 << 24, 8, 30, 60, 2**32 - 1]),
        ),
        max_size=6,
    ),
    end=st.integers(0, 120),
    prefix=st.sampled_from([b"", b"Exif\0\0"]),
)
@example("<", [(271, 1, 1, 1), (271, 0, 0, 3), (271, 1, 40, 1), (274, 4, 5, 30)], 28, b"")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_orientation_as_pillow(
    order: str, entries: list[tuple[int, int, int, int]], end: int, prefix: bytes
) -> None:
    """The orientation is Pillow's, whatever the directory, and wherever it is cut."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    body = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    data = prefix + (head + body + bytes(4)).ljust(end, b"\6")[: end + 30]
    try:
        expected = orientation_by_pillow(data)
    except Exception:  # noqa: BLE001 - broken metadata are treated as absent
        expected = 1
    assert exif.orientation_of(data) == expected


def test_orientation_in_xmp() -> None:
    """XMP has the orientation that Exif lacks."""
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert exif.orientation_of(b"", xmp) == 6
    assert exif.orientation_of(b"II*\0" + directory(1), xmp) == 6
    with_exif = jpeg_with(
        b"\xff\xe1" + struct.pack(">H", 31 + len(xmp)) + b"http://ns.adobe.com/xap/1.0/\0" + xmp
    )
    assert read_header(BytesSource(with_exif)).shape == (8, 6)


@given(
    screen=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    frame=st.tuples(*[st.integers(0, 9)] * 4),
    before=st.lists(
        st.sampled_from(
            [
                b"!\xfe\1a\0",
                b"!\xfe\0",
                b"!\xf9\4\x08\0\0\0\0",
                b"!\xff\0\0",
                b"a",
                b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0",
            ]
        ),
        max_size=4,
    ),
    flags=st.tuples(st.sampled_from([0, 0x80]), st.sampled_from([0, 0x80])),
    end=st.integers(0, 60),
)
def test_size_of_a_gif_as_pillow(
    screen: tuple[int, int],
    frame: tuple[int, ...],
    before: list[bytes],
    flags: tuple[int, int],
    end: int,
) -> None:
    """The size is Pillow's, or left to it."""
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, flags[0], 0, 0) + bytes(flags[0] and 6)
    data += b"".join(before) + b"," + struct.pack("<HHHHB", *frame, flags[1]) + bytes(6)
    data = (data + b"\2\1\0\0;")[: max(end, 13)] if end < 50 else data + b"\2\1\0\0;"
    found = gif.read_size(io.BytesIO(data))
    try:
        expected = Image.open(io.BytesIO(data), formats=["GIF"]).size
    except Exception:  # noqa: BLE001 - it raises what it likes
        assert found is None or read_header(BytesSource(data)).shape == found[::-1]
    else:
        assert found in (None, expected)


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=4, unique=True
    ),
    form=st.sampled_from(["png", "bmp"]),
)
def test_size_of_an_icon_as_pillow(sizes: list[tuple[int, int]], form: str) -> None:
    """The size is that of the picture which Pillow shows."""
    data = by_pillow("ICO", "RGBA", (70, 70), sizes=sizes, bitmap_format=form)
    assert ico.read_size(io.BytesIO(data)) == Image.open(io.BytesIO(data)).size


def test_an_icon_of_very_many_pictures_is_not_opened() -> None:
    """Pillow sorts their entries, and reads each apart."""
    entry = struct.pack("<BBBBHHII", 2, 2, 0, 0, 1, 8, 69, 6 + 16 * ico.MAX_ENTRIES)
    most = b"\0\0\1\0" + struct.pack("<H", ico.MAX_ENTRIES) + entry * ico.MAX_ENTRIES + png()
    assert read_header(BytesSource(most)).shape == (2, 2)
    source = CountingSource(b"\0\0\1\0\xff\xff" + entry * 65_535 + png())
    with pytest.raises(bounded.LongHeaderError, match="an icon of 65535 pictures, more than 1024"):
        read_header(source)
    assert source.reads < 32


@given(
    kind=st.sampled_from("12356"),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    maxval=st.sampled_from([1, 7, 99, 254, 255, 256, 999, 32767, 65534]),
    gap=st.sampled_from([b"\n", b" # a comment\n", b"\n#c 9 9\r", b"\t "]),
    seed=st.integers(0, 99),
)
def test_portable_maps_as_pillow(
    kind: str, size: tuple[int, int], maxval: int, gap: bytes, seed: int
) -> None:
    """Samples of every maximum, plain ones with comments too, become what Pillow makes of them."""
    rng = np.random.default_rng(seed)
    count = size[0] * size[1] * (3 if kind in "36" else 1)
    numbers = [b"P" + kind.encode(), *(b"%d" % side for side in size), b"%d" % maxval]
    head = gap.join(numbers[: 3 if kind == "1" else 4]) + b"\n"
    if kind in "123":
        values = rng.integers(0, 2 if kind == "1" else maxval + 1, count)
        ends = rng.choice([b" ", b"\n", b" #1 2\n "], count)
        body = b"".join(b"%d" % value + end for value, end in zip(values, ends, strict=True))
    else:
        body = rng.bytes(count * (2 if maxval > 255 else 1))
    data = head + body
    picture = read_picture(data, read_header(BytesSource(data)))
    shown = Image.open(io.BytesIO(data))
    expected = np.asarray(shown)
    if shown.mode == "I":
        expected = expected >> 8
    elif shown.mode == "1":
        expected = expected * np.uint8(255)
    expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    np.testing.assert_array_equal(picture[:, :, ::-1], expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P2 2 1 9 1", "samples are missing"),
        (b"P2 2 1 9 1 10", "a sample is above the maximum"),
        (b"P2 2 1 9 1 -1", "a sample is not a number"),
        (b"P2 2 1 9 " + b"1" * 2_000_000 + b" 1", "a sample is too long"),
        (b"P5 2 1 9 1", "samples are missing"),
        (b"P1 2 1\n1", "samples are missing"),
        (b"PF 2 1 -1\n1", "samples are missing"),
    ],
)
def test_damaged_portable_maps(data: bytes, reason: str) -> None:
    """The message says what is wrong."""
    header = read_header(BytesSource(data))
    with pytest.raises(im.CorruptError, match=f"^the pixels cannot be decoded: {reason}$"):
        read_picture(data, header)


def test_segments_of_a_jpeg() -> None:
    """Metadata, junk and fill bytes are left out, Exif of several segments is joined."""
    data = by_pillow("JPEG")
    noisy = data[:2] + b"junk\xff\0" + exif_segments(b"a" * 70_000) + b"\xff" + data[2:]
    found = jpeg.read_segments(lambda position, length: noisy[position : position + length])
    assert found.exif == b"a" * 70_000
    assert found.scan is not None
    assert found.pixels + noisy[found.scan :] == data
    cut = jpeg.read_segments(lambda position, length: data[:30][position : position + length])
    assert cut.scan is None


@pytest.mark.parametrize("data", [b"a", b"BM", b"II*", b"\xff\xd8\xff", b"\0\0\0", b"GIF"])
def test_a_few_bytes_are_no_image(data: bytes) -> None:
    """Of one to three bytes, nothing can be said."""
    error = measure(data, "width", max_pixels=9).error
    assert isinstance(error, im.UnsupportedError)
    assert str(error) == "not an image of a known format"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_opencv_sees_a_bmp_of_known_fields_alone(mode: str) -> None:
    """Its header is rebuilt; rows and palette are those of the file, and must be there."""
    data = by_pillow("BMP", mode, (11, 6))
    odd = data[:6] + b"\xff" * 4 + data[10:26] + b"\x09\0" + data[28:38] + b"\xff" * 8 + data[46:]
    rebuilt, expected = rebuild(odd + b"junk", "BMP"), rebuild(data, "BMP")
    assert rebuilt is not None
    assert expected == rebuilt
    shown = cv2.imdecode(np.frombuffer(rebuilt, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    np.testing.assert_array_equal(
        shown[:, :, ::-1], np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )
    assert rebuild(data[:-9], "BMP") is None
    assert rebuild(data[:30] + b"\x01" + data[31:], "BMP") is None  # in runs
    assert rebuild(data[:14] + b"\x0c" + data[15:], "BMP") is None  # another kind of header
