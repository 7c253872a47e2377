"""How much memory an extraction takes at its peak, each set in a process of its own.

    python benchmarks/memory.py [--small N] [--large N]

The sets are drawn: small pictures, large ones of 24 megapixels, and hostile ones
that declare far more than they hold. The peak is that of the whole process, less
what it had before the extraction; per pixel of the largest picture and thread it
should stay under 16 bytes.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import polars as pl

_LARGE = (4000, 6000)
_EXTRACT = """
import resource, sys
import polars_imgmeta as im
frame = im.scan_images(sys.argv[1]).collect()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
result = im.extract(frame, "path")
print(len(frame), len(im.errors(result)), peak() - before)
"""


def draw(folder: Path, count: int, rows: int, columns: int) -> None:
    """Write JPEG pictures of smooth noise with grain."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 224, (rows // 16 + 1, columns // 16 + 1, 3), dtype=np.uint8)
        smooth = np.asarray(cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC))
        grain = generator.integers(0, 24, smooth.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), smooth // 2 + grain)


def draw_hostile(folder: Path) -> None:
    """Write a few bytes each that ask for gigabytes."""

    def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
        declared = len(content) if length is None else length
        return (
            struct.pack(">I4s", declared, name)
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    for number, (columns, rows, length) in enumerate(
        [(2, 2, 0x7FFFFFF0), (11_000, 12_000, None), (30_000, 30_000, None), (2**31 - 1, 1, None)]
        * 8
    ):
        ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
        pixels = chunk(b"IDAT", zlib.compress(b"\0" * 999), length)
        png = b"\x89PNG\r\n\x1a\n" + ihdr + pixels + chunk(b"IEND", b"")
        (folder / f"{number:03}.png").write_bytes(png)


def main() -> None:
    """Measure the sets and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=50)
    options = parser.parse_args()
    threads = pl.thread_pool_size()
    print(f"{'set':10}{'images':>8}{'failed':>8}{'peak, MB':>10}{'bytes a pixel and thread':>26}")
    for name, pixels in {"small": 0, "large": _LARGE[0] * _LARGE[1], "hostile": 0}.items():
        with tempfile.TemporaryDirectory() as drawn:
            folder = Path(drawn)
            match name:
                case "small":
                    draw(folder, options.small, 240, 320)
                case "large":
                    draw(folder, options.large, *_LARGE)
                case _:
                    draw_hostile(folder)
            done = subprocess.run(  # noqa: S603 - our own code
                [sys.executable, "-c", _EXTRACT, drawn], capture_output=True, text=True, check=True
            )
        images, failed, peak = map(int, done.stdout.split())
        busy = min(threads, images)
        share = f"{peak / pixels / busy:.1f}" if pixels else ""
        print(f"{name:10}{images:>8}{failed:>8}{peak / 1e6:>10,.0f}{share:>26}")


if __name__ == "__main__":
    main()
