"""Thumbnails: they look like the picture, are small, and never raise."""

from __future__ import annotations

import base64
import io
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reads import count_reads
from strategies import Encoded, damaged_encodings, encodings, exif_of

from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.display import thumbnails
from polars_imgmeta.measuring.options import Reading

MOST_BYTES = 13_000


def data_uri(locator: str, side: int = 96, max_pixels: int = 1 << 27) -> str | None:
    """Return the thumbnail of one image."""
    reading = Reading(max_pixels=max_pixels)
    (uri,) = thumbnails.data_uris(pl.Series([locator]), side, reading=reading)
    return uri


def image_of(uri: str | None) -> Image.Image:
    """Decode a URI with Pillow."""
    assert uri is not None
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    return image


@given(encoded=encodings(), side=st.integers(1, 40))
def test_a_copy_looks_like_the_picture(
    encoded: Encoded, side: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Thumbnails of every format are upright and keep aspect ratio and brightness."""
    file = tmp_path_factory.mktemp("copy") / "image"
    file.write_bytes(encoded.data)
    copy = image_of(data_uri(str(file), side))
    rows, columns = encoded.reference.shape[:2]
    scale = min(1, side / max(rows, columns))
    assert copy.width == max(1, round(columns * scale))
    assert copy.height == max(1, round(rows * scale))
    # WebP halves the resolution of colours, so only the intensity is compared.
    grey = encoded.reference @ [0.299, 0.587, 0.114]
    assert abs(np.asarray(copy.convert("L"), np.float64).mean() - grey.mean()) < 24


@pytest.mark.parametrize(("orientation", "lit"), [(1, "top"), (3, "bottom"), (6, "right")])
def test_orientation_is_applied(orientation: int, lit: str, tmp_path: Path) -> None:
    """The orientation of EXIF is applied."""
    stored = np.zeros((64, 64, 3), np.uint8)
    stored[:32] = 255
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif_of(orientation))
    copy = np.asarray(image_of(data_uri(str(tmp_path / "a.png"))).convert("L"))
    halves = {"top": copy[:30], "bottom": copy[34:], "right": copy[:, 34:]}
    assert halves[lit].mean() > 250


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((1, 1), (1, 1)),
        ((96, 96), (96, 96)),
        ((97, 97), (96, 96)),
        ((10, 40), (10, 40)),
        ((400, 100), (96, 24)),
        ((1, 100_000), (1, 96)),
        ((100_000, 1), (96, 1)),
    ],
)
def test_extreme_shapes_keep_a_pixel(shape: tuple[int, int], small: tuple[int, int]) -> None:
    """Sides have from 1 to 96 pixels, and nothing is enlarged."""
    picture: Picture = np.zeros((*shape, 3), np.uint8)
    assert thumbnails.shrink(picture, 96).shape == (*small, 3)


def test_thumbnails_of_noise_stay_small(tmp_path: Path) -> None:
    """Noise, which does not compress, gets a lower quality."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    uri = data_uri(str(tmp_path / "noise.png"), 192)
    assert image_of(uri).size == (192, 192)
    assert len(uri or "") < MOST_BYTES


@given(case=damaged_encodings())
def test_damage_raises_nothing(
    case: tuple[Encoded, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Corrupt images have no thumbnail, or one that can be decoded."""
    file = tmp_path_factory.mktemp("damage") / "image"
    file.write_bytes(case[1])
    uri = data_uri(str(file), max_pixels=1 << 20)
    assert uri is None or image_of(uri).width > 0


@pytest.mark.parametrize("locator", ["", "\0", "ftp://a/b.png", "gone.png", "/", "file://x/y", "~"])
def test_invalid_locators_have_no_thumbnail(locator: str) -> None:
    """Invalid locators raise nothing."""
    assert data_uri(locator) is None


def test_pictures_above_the_limit_have_no_thumbnail(sample_folder: Path) -> None:
    """`max_pixels` limits thumbnails, too."""
    dusk = str(sample_folder / "photos/dusk.png")
    assert data_uri(dusk, max_pixels=320 * 240 - 1) is None
    assert data_uri(dusk, max_pixels=320 * 240) is not None


def test_many_are_read_once_each(sample_folder: Path) -> None:
    """Results have the order of the locators, and repeated ones are read once."""
    folder = sample_folder / "photos"
    names = ["dusk.png", None, "gone.png", "fog.png", "dusk.png"]
    locators = [name and str(folder / name) for name in names]
    with count_reads(folder) as opened:
        uris = thumbnails.data_uris(pl.Series(locators), 48)
    assert [uri is None for uri in uris] == [False, True, True, False, False]
    assert opened == Counter({"dusk.png": 1, "gone.png": 1, "fog.png": 1})
    alone = [name and data_uri(name, 48) for name in locators]
    assert uris == alone
