"""Environments of their own, for tools whose dependencies exclude those of the tests."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

DAFT = "daft==0.7.26"  # pinned here alone, as it excludes pyarrow 26
# Pinned here alone, as they bring 90 packages that no other test needs.
NOTEBOOKS = ("jupyterlab==4.6.6", "marimo==0.25.2")
_SECONDS = 600


def find(folder: Path) -> str | None:
    """Return the interpreter of the environment in a folder, if it is complete."""
    python = _python_of(folder)
    return str(python) if (folder / "complete").exists() and python.exists() else None


def install(folder: Path, *installs: Sequence[str]) -> str | None:
    """Make an environment by some calls of `pip install`.

    Returns:
        Its interpreter, or None if pip fails.
    """
    venv.create(folder, with_pip=True, clear=True)
    python = _python_of(folder)
    try:
        for arguments in installs:
            call = [str(python), "-m", "pip", "install", "--quiet", *arguments]
            subprocess.run(call, check=True, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    (folder / "complete").touch()
    return str(python)


def find_daft(folder: Path) -> str | None:
    """Return an interpreter that has Daft: this one, or that of the environment in a folder."""
    return sys.executable if importlib.util.find_spec("daft") else find(folder)


def install_over(folder: Path, *requirements: str) -> str | None:
    """Make an environment with some packages, and behind it the packages of this one.

    Returns:
        Its interpreter, or None if pip fails.
    """
    python = install(folder, requirements)
    if python:
        paths = {"base": str(folder), "platbase": str(folder)}
        packages = Path(sysconfig.get_path("purelib", vars=paths))
        outer = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        (packages / "outer.pth").write_text(outer)
    return python


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
