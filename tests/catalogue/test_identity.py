"""Digests and the perceptual hash: definitions, robustness, and values that never change."""

from __future__ import annotations

import hashlib
import io
import statistics
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from strategies import grey_pictures, pictures

import polars_imgmeta as im
from polars_imgmeta.catalogue import identity
from polars_imgmeta.decoding.pictures import intensity_of

Grey = NDArray[np.uint8]

# 4096 cos(pi n / 64) for n from 0 to 32, rounded.
COSINES = (
    *(4096, 4091, 4076, 4052, 4017, 3973, 3920, 3857, 3784, 3703, 3612, 3513, 3406, 3290, 3166),
    *(3035, 2896, 2751, 2598, 2440, 2276, 2106, 1931, 1751, 1567, 1380, 1189, 995, 799, 601, 401),
    *(201, 0),
)


def cosine(number: int) -> int:
    """Return 4096 cos(pi n / 64) from the table of the first quarter."""
    number %= 128
    number = min(number, 128 - number)
    return COSINES[number] if number <= 32 else -COSINES[64 - number]


def hash_by_definition(intensity: Grey) -> int:
    """Compute the hash in plain Python integers."""
    rows, columns = intensity.shape
    values = intensity.tolist()

    def weights(length: int) -> list[dict[int, int]]:
        """The parts of lines in each of 32 cells, in 32nds."""
        cells: list[dict[int, int]] = [{} for _ in range(32)]
        for part in range(32 * length):
            cell = cells[part // length]
            cell[part // 32] = cell.get(part // 32, 0) + 1
        return cells

    means = [
        [
            sum(a * b * values[r][c] for r, a in down.items() for c, b in across.items())
            * 256
            // (rows * columns)
            for across in weights(columns)
        ]
        for down in weights(rows)
    ]
    half = [
        [sum(cosine(v * (2 * x + 1)) * line[x] for x in range(32)) for v in range(8)]
        for line in means
    ]
    spectrum = [
        sum(cosine(u * (2 * y + 1)) * half[y][v] for y in range(32))
        for u in range(8)
        for v in range(8)
    ]
    median = statistics.median_low(spectrum[1:])
    bits = sum(1 << k for k in range(1, 64) if spectrum[k] > median)
    return bits - (1 << 64) if bits >> 63 else bits


def distance(first: int, second: int) -> int:
    """Return the number of different bits."""
    return ((first ^ second) & (1 << 64) - 1).bit_count()


def photo(seed: int, rows: int = 360, columns: int = 480) -> Image.Image:
    """Draw a picture like a photo: smooth shades, a few objects, noise of a sensor."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    values = np.zeros((rows, columns, 3))
    for octave in range(1, 5):
        u, v = rng.uniform(-1, 1, 2) * 2**octave
        phase = rng.uniform(0, 6.28, 3)
        values += np.sin(6.28 * (u * down + v * across)[..., np.newaxis] + phase) / octave
    for _ in range(6):
        top, left, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.25)
        inside = (down - top) ** 2 + (across - left) ** 2 < radius**2
        values[inside] = values[inside] / 3 + rng.uniform(-1.5, 1.5, 3)
    values = (values - values.min()) / np.ptp(values) * 235 + 10
    return Image.fromarray((values + rng.normal(0, 3, values.shape)).clip(0, 255).astype(np.uint8))


def hash_of(image: Image.Image) -> int:
    """Return the hash of an image."""
    return identity.perceptual_hash(
        intensity_of(np.asarray(image.convert("RGB"))[..., ::-1].copy())
    )


def encoded(image: Image.Image, name: str, **options: int) -> Image.Image:
    """Return an image after a lossy compression."""
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return Image.open(stream)


@given(st.binary())
def test_file_digest(data: bytes) -> None:
    """It is what `sha256sum` prints."""
    assert identity.file_digest(data) == hashlib.sha256(data).hexdigest()


@given(pictures())
def test_pixel_digest(picture: Grey) -> None:
    """It is the digest of the picture as Pillow writes it as PPM."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PPM")
    expected = hashlib.sha256(stream.getvalue()).hexdigest()
    assert identity.pixel_digest(picture[..., ::-1].copy()) == expected


def test_pixel_digest_of_many_blocks() -> None:
    """It does not depend on the blocks in which pixels are read."""
    picture = np.random.default_rng(0).integers(0, 256, (3, 70_001, 3), dtype=np.uint8)
    expected = hashlib.sha256(b"P6\n70001 3\n255\n" + picture[..., ::-1].tobytes()).hexdigest()
    assert identity.pixel_digest(picture) == expected


@given(grey_pictures(longest=20))
def test_perceptual_hash(intensity: Grey) -> None:
    """It is the definition, computed in integers, for pictures of any size."""
    assert identity.perceptual_hash(intensity) == hash_by_definition(intensity)


def pattern(rows: int, columns: int, *, factor: int) -> Grey:
    """Return a picture that a formula of integers defines."""
    down, across = np.indices((rows, columns))
    waves = down * down * factor // 7 + across * across // 5 + down * across // (3 * factor)
    return np.asarray(waves % 256, np.uint8)


@pytest.mark.parametrize(
    ("rows", "columns", "factor", "expected"),
    [
        (1, 1, 1, 0),
        (32, 32, 1, -6153489003553973024),
        (37, 53, 1, 6148925081993916576),
        (480, 640, 2, 8032355290619114592),
        (3, 1000, 3, -5287708227874671104),
        (1000, 3, 1, -3561722315459210440),
        (700, 300, 5, 8815523887960446060),
    ],
)
def test_perceptual_hashes_never_change(
    rows: int, columns: int, factor: int, expected: int
) -> None:
    """Hashes that users have stored stay comparable: these values must never be edited."""
    assert identity.perceptual_hash(pattern(rows, columns, factor=factor)) == expected


def test_perceptual_hash_of_simple_pictures() -> None:
    """A uniform picture has no bits; one that darkens to the right has odd frequencies only."""
    assert identity.perceptual_hash(np.full((50, 60), 200, np.uint8)) == 0
    ramp = np.tile(np.arange(64, dtype=np.uint8)[::-1], (40, 1))
    assert identity.perceptual_hash(ramp) == sum(1 << v for v in (1, 3, 5, 7))
    assert identity.perceptual_hash(ramp.T.copy()) == sum(1 << 8 * u for u in (1, 3, 5, 7))


@pytest.mark.parametrize("seed", range(6))
def test_the_hash_survives_encoding_and_scaling(seed: int) -> None:
    """Copies differ in few bits, and other pictures in many."""
    original = photo(seed)
    copies = [
        encoded(original, "JPEG", quality=85),
        encoded(original, "JPEG", quality=25),
        encoded(original, "WEBP", quality=40),
        original.resize((240, 180), Image.Resampling.LANCZOS),
        original.resize((97, 73), Image.Resampling.BOX),
        original.resize((700, 530), Image.Resampling.BICUBIC),
        encoded(original.resize((128, 96)), "JPEG", quality=50),
        original.convert("L"),
    ]
    assert max(distance(hash_of(copy), hash_of(original)) for copy in copies) <= 4
    others = [hash_of(photo(other)) for other in range(6) if other != seed]
    assert min(distance(other, hash_of(original)) for other in others) >= 14


def test_duplicates_in_a_frame(tmp_path: Path) -> None:
    """Digests find copies of a file, the same picture in other files, and similar pictures."""
    image = photo(1)
    image.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    image.save(tmp_path / "c.bmp")
    image.resize((120, 90)).save(tmp_path / "d.jpg")
    photo(2).save(tmp_path / "e.png")
    frame = im.unnest(im.extract(im.scan_images(tmp_path).collect(), "path", "identity"))
    copies, same, similar = (
        frame.select(pl.col(name).rank("dense")).to_series().to_list()
        for name in ("file_digest", "pixel_digest", "perceptual_hash")
    )
    assert copies[0] == copies[1]
    assert len(set(copies)) == 4
    assert same[0] == same[1] == same[2]
    assert len(set(same)) == 3
    bits = (pl.col("perceptual_hash") ^ pl.col("perceptual_hash").first()).bitwise_count_ones()
    distances = frame.select(bits).to_series().to_list()
    assert max(distances[:4]) <= 4
    assert distances[4] >= 14
    assert similar[0] == similar[2]
    assert frame["perceptual_hash"].dtype == pl.Int64


def test_the_table_of_cosines() -> None:
    """No entry is near a half, so that no library rounds it otherwise."""
    assert [cosine(n) for n in (0, 32, 64, 96)] == [4096, 0, -4096, 0]
    squares = [
        Fraction(cosine(n), 4096) ** 2 + Fraction(cosine(32 - n), 4096) ** 2 for n in range(33)
    ]
    assert all(abs(one - 1) < Fraction(1, 2000) for one in squares)
    table = [[cosine(u * (2 * x + 1)) for x in range(32)] for u in range(8)]
    np.testing.assert_array_equal(identity._COSINES, table)  # noqa: SLF001 - the values are the definition
