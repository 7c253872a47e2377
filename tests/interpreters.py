"""Python code in a subprocess."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def resident_peak(*, reset: bool = False) -> int:
    """Return the peak of this process's resident memory since its start or the last reset.

    In contrast to `ru_maxrss`, which a process takes over from its parent, it is its own.

    Args:
        reset: Whether to let the peak begin anew, with what is resident now.

    Returns:
        The number of bytes.
    """
    if reset:
        _CLEAR.write_text("5")
    match = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())
    assert match is not None
    return int(match[1]) << 10


def run_python(code: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter with `folder` as working directory, and capture its output.

    The code can import this module.
    """
    here = str(Path(__file__).parent)
    return subprocess.run(
        [sys.executable, *options, "-c", f"import sys; sys.path.append({here!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
