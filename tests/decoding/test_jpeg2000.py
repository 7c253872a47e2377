"""What JPEG 2000 costs: the memory that its structure takes, in every shape."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreters import run_python
from PIL import Image

import polars_imgmeta as im
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure


def encoded(mode: str = "L", size: tuple[int, int] = (400, 400), **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """Return a flat picture."""
    file = io.BytesIO()
    Image.new(mode, size, 77 if mode == "L" else (7, 7, 7)).save(file, "JPEG2000", **options)
    return file.getvalue()


def coding_of(data: bytes, precincts: bytes) -> bytes:
    """Return the segment COD of a codestream, with blocks of 4 x 4 and precincts instead."""
    start = data.index(b"\xff\x52")
    body = bytearray(data[start + 4 : start + 14])
    body[0] |= 1
    body[5:8] = bytes([len(precincts) - 1, 0, 0])
    return b"\xff\x52" + (len(body) + len(precincts) + 2).to_bytes(2) + bytes(body) + precincts


def with_precincts(data: bytes, precincts: bytes, *, in_tile: bool = False) -> bytes:
    """Return a codestream with the sizes of precincts in the main header, or that of a tile."""
    coding = coding_of(data, precincts)
    start = data.index(b"\xff\x52")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    if not in_tile:
        return data[:start] + coding + data[end:]
    tile = data.index(b"\xff\x90")
    length = int.from_bytes(data[tile + 6 : tile + 10]) + len(coding)
    head = data[tile : tile + 6] + length.to_bytes(4) + data[tile + 10 : tile + 12]
    return data[:tile] + head + coding + data[tile + 12 :]


SHAPES: dict[str, Callable[[], bytes]] = {
    "grey": lambda: encoded(size=(2000, 1000)),
    "colours": lambda: encoded("RGB", (2000, 1000)),
    "alpha": lambda: encoded("RGBA", (2000, 1000)),
    "one column": lambda: encoded("RGB", (1, 1 << 19)),
    "one row": lambda: encoded("RGB", (1 << 19, 1)),
    "tiles of 4 x 4": lambda: encoded("RGB", tile_size=(4, 4)),
    "tiles of 16 x 16": lambda: encoded("RGB", tile_size=(16, 16)),
    "blocks of 4 x 4": lambda: encoded("RGB", (800, 800), codeblock_size=(4, 4)),
    "precincts of 1 x 1": lambda: with_precincts(encoded(no_jp2=True, num_resolutions=1), b"\0"),
    "precincts of 2 x 2": lambda: with_precincts(
        encoded("RGB", no_jp2=True), b"\0\x11\x11\x11\x11\x11"
    ),
}


@pytest.mark.slow
def test_memory_is_within_what_pixels_count(tmp_path: Path) -> None:
    """A process needs at most 16 bytes for each pixel as often as it counts, and 24 MiB."""
    for name, make in SHAPES.items():
        (tmp_path / name).write_bytes(make())
    code = (
        "import os, polars_imgmeta as im\n"
        "from polars_imgmeta.measuring.measurement import measure\n"
        "from interpreters import resident_peak\n"
        "measure(b'', ['width'], max_pixels=9)\n"
        "for name in sorted(os.listdir()):\n"
        "    if os.fork():\n"
        "        os.wait()\n"
        "        continue\n"
        "    before = resident_peak(reset=True)\n"
        "    measure(name, im.GROUPS['standard'], max_pixels=1 << 30)\n"
        "    print(resident_peak() - before, flush=True)\n"
        "    os._exit(0)"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    taken = dict(zip(sorted(SHAPES), map(int, done.stdout.split()), strict=True))
    for name, taken_bytes in taken.items():
        header = read_header(BytesSource((tmp_path / name).read_bytes()))
        counted = header.weight * header.width * header.height
        assert taken_bytes < 16 * counted + (24 << 20), name


def test_ordinary_pictures_count_as_before() -> None:
    """Tiles and blocks of the sizes that encoders choose do not count."""
    for options in ({}, {"tile_size": (256, 256)}, {"codeblock_size": (32, 32)}):
        assert read_header(BytesSource(encoded("RGB", (1000, 1000), **options))).weight == 2


def test_tiny_tiles_are_too_large() -> None:
    """A picture of few pixels in very many tiles is refused, and the message says why."""
    data = encoded(tile_size=(4, 4))
    measurement = measure(data, "standard", max_pixels=1 << 20)
    assert isinstance(measurement.error, im.TooLargeError)
    assert "400 x 400 pixels, which count" in str(measurement.error)
    assert measurement.values["width"] == 400
    assert measure(data, "standard", max_pixels=1 << 24).error is None


def test_a_tile_cannot_have_smaller_blocks_than_the_header() -> None:
    """Blocks of its own, which the header does not announce, are refused before decoding."""
    data = with_precincts(encoded(no_jp2=True, num_resolutions=1), b"\x22", in_tile=True)
    error = measure(data, "standard", max_pixels=1 << 20).error
    assert isinstance(error, im.TooLargeError)
    assert str(error) == "a JPEG 2000 with a tile of blocks of 16 samples, less than in its header"


def test_deep_colours_behind_long_boxes() -> None:
    """The codestream is found wherever it is, and so the decoder of deep colours."""
    import cv2  # noqa: PLC0415 - for this test alone

    deep = np.full((64, 80, 3), 40_000, np.uint16)
    data = cv2.imencode(".jp2", deep)[1].tobytes()
    start = data.index(b"jp2c") - 4
    long = data[:start] + (100_008).to_bytes(4) + b"free" + bytes(100_000) + data[start:]
    header = read_header(BytesSource(long))
    assert header.decoder == "opencv"
    assert (read_picture(long, header) == 40_000 >> 8).all()


def test_a_missing_codestream() -> None:
    """Without one, geometry is that of the boxes, and the pixels are corrupt."""
    data = encoded()
    measurement = measure(data[: data.index(b"jp2c")], "standard", max_pixels=1 << 20)
    assert isinstance(measurement.error, im.CorruptError)
