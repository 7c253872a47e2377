"""Jobs over many tiny files: memory, the first output, and speed beside one call.

    python benchmarks/jobs.py --files 20000 200000

The peak of the memory must not grow with the number of files by more than their rows take.
Each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

_LINKS = 30_000  # of one file, which file systems limit
_JOB = """
import json, re, sys, time
from pathlib import Path
import polars as pl
import polars_imgmeta as im
folder, how, output = sys.argv[1:]
first = []
start = time.perf_counter()
if how == "job":
    im.run(folder, output, progress=lambda now: first.append(time.perf_counter() - start))
elif how == "sink":
    im.sink_parquet(im.extract(im.scan_images(folder).select("path"), "path"), output)
else:
    im.write_parquet(im.extract(im.scan_images(folder).select("path").collect(), "path"), output)
seconds = time.perf_counter() - start
# `getrusage` would include the peak of the parent.
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
again = 0.0
if how == "job":
    start = time.perf_counter()
    assert im.run(folder, output).new == 0
    again = time.perf_counter() - start
print(json.dumps([seconds, peak, again]))
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[20_000, 200_000])
    options = parser.parse_args()
    print(f"{'files':>9} {'how':>5} {'seconds':>8} {'of eager':>9} {'peak MB':>8} {'again s':>8}")
    for files in options.files:
        with tempfile.TemporaryDirectory() as folder:
            _draw(Path(folder) / "images", files)
            eager = 0.0
            for how in ("eager", "sink", "job"):
                output = str(Path(folder) / how)
                command = [sys.executable, "-c", _JOB, f"{folder}/images", how, output]
                done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
                seconds, peak, again = json.loads(done.stdout)
                eager = eager or seconds
                print(
                    f"{files:9,} {how:>5} {seconds:8.2f} {seconds / eager:9.2f} {peak:8.0f}"
                    f" {again:8.2f}"
                )


def _draw(folder: Path, files: int) -> None:
    folder.mkdir()
    noise = np.random.default_rng(0)
    source = Path()
    for number in range(files):
        target = folder / f"{number:06}.png"
        if number % _LINKS == 0:
            cv2.imwrite(str(target), noise.integers(0, 256, (8, 8, 3), np.uint8))
            source = target
        else:
            target.hardlink_to(source)


if __name__ == "__main__":
    main()
