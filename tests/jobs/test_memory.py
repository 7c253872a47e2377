"""Many tiny files are streamed: memory does not grow with what was read."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc: needs Linux"),
]

# 20,000 in CI; 200,000 before a release.
FILES = 200_000 if settings().max_examples >= 1_000 else 20_000
_LINKS = 30_000  # of one file, which file systems limit
_ROW_BYTES = 400  # of what is known of a row until the end, such as its hash and its path
_SLACK_BYTES = 32 << 20

WAYS = {
    "job": "im.run('files', 'out', properties='standard')",
    "job of a table": "im.run('files.csv', 'out', 'path')",
    "lazy frame": "pl.scan_csv('files.csv').imgmeta.extract('path').sink_parquet('out.parquet')",
    "sink": "im.sink_parquet(im.extract(im.scan_images('files'), 'path'), 'out.parquet')",
}
CODE = """
    import re, sys
    from pathlib import Path
    import polars as pl
    import polars_imgmeta as im

    {way}
    print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    print(pl.scan_parquet(sys.argv[1]).select(pl.len()).collect().item())
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of few and of many files, and tables of them."""
    found = {}
    for files in (FILES // 10, FILES):
        found[files] = home = tmp_path_factory.mktemp("memory")
        (home / "files").mkdir()
        names = [f"files/{number:06}.png" for number in range(files)]
        for number, name in enumerate(names):
            if number % _LINKS == 0:
                cv2.imwrite(str(home / name), np.full((8, 8, 3), number % 251, np.uint8))
            else:
                (home / name).hardlink_to(home / names[number - number % _LINKS])
        (home / "files.csv").write_text("\n".join(["path", *names]))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_memory_is_bounded(way: str, folders: dict[int, Path]) -> None:
    """Ten times the files take more memory by what their rows take, and no more."""
    code = textwrap.dedent(CODE).format(way=WAYS[way])
    output = "out/part-*.parquet" if "job" in way else "out.parquet"
    peaks = []
    for files, home in folders.items():
        done = subprocess.run(
            [sys.executable, "-c", code, output],
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
            timeout=900,
        )
        peak, rows = map(int, done.stdout.split())
        assert rows == files
        peaks.append(peak * 1024)
        if (home / "out").exists():
            (home / "out").rename(home / f"done {way}")
    assert peaks[1] - peaks[0] < 0.9 * FILES * _ROW_BYTES + _SLACK_BYTES
