"""Other tools, and what they compute of the images in a folder.

    python tests/other_tools.py [ENVIRONMENTS]   # write how they do on the conformance vectors

Each tool is run by a program of its own in an environment of its own, which `environments.py`
makes. A program prints, for each image, values by the name of our property of the same
definition, or the name of the exception. The script writes its table into
`docs/catalogue/other-tools.md`; environments are kept if a folder is given for them.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import conformance
import environments
import PIL
import polars as pl
import pytest

from polars_imgmeta.typing import GroupName

PAGE = Path(__file__).parents[1] / "docs" / "catalogue" / "other-tools.md"
_START, _END = "<!-- written by tests/other_tools.py -->\n", "<!-- end -->\n"
_SECONDS = 600
_NEAR = 0.01
# What a tool prints beside values.
ERROR = "error"

_PRELUDE = """
import contextlib, io, json, math, sys, tempfile, warnings
from importlib.metadata import version
from pathlib import Path
warnings.simplefilter("ignore")
paths = sorted(Path(sys.argv[1]).iterdir())

def measure_each(measure):
    found = {}
    for path in paths:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                found[path.name] = {name: value for name, value in measure(path).items()}
        except Exception as error:
            found[path.name] = {"error": type(error).__name__}
    tell(found)

def tell(found):
    print(json.dumps([{name: version(name) for name in packages}, found], default=float))
"""


@dataclass(frozen=True)
class Peer:
    """A tool.

    Attributes:
        packages: The packages whose versions count.
        installs: The calls of `pip install` that make its environment.
        program: What it computes.
        tolerance: The maximum difference of equal values, relative or absolute, by how many
            digits the tool gives.
        group: Our group of its definitions, if there is one.
    """

    packages: tuple[str, ...]
    installs: tuple[tuple[str, ...], ...]
    program: str
    tolerance: float = 1e-9
    group: GroupName | None = None

    def run(self, python: str, folder: Path) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Return the versions, and by file name what the tool computes of a folder of images."""
        code = f"packages = {self.packages!r}\n{_PRELUDE}\n{self.program}"
        done = subprocess.run(
            [python, "-W", "ignore", "-c", code, str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env=os.environ | {"SENTRY_OPT_OUT": "1", "DAFT_ANALYTICS_ENABLED": "0"},
        )
        if done.returncode:
            msg = f"{self.packages[0]} failed: {done.stderr}"
            raise RuntimeError(msg)
        versions, found = json.loads(done.stdout.splitlines()[-1])
        return versions, found


# With the same Pillow, whose filters round differently from version to version.
_PILLOW = f"pillow=={PIL.__version__}"
_PRESETS = (
    ("cleanvision==0.3.7", "scikit-image==0.26.0", "opencv-python-headless==5.0.0.93", _PILLOW),
    # Of its many dependencies the properties of images need two.
    ("--no-deps", "deepchecks==0.19.1"),
)

CLEANVISION = Peer(
    ("cleanvision", "pillow"),
    _PRESETS,
    """
from cleanvision import Imagelab
from cleanvision.issue_managers.image_property import calc_image_area_sqrt
from PIL import Image
issues = "dark light low_information blurry odd_aspect_ratio".split()
def measure(path):
    lab = Imagelab(filepaths=[str(path)])
    lab.find_issues({issue: {} for issue in issues}, n_jobs=1, verbose=False)
    (row,) = lab.issues.to_dict("records")
    found = {f"cleanvision_{issue}": row[f"{issue}_score"] for issue in issues}
    found["cleanvision_size"] = calc_image_area_sqrt(Image.open(path))
    verdicts = {issue: bool(row[f"is_{issue}_issue"]) for issue in issues}
    return found | {"verdicts": verdicts}
measure_each(measure)
""",
    group="cleanvision",
)
DEEPCHECKS = Peer(
    ("deepchecks", "scikit-image"),
    _PRESETS,
    """
import importlib.util
import numpy as np
from PIL import Image
# The module itself, as the package imports many others.
package = Path(importlib.util.find_spec("deepchecks").origin).parent
spec = importlib.util.spec_from_file_location("own", package / "vision/utils/image_properties.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def measure(path):
    image = np.asarray(Image.open(path))
    batch = [image if image.ndim == 3 else image[..., np.newaxis]]
    found = module.calc_default_image_properties(batch, sample_n_pixels=10**9)  # all of them
    names = {name: "deepchecks_" + name.lower().replace(" ", "_") for name in found}
    names["Area"] = "size"
    return {names[name]: value for name, (value,) in found.items()}
measure_each(measure)
""",
    group="deepchecks",
)
SKIMAGE = Peer(
    ("scikit-image",),
    _PRESETS,
    """
import numpy as np
from skimage.io import imread
from skimage.measure import blur_effect, shannon_entropy
def measure(path):
    image = imread(path)
    if image.ndim == 2:
        return {"skimage_blur_effect": blur_effect(image), "grey_entropy": shannon_entropy(image)}
    red, green, blue = np.moveaxis(image.astype(np.int64), 2, 0)
    grey = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15  # as OpenCV's
    return {
        "skimage_blur_effect": blur_effect(image, channel_axis=-1),
        "grey_entropy": shannon_entropy(grey),
    }
measure_each(measure)
""",
    group="skimage",
)
FASTDUP = Peer(
    ("fastdup",),
    (("fastdup==2.54",),),
    """
import csv
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    import fastdup
    fastdup.create(input_dir=sys.argv[1], work_dir=folder).run(overwrite=True, num_images=0)
    def read(name):
        with open(Path(folder) / name) as stream:
            return {row["index"]: row for row in csv.DictReader(stream)}
    statistics, refused = read("atrain_stats.csv"), read("atrain_features.bad.csv")
    names = {
        index: Path(row["filename"]).name
        for index, row in (read("atrain_features.dat.csv") | refused).items()
    }
found = {names[index]: {"error": row["error_code"]} for index, row in refused.items()}
for index, row in statistics.items():
    ours = {"width": float(row["width"]), "height": float(row["height"])}
    for name in "mean stdv min max contrast unique blur".split():
        ours[f"fastdup_{name}"] = float(row[name])
    found[names[index]] = ours
tell(found)
""",
    tolerance=1e-4,  # it writes four digits, of single precision
    group="fastdup",
)
PILLOW = Peer(
    ("pillow",),
    _PRESETS,
    """
from PIL import Image, ImageStat
def measure(path):
    image = Image.open(path)
    grey = image.convert("L")
    statistics = ImageStat.Stat(grey)
    return {
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "brightness": statistics.mean[0] / 255,
        "contrast": statistics.stddev[0] / 200,
        "grey_entropy": grey.entropy(),
    }
measure_each(measure)
""",
)
POLARS_CV = Peer(
    ("polars-cv", "polars"),
    (("polars-cv==0.41.0",),),
    """
import polars as pl
from polars_cv import Pipeline
def measure(path):
    frame = pl.DataFrame({"path": [str(path)]})
    info = frame.select(pl.col("path").cv.image_info()).to_series()[0]
    grey = pl.col("path").cv.pipe(Pipeline().source("file_path").grayscale())
    edges = grey.pipe(Pipeline().canny(low_threshold=100, high_threshold=200).reduce_mean())
    parts = {
        "mean": grey.pipe(Pipeline().reduce_mean()),
        "deviation": grey.pipe(Pipeline().reduce_std()),
        "edges": edges,
    }
    first, *others = (part.alias(name) for name, part in parts.items())
    graph = first.merge_pipe(*others).sink(dict.fromkeys(parts, "native"))
    row = frame.select(graph.alias("found")).to_series()[0]
    return {
        "width": info["width"],
        "height": info["height"],
        "brightness": row["mean"] / 255,
        "contrast": row["deviation"] / 200,
        "sharpness": row["edges"] / 255,
    }
measure_each(measure)
""",
)
DAFT = Peer(
    ("daft",),
    (("daft==0.7.26",),),
    """
import daft
def measure(path):
    frame = daft.from_pydict({"path": [str(path)]})
    image = daft.col("path").download().decode_image()
    rows = frame.select(
        image.image_width().alias("width"), image.image_height().alias("height")
    ).to_pylist()
    return rows[0]
measure_each(measure)
""",
)
IMAGESIZE = Peer(
    ("imagesize",),
    (("imagesize==2.0.1",),),
    """
import imagesize
measure_each(lambda path: dict(zip(("width", "height"), imagesize.get(path))))
""",
)

PRESETS = (CLEANVISION, DEEPCHECKS, SKIMAGE, FASTDUP)
"""Those whose definitions this package has under names of their own."""

PEERS = {
    "CleanVision": CLEANVISION,
    "Deepchecks": DEEPCHECKS,
    "scikit-image": SKIMAGE,
    "fastdup": FASTDUP,
    "Pillow": PILLOW,
    "polars-cv": POLARS_CV,
    "Daft": DAFT,
    "imagesize": IMAGESIZE,
}
"""All of them."""


def python_of(peer: Peer, config: pytest.Config, factory: pytest.TempPathFactory) -> str:
    """Return the interpreter of the environment of a tool, made once; skip if pip fails."""
    name = re.sub("[^a-z0-9]+", "-", "-".join(one for call in peer.installs for one in call))
    cache = getattr(config, "cache", None)  # None with `-p no:cacheprovider`
    root = Path(cache.mkdir(name) if cache else factory.mktemp(name))
    python = environments.find(root) or environments.install(root, *peer.installs)
    if python is None:
        calls = " && ".join(f"pip install {' '.join(call)}" for call in peer.installs)
        pytest.skip(f"pip cannot install {peer.packages[0]}, for the presets: {calls}")
    return python


def agrees(ours: object, theirs: object, tolerance: float) -> bool:
    """Return whether two values are equal, numbers within a tolerance."""
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)
    return ours == theirs or (ours is None and isinstance(theirs, float) and math.isnan(theirs))


def table(
    found: Mapping[str, tuple[Peer, dict[str, str], dict[str, dict[str, Any]]]],
    expected: pl.DataFrame,
) -> str:
    """Return the table of how the tools do, in Markdown; alike properties share a line."""
    lines = [
        "| Tool | Property | Equal | Near | Different |",
        "|---|---|--:|--:|---|",
    ]
    for tool, (peer, versions, values) in found.items():
        properties = {name: None for row in values.values() for name in row}
        alike: dict[str, list[str]] = {}
        for name in properties:
            if name in expected.columns:
                alike.setdefault(_result(peer, values, expected, name), []).append(name)
        label = f"{tool} {versions[peer.packages[0]]}"
        lines += [f"| {label} | {', '.join(names)} | {cells} |" for cells, names in alike.items()]
    return "\n".join(lines) + "\n"


def _result(
    peer: Peer, values: Mapping[str, Mapping[str, Any]], expected: pl.DataFrame, name: str
) -> str:
    """Return the cells of a property: how many values are equal and near, and what differs."""
    equal = near = 0
    others: dict[str, list[str]] = {}
    for picture, ours in expected.select("name", name).iter_rows():
        row = values.get(picture, {ERROR: "passed over"})
        theirs = row.get(name)
        equal += (same := agrees(ours, theirs, peer.tolerance))
        near += (alike := not same and agrees(ours, theirs, _NEAR))
        if not same and not alike:
            others.setdefault(row.get(ERROR, ""), []).append(picture.removesuffix(".png"))
    texts = [
        f"{', '.join(names)} ({reason})" if reason else ", ".join(names)
        for reason, names in sorted(others.items())
    ]
    return f"{equal} | {near or ''} | {'; '.join(texts)}"


def main(arguments: Sequence[str]) -> None:
    """Run all tools on the conformance vectors, and write the table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(arguments[0] if arguments else temporary)
        pictures = Path(temporary) / "pictures"
        conformance.write_pictures(pictures)
        found = {}
        for tool, peer in PEERS.items():
            folder = root / "-".join(one for call in peer.installs for one in call)
            python = environments.find(folder) or environments.install(folder, *peer.installs)
            if python is None:
                sys.exit(f"pip cannot install {peer.installs}")
            found[tool] = (peer, *peer.run(python, pictures))
    before, _, rest = PAGE.read_text().partition(_START)
    after = rest.partition(_END)[2]
    text = table(found, pl.read_parquet(conformance.EXPECTED))
    date = f"{datetime.now(UTC):%d %B %Y}"
    PAGE.write_text(f"{before}{_START}\nRun on {date}:\n\n{text}\n{_END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
