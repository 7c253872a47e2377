"""The examples of the pages on engines, as scripts that print what the pages show."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "engines"
ENGINES = [
    pytest.param("ray", marks=pytest.mark.slow),
    pytest.param("dask", marks=pytest.mark.slow),
    pytest.param("spark", marks=[pytest.mark.slow, pytest.mark.java]),
    pytest.param("daft", marks=[pytest.mark.slow, pytest.mark.daft]),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_example(
    engine: str,
    sample_folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page has one script and what it prints."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    page = (PAGES / f"{engine}.md").read_text("utf-8")
    ((code, shown),) = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", page, re.DOTALL)
    python = request.getfixturevalue("daft_python") if engine == "daft" else sys.executable
    shutil.copytree(sample_folder / "photos", tmp_path / "photos")
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [python, script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == shown, done.stderr


def test_each_engine_has_a_page() -> None:
    """A page with a script is run by this test; others are doctests."""
    scripts = {page.stem for page in PAGES.glob("*.md") if "```text" in page.read_text("utf-8")}
    assert scripts == {parameter.values[0] for parameter in ENGINES}
