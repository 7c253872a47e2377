"""The conformance vectors: pictures, and what every property of each must be.

    python tests/conformance.py FOLDER     # write the pictures and `expected.parquet`
    python tests/conformance.py --update   # compute the expected values anew

Another implementation can test itself with them: it reads the pictures, and compares its values
with those of `expected.parquet`, text and integers exactly and floats within 1e-9. The pictures
are defined by integer formulas and written here, without compression, so that not a byte of them
depends on the version of a library.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import polars_imgmeta as im

EXPECTED = Path(__file__).parent / "catalogue" / "conformance.parquet"
"""The expected values, a row for each picture."""

PROPERTIES = [name for name, row in im.CATALOGUE.items() if row.needs != "source"]

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6  # colour types of PNG


def _chunk(name: bytes, content: bytes) -> bytes:
    frame = struct.pack(">I", len(content)), name, content
    return b"".join((*frame, struct.pack(">I", zlib.crc32(name + content))))


def _png(samples: NDArray[np.uint8 | np.uint16], colour_type: int, *chunks: bytes) -> bytes:
    """Return samples of shape (rows, columns, channels) as PNG, with chunks before the pixels."""
    rows, columns = samples.shape[:2]
    bits = 8 * samples.dtype.itemsize
    lines = samples.reshape(rows, -1).astype(samples.dtype.newbyteorder(">"))
    content = b"".join(b"\0" + line.tobytes() for line in lines)  # no filter
    # A stream of stored blocks.
    parts = [content[start : start + 65535] for start in range(0, len(content), 65535)]
    stored = [
        struct.pack("<BHH", part is parts[-1], len(part), 65535 - len(part)) + part
        for part in parts
    ]
    stream = b"".join((b"\x78\x01", *stored, struct.pack(">I", zlib.adler32(content))))
    header = struct.pack(">IIBBBBB", columns, rows, bits, colour_type, 0, 0, 0)
    ends = _chunk(b"IDAT", stream), _chunk(b"IEND", b"")
    return b"".join((b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), *chunks, *ends))


def _exif(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    return _chunk(b"eXIf", b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4))


def _waves(rows: int, columns: int) -> NDArray[np.uint8]:
    """Return colours that vary with both coordinates, of shape (rows, columns, 3)."""
    y, x = np.indices((rows, columns))
    red, green, blue = y * 3 + x, x * x // 9 + y, y * y // 7 + x * 2
    return np.dstack([red % 256, green % 230 + 10, blue % 256]).astype(np.uint8)


def pictures() -> dict[str, bytes]:
    """Return the encoded pictures by file name."""
    waves = _waves(60, 80)
    alpha = np.full((60, 80, 1), 255, np.uint8)
    alpha[:, 40:] = 0
    deep = waves.astype(np.uint16) * 256 + 77
    board = np.indices((64, 48)).sum(0)[..., np.newaxis] % 2 * 255
    palette = np.array([[0, 0, 0], [255, 0, 0], [10, 200, 30], [250, 250, 250]], np.uint8)
    film = np.zeros((90, 64, 3), np.uint8)
    film[15:75] = _waves(60, 64)
    blocks = _waves(12, 16).repeat(8, axis=0).repeat(8, axis=1)
    noise = (np.arange(300 * 200 * 3, dtype=np.uint64) * 2654435761 >> 13) % 256
    return {
        "waves.png": _png(waves, _RGB),
        "waves-turned.png": _png(waves, _RGB, _exif(6)),
        "waves-mirrored.png": _png(waves, _RGB, _exif(2)),
        "waves-transparent.png": _png(np.dstack([waves, alpha]), _RGBA),
        "waves-16-bits.png": _png(deep, _RGB),
        "grey.png": _png(waves[..., :1], _GREY),
        "grey-16-bits.png": _png(deep[..., :1], _GREY),
        "grey-transparent.png": _png(np.dstack([waves[..., 0], alpha]), _GREY_ALPHA),
        "palette.png": _png(waves[..., :1] % 4, _PALETTE, _chunk(b"PLTE", palette.tobytes())),
        "board.png": _png(board.astype(np.uint8), _GREY),
        "film.png": _png(film, _RGB),
        "blocks.png": _png(blocks, _RGB),
        "noise.png": _png(noise.reshape(200, 300, 3).astype(np.uint8), _RGB),
        "black.png": _png(np.zeros((9, 7, 1), np.uint8), _GREY),
        "white.png": _png(np.full((7, 9, 3), 255, np.uint8), _RGB),
        "pixel.png": _png(np.array([[[200, 100, 50]]], np.uint8), _RGB),
        "row.png": _png(_waves(1, 333), _RGB),
        "column.png": _png(_waves(333, 1), _RGB),
        "large.png": _png(_waves(301, 403), _RGB),
        "waves.ppm": b"P6\n80 60\n255\n" + waves.tobytes(),
    }


def write_pictures(folder: Path) -> list[str]:
    """Write the pictures into a folder, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = pictures()
    for name, data in drawn.items():
        (folder / name).write_bytes(data)
    return list(drawn)


def measured(folder: Path, names: list[str]) -> pl.DataFrame:
    """Return what this package computes of the pictures in a folder."""
    frame = pl.DataFrame({"path": [str(folder / name) for name in names]})
    values = im.unnest(im.extract(frame, "path", PROPERTIES, on_error="raise"))
    return values.select(pl.Series("name", names), *PROPERTIES)


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--update", action="store_true", help="compute the expected values anew")
    options = parser.parse_args()
    if options.update:
        with tempfile.TemporaryDirectory() as folder:
            measured(Path(folder), write_pictures(Path(folder))).write_parquet(EXPECTED)
    if options.folder:
        write_pictures(options.folder)
        shutil.copy(EXPECTED, options.folder / "expected.parquet")


if __name__ == "__main__":
    main()
