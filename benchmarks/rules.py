"""How often the default rules flag photos, as they are and made worse.

    python benchmarks/rules.py FOLDER...

The thresholds of `RULE_SETS["default"]` are chosen by this table, of photos that are natural.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import polars_imgmeta as im

Picture = NDArray[np.uint8]


def expose(picture: Picture, stops: float) -> Picture:
    """Return a picture as if it were exposed by more stops, with a gamma of 2.2."""
    linear = (picture / 255) ** 2.2 * 2**stops
    return np.asarray(255 * linear.clip(0, 1) ** (1 / 2.2), np.uint8)


def blurred(picture: Picture, radius: float) -> Picture:
    """Return a picture out of focus."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture: Picture, deviation: float) -> Picture:
    """Return a picture with noise."""
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.asarray((picture + noise).clip(0, 255), np.uint8)


def with_bars(picture: Picture) -> Picture:
    """Return a picture with black bars, a fifth of its area."""
    return np.pad(picture, ((picture.shape[0] // 8,) * 2, (0, 0), (0, 0)))


WORSE: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda picture: picture,
    "2 stops darker": lambda picture: expose(picture, -2),
    "3 stops darker": lambda picture: expose(picture, -3),
    "4 stops darker": lambda picture: expose(picture, -4),
    "2 stops brighter": lambda picture: expose(picture, 2),
    "3 stops brighter": lambda picture: expose(picture, 3),
    "blurred by 2 pixels": lambda picture: blurred(picture, 2),
    "blurred by 4 pixels": lambda picture: blurred(picture, 4),
    "noise of 10": lambda picture: noisy(picture, 10),
    "noise of 20": lambda picture: noisy(picture, 20),
    "bars of 20 %": with_bars,
}


def encode(picture: Picture) -> bytes:
    """Return a picture as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


def main(folders: list[str]) -> None:
    """Print the share of photos that each rule flags, by what was done to them."""
    listed = pl.concat(im.scan_images(folder) for folder in folders).collect()["path"]
    photos = [np.asarray(Image.open(Path(path)).convert("RGB")) for path in listed]
    rules = im.RULE_SETS["default"].without("odd_size", "greyscale")  # of the data
    rows = []
    for name, change in WORSE.items():
        frame = pl.DataFrame({"image": [encode(change(photo)) for photo in photos]})
        frame = im.flag_issues(im.extract(frame, "image", rules.properties), rules)
        shares = frame.select(pl.col("image_issues").struct.field("*").mean())
        rows.append(shares.select(pl.lit(name).alias("photos"), pl.all().round(3)))
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=200):
        print(f"{len(photos)} photos\n{pl.concat(rows)}")


if __name__ == "__main__":
    main(sys.argv[1:])
