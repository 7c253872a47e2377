"""Hostile files: memory and time are bounded, and the row has an error."""

from __future__ import annotations

import io
import struct
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from PIL import Image

import polars_imgmeta as im
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.measuring.measurement import Measurement, measure
from polars_imgmeta.typing import PropertyName

PROPERTIES: tuple[PropertyName, ...] = im.GROUPS["standard"]


def encoded(name: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """Return an intact image of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, name)
    return file.getvalue()


FORMATS = [
    "PNG",
    "JPEG",
    "GIF",
    "WEBP",
    "TIFF",
    "BMP",
    "PPM",
    "TGA",
    "ICO",
    "JPEG2000",
    "AVIF",
    "QOI",
    "SGI",
    "PCX",
]
INTACT = {name: encoded(name) for name in FORMATS}


def chunk(name: bytes, content: bytes, declared: int | None = None) -> bytes:
    """Return a PNG chunk, with its true or another declared length."""
    length = len(content) if declared is None else declared
    return (
        struct.pack(">I4s", length, name) + content + struct.pack(">I", zlib.crc32(name + content))
    )


def png(*chunks: bytes, size: tuple[int, int] = (2, 2)) -> bytes:
    """Return a PNG of 8-bit grey with these chunks."""
    ihdr = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + b"".join(chunks)


PIXELS = chunk(b"IDAT", zlib.compress(b"\0\1\2" * 2))
END = chunk(b"IEND", b"")
HUGE = 0x7FFFFFF0


def jpeg_with_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    file = io.BytesIO()
    Image.new("L", (1000, 1000)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a chunk of 2 GiB": (png(chunk(b"IDAT", b"", HUGE)), "corrupt"),
    "metadata of 2 GiB": (png(chunk(b"tEXt", b"a", HUGE), PIXELS, END), "corrupt"),
    "a picture of 2^62 pixels": (png(PIXELS, END, size=(2**31 - 1, 2**31 - 1)), "too_large"),
    "a picture of 30000 x 30000": (png(PIXELS, END, size=(30_000, 30_000)), "too_large"),
    "a picture of 11000 x 12000": (png(PIXELS, END, size=(11_000, 12_000)), "corrupt"),
    "many scans": (jpeg_with_scans(9000), "too_large"),
    "a TIFF directory that is itself": (
        b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "corrupt",
    ),
    "a TIFF strip of 4 GiB": (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 6)
        + b"".join(
            struct.pack("<HHII", tag, 4, 1, value)
            for tag, value in ((256, 9), (257, 9), (259, 1), (262, 1), (273, 999), (279, 2**32 - 1))
        )
        + struct.pack("<I", 0),
        "corrupt",
    ),
    "a Radiance of 30000 x 30000": (
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n",
        "too_large",
    ),
    "a PFM of 2^60 pixels": (b"PF\n1073741824 1073741824\n-1\n", "too_large"),
    "an icon with a picture of 30000 x 30000": (
        b"\0\0\1\0\1\0"
        + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 99, 22)
        + png(PIXELS, END, size=(30_000, 30_000)),
        "too_large",
    ),
    "a QOI of 11000 x 12000": (
        b"qoif" + struct.pack(">IIBB", 11_000, 12_000, 3, 0) + b"\xfd" * 3_000_000,
        "too_large",
    ),
    "a PPM of 2^33 columns": (b"P6 8589934592 1 255\n", "corrupt"),
    "a PAM of 30000 x 30000": (
        b"P7\nWIDTH 30000\nHEIGHT 30000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
        "too_large",
    ),
    "a JPEG XL of 2^30 lines": (b"\xff\x0a" + b"\xfe\xff" * 15, "too_large"),
    "a BMP of 30000 x 30000": (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "too_large",
    ),
    "a GIF of 65535 x 65535": (
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02",
        "too_large",
    ),
    "a PPM of 30000 x 30000": (b"P6 30000 30000 255\n", "too_large"),
}


def test_hostile_files_take_little_memory_and_time(tmp_path: Path) -> None:
    """All hostile files together take less than 1 GiB and 60 seconds."""
    for name, (data, _) in HOSTILE.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import time, polars as pl, polars_imgmeta as im\n"
        "from interpreters import resident_peak\n"
        "before = resident_peak(reset=True)\n"
        "started = time.monotonic()\n"
        "frame = im.extract(im.scan_images('*').collect(), 'path')\n"
        "seconds = time.monotonic() - started\n"
        "print(resident_peak() - before, seconds)\n"
        "print(im.errors(frame).select('locator', 'kind').rows())"
    )
    done = run_python(code, tmp_path)
    assert done.stderr == ""
    measured, rows = done.stdout.splitlines()
    assert rows == str(sorted((name, kind) for name, (_, kind) in HOSTILE.items()))
    grown, seconds = map(float, measured.split())
    assert grown < 1 << 30
    assert seconds < 60


def measure_bytes(data: bytes) -> Measurement:
    """Measure an image from a temporary file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return measure(file.name, PROPERTIES, max_pixels=1 << 22)


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """Damage a file: truncate it, change bytes, overwrite lengths, drop or insert data."""
    position = st.integers(0, len(data) - 1)
    lengths = st.sampled_from([0, 1, 0x7F, 0xFFFF, HUGE, 0xFFFFFFFF])
    return st.one_of(
        position.map(lambda end: data[:end]),
        st.lists(st.tuples(position, st.integers(0, 255)), min_size=1, max_size=8).map(
            lambda flips: flip(data, flips)
        ),
        st.tuples(position, lengths, st.sampled_from("<>")).map(
            lambda lie: data[: lie[0]] + struct.pack(lie[2] + "I", lie[1]) + data[lie[0] + 4 :]
        ),
        st.tuples(position, position).map(lambda cut: data[: cut[0]] + data[cut[1] :]),
        st.tuples(position, st.binary(max_size=20)).map(
            lambda extra: data[: extra[0]] + extra[1] + data[extra[0] :]
        ),
    )


def flip(data: bytes, flips: list[tuple[int, int]]) -> bytes:
    """Replace single bytes."""
    changed = bytearray(data)
    for position, value in flips:
        changed[position] = value
    return bytes(changed)


@given(data=st.sampled_from(sorted(INTACT)).flatmap(lambda name: mutations(INTACT[name])))
def test_a_damaged_file_is_a_value_or_an_error(data: bytes) -> None:
    """Damage gives values in range or a stable error that keeps known geometry."""
    first = measure_bytes(data)
    geometry = [name for name in im.GROUPS["geometry"] if name in first.values]
    assert geometry in ([], list(im.GROUPS["geometry"]))
    if first.error is None:
        assert set(first.values) == set(PROPERTIES)
        for name, value in first.values.items():
            row = im.CATALOGUE[name]
            assert value >= row.minimum
            assert row.maximum is None or value <= row.maximum
    else:
        assert set(first.values) == set(geometry)
        assert " at 0x" not in str(first.error)
        assert "/" not in str(first.error)
        second = measure_bytes(data)
        assert (type(second.error), str(second.error)) == (type(first.error), str(first.error))
        assert second.values == first.values


def test_geometry_of_too_large_pictures() -> None:
    """Geometry of a too large picture is kept, up to the range of the columns."""
    for name, shape in {
        "a GIF of 65535 x 65535": (65_535, 65_535),
        "a BMP of 30000 x 30000": (30_000, 30_000),
        "a picture of 2^62 pixels": (2**31 - 1, 2**31 - 1),
        "a JPEG XL of 2^30 lines": None,
    }.items():
        values = measure_bytes(HOSTILE[name][0]).values
        assert set(values) == set(im.GROUPS["geometry"])
        assert shape in {None, (values["width"], values["height"])}


@pytest.mark.parametrize("columns", ["1e1", "10.0", "0.5", "inf", "nan", "-8", "0"])
def test_sides_are_whole_numbers(columns: str) -> None:
    """Others, which a plug-in reads, are no geometry."""
    head = "Image type: L image\r\nImage size (x*y): 40*30\r\nFile size (no of images): 1\r\n"
    honest = head.encode().ljust(511, b"\0") + b"\x1a" + bytes(40 * 30)
    assert measure(honest, PROPERTIES, max_pixels=1 << 22).values["width"] == 40
    data = honest.replace(b"40*30", columns.encode() + b"*30", 1)
    assert data != honest
    measurement = measure(data, PROPERTIES, max_pixels=1 << 22)
    assert isinstance(measurement.error, im.CorruptError | im.UnsupportedError)
    assert not measurement.values


def test_floats_count_three_times(tmp_path: Path) -> None:
    """A picture that OpenCV decodes to floats counts three times towards `max_pixels`."""
    path = tmp_path / "a.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 10 +X 10\n" + bytes(400))
    assert measure(str(path), PROPERTIES, max_pixels=300).error is None
    error = measure(str(path), PROPERTIES, max_pixels=299).error
    assert isinstance(error, im.TooLargeError)
    assert str(error) == (
        "10 x 10 pixels, which count 3 times, are more than `max_pixels`, which is 299"
    )


@pytest.mark.slow
def test_failures_take_no_memory(tmp_path: Path) -> None:
    """Failures release their memory without the garbage collector."""
    file = io.BytesIO()
    Image.new("RGB", (3000, 2000)).save(file, "BMP")
    for number in range(40):
        (tmp_path / f"{number}.bmp").write_bytes(file.getvalue()[:-9])
    code = (
        "import gc, polars_imgmeta as im\n"
        "from interpreters import resident_peak\n"
        "gc.disable()\n"
        "before = resident_peak(reset=True)\n"
        "frame = im.extract(im.scan_images('.').collect(), 'path')\n"
        "assert len(im.errors(frame)) == 40\n"
        "print(resident_peak() - before)"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300 << 20  # the files alone are 700 MiB


def test_a_large_file_of_zeros_is_not_read(tmp_path: Path) -> None:
    """A large file without an image header is rejected without reading it."""
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 33)
    started = time.monotonic()
    measurement = measure(str(tmp_path / "a.jpg"), PROPERTIES, max_pixels=1 << 27)
    assert isinstance(measurement.error, im.UnsupportedError)
    assert time.monotonic() - started < 5


def test_errors_have_no_traceback() -> None:
    """The error of a row has no traceback, whose frames would reference the image."""
    measurement = measure_bytes(INTACT["PNG"][:200])
    assert measurement.error is not None
    assert measurement.error.__traceback__ is None
    assert measurement.error.__context__ is None


def test_pictures_share_a_budget() -> None:
    """Pictures held at once stay within the budget; a larger one is held alone."""
    budget = Budget(100)
    held: list[int] = []
    totals: list[int] = []
    lock = threading.Lock()

    def work(pixels: int) -> None:
        with budget.hold(pixels):
            with lock:
                held.append(pixels)
                totals.append(sum(held) if len(held) > 1 else 0)
            time.sleep(0.002)
            with lock:
                held.remove(pixels)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, [10, 60, 30, 250, 99, 1, 45] * 20))
    assert max(totals) <= 100
    assert max(totals) > 50


def test_budget_is_released_when_decoding_fails() -> None:
    """A picture that raises releases its part of the budget."""
    budget = Budget(10)
    with pytest.raises(ZeroDivisionError), budget.hold(10):
        _ = 1 / 0
    with budget.hold(10):
        pass


def test_many_damaged_images_leak_nothing(tmp_path: Path) -> None:
    """Repeated extractions of damaged images do not raise the peak of memory."""
    for number, (name, data) in enumerate(INTACT.items()):
        for part in range(1, 8):
            (tmp_path / f"{number:02}-{part}.{name}").write_bytes(data[: len(data) * part // 8])
    code = (
        "import polars as pl, polars_imgmeta as im\n"
        "from interpreters import resident_peak\n"
        "frame = im.scan_images('*').collect()\n"
        "for round in range(60):\n"
        "    im.extract(frame, 'path')\n"
        "    if round == 9: before = resident_peak(reset=True)\n"
        "print(resident_peak() - before)"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert int(done.stdout) < 16 << 20
