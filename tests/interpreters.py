"""Python code in a subprocess."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_python(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter with `folder` as working directory, and capture its output."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
