"""Peak memory of an extraction, each case in a process of its own.

    python benchmarks/memory.py [--small N] [--large N] [--rows N ...]

Pictures are generated: small ones, large ones of 24 megapixels, and hostile ones that
declare far more than they contain. The peak is that of the process, less its memory
before the extraction; it should stay below 16 bytes per pixel of the largest picture
and thread. Then tables of increasing length, all of the same few files, are streamed
from Parquet to Parquet: the peak should not grow with the length. Linux only.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import polars as pl
import sets

_LARGE = (4000, 6000)
_MEASURE = """
import re, sys
from pathlib import Path
import polars as pl
import polars_imgmeta as im
# `getrusage` would include the peak of the parent.
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""
_EAGER = """
frame = im.scan_images(sys.argv[1]).collect()
before = peak()
result = im.extract(frame, "path")
"""
_STREAMING = """
frame = im.scan_images(sys.argv[1]).collect()
before = peak()
parts = pl.concat([frame[i : i + 8] for i in range(0, len(frame), 8)], rechunk=False)
result = im.extract(parts.lazy(), "path").collect(engine="streaming")
"""
_SINK = """
before = peak()
im.sink_parquet(im.extract(pl.scan_parquet(sys.argv[1]), "path"), sys.argv[1] + ".out")
frame = result = im.extract(pl.DataFrame({"path": [None]}), "path")
"""
_REPORT = """
print(len(frame), len(im.errors(result)), peak() - before)
"""


def write_hostile(folder: Path) -> None:
    """Write PNGs of a few bytes that declare gigabytes."""

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


def measure(code: str, path: Path) -> list[int]:
    """Return the number of images, the number of failures, and the peak in bytes."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", _MEASURE + code + _REPORT, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


def measure_pictures(small: int, large: int) -> None:
    """Measure sets of pictures and print the table."""
    threads = pl.thread_pool_size()
    print(f"{'set':12}{'engine':12}{'images':>8}{'failed':>8}{'peak, MB':>10}  bytes/pixel/thread")
    for name in ("small", "large", "hostile"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            pixels = 0
            if name == "small":
                sets.write(folder, small, 240, 320)
            elif name == "large":
                sets.write(folder, large, *_LARGE)
                pixels = _LARGE[0] * _LARGE[1]
            else:
                write_hostile(folder)
            for engine, code in {"eager": _EAGER, "streaming": _STREAMING}.items():
                images, failed, peak = measure(code, folder)
                ratio = f"{peak / pixels / min(threads, images):.1f}" if pixels else ""
                print(f"{name:12}{engine:12}{images:>8}{failed:>8}{peak / 1e6:>10,.0f}  {ratio}")


def measure_rows(counts: list[int]) -> None:
    """Measure streamed tables and print the table."""
    print(f"\n{'rows':>10}{'peak, MB':>10}")
    with tempfile.TemporaryDirectory() as temporary:
        paths = sets.write(Path(temporary), 16, 240, 320)
        for count in counts:
            table = Path(temporary) / f"{count}.parquet"
            frame = pl.DataFrame({"path": (paths * (count // 16 + 1))[:count]})
            frame.write_parquet(table, row_group_size=1000)
            _, _, peak = measure(_SINK, table)
            print(f"{count:>10,}{peak / 1e6:>10,.0f}", flush=True)


def main() -> None:
    """Measure the cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=50)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 30_000, 1_000_000])
    options = parser.parse_args()
    measure_pictures(options.small, options.large)
    measure_rows(options.rows)


if __name__ == "__main__":
    main()
