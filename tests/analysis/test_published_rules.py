"""The named rule sets: CleanVision's verdicts are those of CleanVision itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import other_tools
import polars as pl
import pytest
from PIL import Image, ImageFilter

import polars_imgmeta as im
from polars_imgmeta.analysis.published_rules import RULE_SETS

ISSUES = ("dark", "light", "low_information", "blurry", "odd_aspect_ratio", "odd_size", "grayscale")

# Prints the verdicts of CleanVision, by name, of the images in each of several folders.
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from cleanvision import Imagelab

issues = sys.argv[1].split()
found = []
for folder in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()):
        lab = Imagelab(data_path=folder)
        lab.find_issues({issue: {} for issue in issues}, n_jobs=1, verbose=False)
    rows = lab.issues.iterrows()
    columns = [f"is_{issue}_issue" for issue in issues]
    found.append({Path(path).name: [bool(row[one]) for one in columns] for path, row in rows})
print(json.dumps(found))
"""


def draw(folder: Path, shapes: list[tuple[int, int]]) -> None:
    """Write pictures of many kinds, in colour and in one grey channel."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, (rows, columns) in enumerate(shapes):
        noise = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        slope = np.add.outer(np.arange(rows), np.arange(columns)) % 256
        few = (rng.integers(0, 1 + 2 ** (number % 4), (rows, columns)) * 40).astype(np.uint8)
        drawn = {
            "noise": noise,
            "dark": noise // 8,
            "light": 255 - noise // 60,
            "slope": np.dstack([slope, slope // 2, 255 - slope]).astype(np.uint8),
            "plain": np.full((rows, columns, 3), (7, 99, 180), np.uint8),
            "few": np.dstack([few, few, 255 - few]),
        }
        for kind, picture in drawn.items():
            image = Image.fromarray(picture)
            image.save(folder / f"{kind}-{number}.png")
            image.convert("L").save(folder / f"{kind}-{number}-grey.png")
            soft = image.filter(ImageFilter.GaussianBlur(3))
            soft.save(folder / f"{kind}-{number}-soft.png")


SETS = {
    "many shapes": [(64, 64), (9, 200), (300, 40), (131, 97), (480, 640), (7, 5)],
    "one shape": [(50, 60)] * 4,
    "nearly one shape": [(50, 60)] * 9 + [(51, 60)],
    "two shapes": [(50, 60)] * 4 + [(90, 80)] * 4 + [(500, 500)],
}


@pytest.mark.slow
def test_verdicts_of_cleanvision(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Every rule has the verdict of CleanVision on the same images, on colours and greys."""
    python = other_tools.python_of(other_tools.CLEANVISION, pytestconfig, tmp_path_factory)
    folders = [tmp_path / name.replace(" ", "-") for name in SETS]
    for folder, shapes in zip(folders, SETS.values(), strict=True):
        draw(folder, shapes)
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PROGRAM, " ".join(ISSUES), *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, list[bool]]] = json.loads(done.stdout.splitlines()[-1])
    rules = RULE_SETS["cleanvision"]
    assert tuple(rules) == ISSUES
    verdicts: set[tuple[str, Any]] = set()
    for folder, peer in zip(folders, found, strict=True):
        frame = im.extract(im.scan_images(folder), "path", rules.properties).collect()
        flagged = im.flag_issues(frame, "cleanvision")
        ours = {
            Path(path).name: list(flags.values())
            for path, flags in flagged.select("path", "path_issues").iter_rows()
        }
        assert ours == peer
        verdicts |= {(ISSUES[at], one) for row in peer.values() for at, one in enumerate(row)}
    assert len(verdicts) == 2 * len(ISSUES)  # each issue is found, and is not


@pytest.mark.parametrize("name", RULE_SETS)
def test_rule_sets_are_complete(name: str) -> None:
    """Each rule has a source and a reason in plain words, on properties of the catalogue."""
    rules = im.RULE_SETS[name]  # type: ignore[index] # a name of the set
    for rule in rules.values():
        assert rule.source
        assert rule.reason[0].islower()
        assert not rule.reason.endswith(".")
    assert set(rules.properties) <= set(im.CATALOGUE)


def worse(kind: str) -> Image.Image:
    """Return a picture with what one of the default rules is for."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 220, (12, 16, 3), dtype=np.uint8)
    scene = Image.fromarray(coarse).resize((320, 240), Image.Resampling.NEAREST)
    pixels = np.asarray(scene)
    light = (pixels > 105).all(axis=2, keepdims=True)
    made: dict[str, Callable[[], Any]] = {
        "fine": lambda: pixels,
        "dark": lambda: pixels // 6,
        "bright": lambda: 255 - (255 - pixels) // 4,
        "blurred": lambda: scene.filter(ImageFilter.GaussianBlur(12)),
        "low_information": lambda: pixels // 128 * 128 + 60,
        "odd_size": lambda: scene.resize((32, 24), Image.Resampling.NEAREST),
        "odd_aspect_ratio": lambda: scene.crop((0, 0, 320, 100)),
        "greyscale": lambda: scene.convert("L"),
        "border": lambda: np.pad(pixels, ((30, 30), (0, 0), (0, 0))),
        "clipped_shadows": lambda: np.where(light, pixels, 0),
        "clipped_highlights": lambda: np.where(light, 255, pixels),
        "noisy": lambda: np.clip(pixels + rng.normal(0, 25, pixels.shape), 0, 255),
    }
    drawn = made[kind]()
    return drawn if isinstance(drawn, Image.Image) else Image.fromarray(drawn.astype(np.uint8))


def test_each_default_rule_finds_what_it_is_for(tmp_path: Path) -> None:
    """A picture made worse breaks the rule for it, and the picture itself breaks none."""
    rules = RULE_SETS["default"]
    for kind in ("fine", *rules):
        worse(kind).save(tmp_path / f"{kind}.png")
    for copy in range(20):
        worse("fine").save(tmp_path / f"fine{copy}.png")
    frame = im.extract(im.scan_images(tmp_path), "path", rules.properties).collect()
    found = im.issues(frame).select(pl.col("locator").str.extract(r"(\w+)\.png$"), "rule")
    assert {(kind, kind) for kind in rules} <= set(found.iter_rows())
    assert not found["locator"].str.starts_with("fine").any()
