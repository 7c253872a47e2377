"""Rows and properties do not affect each other: neither old values nor shared arrays remain."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.decoding.pictures import Picture


def test_a_row_whose_image_is_gone_equals_a_new_one(sample_folder: Path, tmp_path: Path) -> None:
    """`refresh` leaves nothing of the former image in the marker."""
    path = tmp_path / "fog.png"
    shutil.copy(sample_folder / "photos" / "fog.png", path)
    frame = pl.DataFrame({"path": [str(path)]})
    extracted = im.extract(frame, "path", "width")
    path.unlink()
    assert im.refresh(extracted).equals(im.extract(frame, "path", "width"))


@pytest.mark.parametrize("size", [16, 600])
def test_own_properties_cannot_change_the_picture(size: int) -> None:
    """Arrays are read-only: writing is an error of the row, and other properties are right."""

    @im.custom_property(needs="picture", dtype=pl.Float64)
    def careless(picture: Picture) -> float:
        picture[:] = 0
        return 0.0

    @im.custom_property(needs="picture", dtype=pl.Float64)
    def mean(picture: Picture) -> float:
        return float(picture.mean())

    white = b"P5 %d %d 255\n" % (size, size) + np.full((size, size), 255, np.uint8).tobytes()
    image = im.extract_series(pl.Series("image", [white]), ["brightness", careless, mean])[0]
    assert image["error"].startswith("property_failed: careless raised ValueError")
    assert (image["brightness"], image["mean"]) == (1.0, 255.0)
