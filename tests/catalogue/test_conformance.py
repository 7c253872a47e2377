"""The conformance vectors: this package has their values, and they are not of its making alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import conformance
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from strategies import shown_by_pillow

import polars_imgmeta as im


@pytest.fixture(scope="module")
def expected() -> pl.DataFrame:
    """The expected values, a row for each picture."""
    return pl.read_parquet(conformance.EXPECTED)


def test_values(tmp_path: Path, expected: pl.DataFrame) -> None:
    """Every property of every picture has the expected value."""
    names = conformance.write_pictures(tmp_path)
    measured = conformance.measured(tmp_path, names)
    assert_frame_equal(measured, expected, check_exact=False, rel_tol=0, abs_tol=1e-9)


def test_every_property_is_covered(expected: pl.DataFrame) -> None:
    """There is a column for each property, and each of pixels takes several values."""
    assert expected.columns == ["name", *conformance.PROPERTIES]
    for name in (*im.GROUPS["standard"], *im.GROUPS["identity"], *im.GROUPS["quality"]):
        assert expected[name].null_count() == 0
        assert expected[name].n_unique() > 1


def test_pictures_are_what_other_decoders_show(expected: pl.DataFrame) -> None:
    """Pillow shows the same pictures, whose digests are those of the vectors."""
    digests = dict(expected.select("name", "pixel_digest").iter_rows())
    for name, data in conformance.pictures().items():
        shown = shown_by_pillow(data)
        head = b"P6\n%d %d\n255\n" % shown.shape[1::-1]
        assert hashlib.sha256(head + shown.tobytes()).hexdigest() == digests[name], name


def test_relations(expected: pl.DataFrame) -> None:
    """Values that follow from how the pictures were drawn."""
    rows = {row["name"]: row for row in expected.iter_rows(named=True)}
    waves, turned = rows["waves.png"], rows["waves-turned.png"]
    assert (waves["width"], waves["height"]) == (turned["height"], turned["width"]) == (80, 60)
    for other in ("waves-transparent.png", "waves-16-bits.png", "waves.ppm"):
        assert rows[other]["pixel_digest"] == waves["pixel_digest"]
    assert turned["brightness"] == waves["brightness"]
    assert rows["waves-mirrored.png"]["symmetry"] == waves["symmetry"]
    assert rows["board.png"]["blur"] == 1020**2
    assert rows["film.png"]["border"] == pytest.approx(1 / 3)
    assert rows["blocks.png"]["blockiness"] == 1
    assert rows["black.png"]["shadow_clipping"] == rows["white.png"]["highlight_clipping"] == 1
    assert rows["pixel.png"]["dominant_colour"] == "#c86432"
    assert rows["palette.png"]["channels"] == 1
    assert [row["is_greyscale"] for row in rows.values()].count(True) == 6
