"""Definitions of other tools, value by value against these tools.

They are installed into an environment of their own in the cache of pytest, so that what they
depend on does not mix with what is tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import conformance
import numpy as np
import PIL
import polars as pl
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image
from strategies import pictures

import polars_imgmeta as im
from polars_imgmeta.catalogue import presets

# With the same Pillow, whose filters round differently from version to version.
PEERS = ("cleanvision==0.3.7", "scikit-image==0.26.0", f"pillow=={PIL.__version__}")

# Prints the values of the peers, by path, of the images in a folder.
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
import numpy as np
from cleanvision import Imagelab
from cleanvision.issue_managers.image_property import calc_image_area_sqrt
from PIL import Image
from skimage.measure import shannon_entropy

folder = Path(sys.argv[1])
issues = "dark light low_information blurry odd_aspect_ratio".split()
with contextlib.redirect_stdout(io.StringIO()):
    lab = Imagelab(data_path=str(folder))
    lab.find_issues({issue: {} for issue in issues}, n_jobs=1, verbose=False)
found = {}
for path, row in lab.issues.iterrows():
    image = Image.open(path)
    found[Path(path).name] = {
        **{issue: [row[f"{issue}_score"], bool(row[f"is_{issue}_issue"])] for issue in issues},
        "size": calc_image_area_sqrt(image),
        "entropy": float(shannon_entropy(np.load(Path(path).with_suffix(".npy")))),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the environment of the peers, made once."""
    cache = getattr(pytestconfig, "cache", None)
    name = "-".join(PEERS).replace("==", "-")
    root = cache.mkdir(name) if cache else tmp_path_factory.mktemp("peers")
    python = root / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    complete = root / "complete"
    if not complete.exists():
        venv.create(root, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", *PEERS]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(
                f"pip cannot install the peers of the presets: pip install {' '.join(PEERS)}"
            )
        complete.touch()
    return python


def drawn() -> dict[str, NDArray[np.uint8]]:
    """Return pictures by name: of many shapes, dark, light, plain, noisy and blurred."""
    rng = np.random.default_rng(0)
    shown = {}
    for number, shape in enumerate([(64, 64), (9, 200), (300, 40), (131, 97), (480, 640), (7, 5)]):
        noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        shown[f"noise-{number}"] = noise
        shown[f"dark-{number}"] = noise // 8
        shown[f"light-{number}"] = 255 - noise // 60
        slope = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 256
        shown[f"slope-{number}"] = np.dstack([slope, slope // 2, 255 - slope]).astype(np.uint8)
        shown[f"plain-{number}"] = np.full((*shape, 3), (7, 99, 180), np.uint8)
    return shown


@pytest.mark.slow
def test_values_of_the_tools(python: Path, tmp_path: Path) -> None:
    """Every preset has the value, and by its threshold the verdict, of its tool."""
    thresholds = {"dark": 0.32, "light": 0.05, "low_information": 0.3}
    thresholds |= {"blurry": 0.29, "odd_aspect_ratio": 0.35}
    for name, picture in drawn().items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        blue, green, red = np.moveaxis(picture[..., ::-1].astype(np.int64), 2, 0)
        grey = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15
        np.save(tmp_path / f"{name}.npy", grey.astype(np.uint8))
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    frame = im.scan_images(tmp_path).collect()
    rows = im.unnest(im.extract(frame, "path", ["cleanvision", "grey_entropy"]))
    assert len(rows) == len(found) == len(drawn())
    verdicts = set()
    for row in rows.iter_rows(named=True):
        peer = found[Path(row["path"]).name]
        for issue, threshold in thresholds.items():
            value, (score, verdict) = row[f"cleanvision_{issue}"], peer[issue]
            assert value == pytest.approx(score, rel=0, abs=1e-9), (row["path"], issue)
            assert (value < threshold) == verdict, (row["path"], issue)
            verdicts.add((issue, verdict))
        assert row["cleanvision_size"] == pytest.approx(peer["size"])
        assert row["grey_entropy"] == pytest.approx(peer["entropy"], abs=1e-9)
    assert len(verdicts) == 2 * len(thresholds)  # each issue is found, and is not


@given(pictures())
def test_percentiles(picture: NDArray[np.uint8]) -> None:
    """Dark and light are percentiles of NumPy's."""
    blue, green, red = np.moveaxis(picture.astype(np.float64), 2, 0)
    brightness = np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2) / 255
    low, high = np.percentile(brightness, [5, 99])
    assert presets.cleanvision_dark(picture) == pytest.approx(high, abs=1e-12)
    assert presets.cleanvision_light(picture) == pytest.approx(1 - low, abs=1e-12)


def test_odd_sizes(tmp_path: Path) -> None:
    """The rule of CleanVision for odd sizes is an expression over the column."""
    names = conformance.write_pictures(tmp_path)
    frame = pl.DataFrame({"path": [str(tmp_path / name) for name in names]})
    size = pl.col("cleanvision_size")
    low, high = (size.quantile(part, "linear") for part in (0.25, 0.75))
    odd = (size < low - 3 * (high - low)) | (size > high + 3 * (high - low))
    rows = im.unnest(im.extract(frame, "path", "cleanvision")).filter(odd)
    assert [Path(path).name for path in rows["path"]] == ["noise.png", "large.png"]
