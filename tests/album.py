"""A folder of pictures, some of which are there twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image


def make_album(folder: Path) -> None:
    """Draw `a` to `d` of 160 x 120 pixels, `twin`, a copy of `a`, and `small`, half of `d`."""
    random = np.random.default_rng(0)
    for name in "abcd":
        cells = random.integers(0, 256, (9, 12, 3), np.uint8)
        picture = Image.fromarray(cells).resize((160, 120), Image.Resampling.BICUBIC)
        picture.save(folder / f"{name}.png")
    picture.resize((80, 60)).save(folder / "small.png")
    shutil.copy(folder / "a.png", folder / "twin.png")
