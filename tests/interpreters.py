"""Running code in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_python(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, in a folder, and keep what it writes."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
