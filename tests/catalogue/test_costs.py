"""What is not asked for is not computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import conformance

import polars_imgmeta as im

# Prints, by group, the modules with functions of properties that run during an extraction of it.
PROGRAM = """
import json, sys, threading
from pathlib import Path
import polars as pl
import polars_imgmeta as im

called = set()
def note(frame, event, _):
    path = Path(frame.f_code.co_filename)
    of_properties = path.parent.name in {"catalogue", "presets"} or path.name == "details.py"
    if event == "call" and of_properties:
        called.add(path.stem)

frame = pl.DataFrame({"path": sorted(map(str, Path(sys.argv[1]).iterdir()))})
found = {}
threading.setprofile(note)
sys.setprofile(note)
for group in im.GROUPS:
    called.clear()
    im.extract(frame, "path", group, on_error="raise")
    found[group] = sorted(called - {"registry"})
sys.setprofile(None)
print(json.dumps(found))
"""
MODULES = {
    "geometry": "kernels",
    "standard": "batched_kernels kernels",
    "source": "",
    "file": "details",
    "identity": "areas identity",
    "quality": "areas kernels quality",
    "cleanvision": "cleanvision",
    "deepchecks": "deepchecks",
    "encord": "encord kernels quality",
    "fastdup": "fastdup kernels quality",
    "skimage": "skimage",
}


def test_groups_run_alone(tmp_path: Path) -> None:
    """An extraction of a group runs the functions of that group and no others."""
    conformance.write_pictures(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert MODULES.keys() == im.GROUPS.keys()
    expected = {group: modules.split() for group, modules in MODULES.items()}
    assert json.loads(done.stdout) == expected
