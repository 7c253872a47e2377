"""Kernels of picture quality against their definitions, in plain Python and NumPy."""

from __future__ import annotations

import io
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image
from strategies import grey_pictures, pictures

from polars_imgmeta.catalogue import quality
from polars_imgmeta.catalogue.areas import batched_cell_sums, cell_sums
from polars_imgmeta.decoding.pictures import intensity_of

Grey = NDArray[np.uint8]

TOLERANCE = 1e-9


def scene(rows: int = 480, columns: int = 640) -> Grey:
    """Draw a picture with the detail of a photo: waves of many sizes, and hard edges."""
    down, across = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    rng = np.random.default_rng(3)
    values = np.zeros((rows, columns, 3))
    for octave in range(1, 7):
        for _ in range(3):
            u, v = rng.uniform(-1, 1, 2) * 2**octave
            phase = rng.uniform(0, 6.28, 3)
            values += np.sin(6.28 * (u * down + v * across)[..., np.newaxis] + phase) / octave
    values += 2 * ((down - 0.4) ** 2 + (across - 0.6) ** 2 < 0.05)[..., np.newaxis]
    values -= values.min()
    return np.asarray(values / values.max() * 255).astype(np.uint8)


def mirrored(size: int) -> list[int]:
    """Return the indices -1 to `size` inside a line that is mirrored about its outermost pixels."""
    return [min(1, size - 1), *range(size), max(size - 2, 0)]


def laplacian(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of four neighbours minus four times each pixel."""
    rows, columns = values.shape
    down, across = mirrored(rows), mirrored(columns)
    wide = values[np.ix_(down, across)]
    return np.asarray(
        wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * wide[1:-1, 1:-1]
    )


def variance(values: NDArray[Any]) -> float:
    """Return the mean squared distance from the mean, as an exact fraction of integers."""
    flat = [int(value) for value in values.ravel()]
    mean = Fraction(sum(flat), len(flat))
    return float(sum((value - mean) ** 2 for value in flat) / len(flat))


def cell_sums_by_definition(intensity: Grey, rows: int, columns: int) -> NDArray[Any]:
    """Repeat each pixel until cells consist of whole ones, and add them up."""

    def reduced(line: NDArray[Any], cells: int) -> NDArray[Any]:
        return np.asarray(line.repeat(cells).reshape(cells, -1).sum(axis=1))

    across = np.apply_along_axis(reduced, 1, intensity.astype(np.int64), columns)
    return np.asarray(np.apply_along_axis(reduced, 0, across, rows))


@given(grey_pictures())
def test_blur(intensity: Grey) -> None:
    """Blur is the variance of the Laplacian."""
    expected = variance(laplacian(intensity.astype(np.int64)))
    assert quality.blur(intensity) == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@given(grey_pictures(longest=20))
def test_blur_on_the_grid_of_a_small_picture(intensity: Grey) -> None:
    """A picture of fewer pixels than the grid has cells is not enlarged."""
    assert quality.grid_blur(intensity) == pytest.approx(quality.blur(intensity), rel=TOLERANCE)


@pytest.mark.parametrize("shape", [(300, 270), (129, 300), (128, 900), (600, 2), (1, 700)])
def test_blur_on_the_grid(shape: tuple[int, int]) -> None:
    """Otherwise it is the variance of the Laplacian of the cells."""
    intensity = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    rows, columns = (min(128, side) for side in shape)
    means = 16 * cell_sums_by_definition(intensity, rows, columns) // intensity.size
    expected = variance(laplacian(means)) / 256
    assert quality.grid_blur(intensity) == pytest.approx(expected, rel=TOLERANCE)


def test_blur_by_resolution() -> None:
    """Blur depends on resolution, and on the grid it hardly does; both fall with focus."""
    sharp = Image.fromarray(scene(1024, 1280))
    sizes = [sharp, sharp.resize((640, 512), Image.Resampling.BOX)]
    sizes += [sharp.resize((320, 256), Image.Resampling.BOX)]
    intensities = [np.asarray(size.convert("L")) for size in sizes]
    full, half, quarter = (quality.grid_blur(one) for one in intensities)
    assert (half, quarter) == pytest.approx((full, full), rel=0.1)
    assert quality.blur(intensities[2]) > 2 * quality.blur(intensities[0])
    soft = np.asarray(sharp.resize((64, 51)).resize(sharp.size).convert("L"))
    assert quality.grid_blur(soft) < full / 2
    assert quality.blur(soft) < quality.blur(intensities[0]) / 2


@given(grey_pictures(longest=40))
def test_cell_sums(intensity: Grey) -> None:
    """Cells are exact sums by area, of a picture alone and in a batch."""
    for rows, columns in ((1, 1), (3, 5), (32, 32)):
        expected = cell_sums_by_definition(intensity, rows, columns)
        np.testing.assert_array_equal(cell_sums(intensity, rows, columns), expected)
        batched = batched_cell_sums(np.stack([intensity, intensity]), rows, columns)
        np.testing.assert_array_equal(batched[1], expected)


@given(grey_pictures())
def test_noise(intensity: Grey) -> None:
    """Noise is the mean absolute response of Immerkaer's mask, scaled."""
    values = intensity.astype(int).tolist()
    rows, columns = intensity.shape
    mask = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]
    responses = [
        abs(sum(mask[i][j] * values[row + i][column + j] for i in range(3) for j in range(3)))
        for row in range(rows - 2)
        for column in range(columns - 2)
    ]
    count = len(responses)
    expected = math.sqrt(math.pi / 2) * sum(responses) / (6 * count) if count else 0
    assert quality.noise(intensity) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("sigma", [2, 5, 12])
def test_noise_of_known_strength(sigma: float) -> None:
    """It estimates the deviation of Gaussian noise on a slope."""
    slope = np.add.outer(np.arange(300) / 5, np.arange(400) / 5) + 50
    noisy = slope + np.random.default_rng(0).normal(0, sigma, slope.shape)
    assert quality.noise(noisy.round().astype(np.uint8)) == pytest.approx(sigma, rel=0.05)


@given(grey_pictures())
def test_blockiness(intensity: Grey) -> None:
    """Blockiness compares differences across and within blocks."""
    rows, columns = intensity.shape
    values = intensity.astype(int).tolist()
    within: list[int] = []
    across: list[int] = []
    for row in range(rows):
        for column in range(columns):
            if row + 1 < rows:
                difference = abs(values[row][column] - values[row + 1][column])
                (across if row % 8 == 7 else within).append(difference)
            if column + 1 < columns:
                difference = abs(values[row][column] - values[row][column + 1])
                (across if column % 8 == 7 else within).append(difference)
    b = Fraction(sum(across), len(across)) if across else Fraction(0)
    m = Fraction(sum(within), len(within)) if within else Fraction(0)
    expected = float(max(Fraction(0), (b - m) / (b + m))) if b else 0
    assert quality.blockiness(intensity) == pytest.approx(expected, abs=TOLERANCE)


def test_blockiness_of_jpeg() -> None:
    """It grows with compression."""
    values = []
    for jpeg_quality in (95, 40, 10, 3):
        stream = io.BytesIO()
        Image.fromarray(scene()).save(stream, "JPEG", quality=jpeg_quality)
        values.append(quality.blockiness(intensity_of(np.asarray(Image.open(stream)))))
    assert values == sorted(values)
    assert values[0] < 0.05
    assert values[-1] > 0.3


@given(grey_pictures())
def test_clipping(intensity: Grey) -> None:
    """Clipping counts what is black and what is white."""
    values = intensity.ravel().tolist()
    black = sum(value <= 2 for value in values) / len(values)
    assert quality.shadow_clipping(intensity) == black
    assert quality.highlight_clipping(255 - intensity) == black


@given(grey_pictures())
def test_grey_entropy(intensity: Grey) -> None:
    """Grey entropy is the mean information of an intensity."""
    counts = Counter(intensity.ravel().tolist())
    total = intensity.size
    expected = math.fsum(n / total * math.log2(total / n) for n in counts.values())
    assert quality.grey_entropy(intensity) == pytest.approx(expected, abs=TOLERANCE)


def test_grey_entropy_of_all_levels() -> None:
    """The maximum is 8 bits, exactly, also where counts exceed the table and float32."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert quality.grey_entropy(levels) == 8
    assert quality.grey_entropy(levels.repeat(300, axis=0).repeat(300, axis=1)) == 8
    halves = np.zeros((2, 1 << 24), np.uint8)
    halves[1] = 1
    assert quality.grey_entropy(halves) == 1


@given(grey_pictures())
def test_vignetting(intensity: Grey) -> None:
    """Vignetting compares four corners with the centre."""
    rows, columns = intensity.shape
    high, wide = math.ceil(rows / 8), math.ceil(columns / 8)
    values = intensity.astype(int)
    corners = np.concatenate(
        [
            values[i : i + high, j : j + wide].ravel()
            for i in (0, rows - high)
            for j in (0, columns - wide)
        ]
    )
    top, left = max(0, rows // 2 - high), max(0, columns // 2 - wide)
    k = corners.mean()
    c = values[top : top + 2 * high, left : left + 2 * wide].mean()
    expected = (c - k) / max(c, k) if max(c, k) else 0
    assert quality.vignetting(intensity) == pytest.approx(expected, abs=TOLERANCE)


def test_vignetting_of_a_lens() -> None:
    """A uniform picture has none; a falloff towards the corners has its depth."""
    assert quality.vignetting(np.full((50, 70), 130, np.uint8)) == 0
    down, across = np.mgrid[-1:1:400j, -1:1:600j]
    falloff = 200 * (1 - 0.5 * (down**2 + across**2) / 2)
    assert quality.vignetting(falloff.astype(np.uint8)) == pytest.approx(0.4, abs=0.05)
    inverse = np.full((80, 80), 50, np.uint8)
    inverse[:10, :10] = inverse[:10, 70:] = inverse[70:, :10] = inverse[70:, 70:] = 100
    assert quality.vignetting(inverse) == -0.5
    black_corners = 255 - 255 * (inverse > 50).astype(np.uint8)
    assert quality.vignetting(black_corners) == 1


@given(grey_pictures(longest=24))
def test_border(intensity: Grey) -> None:
    """A bar is the deepest one at each side that spans at most 8 levels."""

    def depth(lines: list[list[int]]) -> int:
        for count in range(len(lines), 0, -1):
            values = [value for line in lines[:count] for value in line]
            if max(values) - min(values) <= 8:
                return count
        return 0

    lines = intensity.astype(int).tolist()
    top, bottom = depth(lines), depth(lines[::-1])
    inner = lines[top : len(lines) - bottom]
    expected = 1.0
    if inner:
        turned = [list(column) for column in zip(*inner, strict=True)]
        width = max(0, len(turned) - depth(turned) - depth(turned[::-1]))
        expected = 1 - len(inner) * width / intensity.size
    assert quality.border(intensity) == expected


def test_border_of_a_film() -> None:
    """Bars at two or four sides count, of any colour, and with the noise of compression."""
    picture = intensity_of(scene())
    assert quality.border(picture) < 0.02
    letterbox = picture.copy()
    letterbox[:60] = letterbox[420:] = 0
    assert quality.border(letterbox) == pytest.approx(0.25, abs=0.02)
    window = np.pad(picture, 40, constant_values=255)
    stream = io.BytesIO()
    Image.fromarray(window).save(stream, "JPEG", quality=80)
    frame = 1 - picture.size / window.size
    assert quality.border(np.asarray(Image.open(stream))) == pytest.approx(frame, abs=0.04)
    assert quality.border(np.full((3, 4), 7, np.uint8)) == 1


@given(pictures())
def test_saturation(picture: Grey) -> None:
    """Saturation is the mean of the range of channels over the largest one."""
    colours = picture.reshape(-1, 3).tolist()
    ratios = [Fraction(max(c) - min(c), max(c)) if max(c) else Fraction(0) for c in colours]
    expected = float(sum(ratios) / len(ratios))
    assert quality.saturation(picture) == pytest.approx(expected, abs=TOLERANCE)


@given(pictures())
def test_colourfulness(picture: Grey) -> None:
    """Colourfulness combines deviation and mean of two opponent colours."""
    blue, green, red = np.moveaxis(picture.astype(np.float64), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    spread = math.hypot(first.std(), second.std())
    expected = spread + 0.3 * math.hypot(first.mean(), second.mean())
    assert quality.colourfulness(picture) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("bgr", "expected"),
    [((0, 0, 255), 0.3 * math.hypot(255, 127.5)), ((255, 0, 0), 0.3 * 255), ((7, 7, 7), 0)],
)
def test_colourfulness_of_one_colour(bgr: tuple[int, int, int], expected: float) -> None:
    """Of a single colour only the mean counts."""
    assert quality.colourfulness(np.full((3, 5, 3), bgr, np.uint8)) == pytest.approx(expected)


@given(pictures())
def test_is_greyscale(picture: Grey) -> None:
    """One coloured pixel is enough."""
    expected = all(len(set(colour)) == 1 for colour in picture.reshape(-1, 3).tolist())
    assert quality.is_greyscale(picture) is expected
    assert quality.is_greyscale(np.repeat(picture[..., :1], 3, axis=2)) is True


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_is_greyscale_sees_the_last_pixel(channel: int) -> None:
    """It looks at every pixel and channel."""
    picture = np.full((300, 400, 3), 9, np.uint8)
    assert quality.is_greyscale(picture)
    picture[-1, -1, channel] += 1
    assert not quality.is_greyscale(picture)


@given(pictures())
def test_dominant_colour(picture: Grey) -> None:
    """It is the rounded mean of the pixels in the fullest of 512 cells."""
    cells: dict[tuple[int, ...], list[list[int]]] = {}
    for blue, green, red in picture.reshape(-1, 3).tolist():
        cells.setdefault((red // 32, green // 32, blue // 32), []).append([red, green, blue])
    most = max(map(len, cells.values()))
    fullest = cells[min(cell for cell, pixels in cells.items() if len(pixels) == most)]
    means = [
        math.floor(Fraction(sum(one), len(fullest)) + Fraction(1, 2))
        for one in zip(*fullest, strict=True)
    ]
    assert quality.dominant_colour(picture) == "#{:02x}{:02x}{:02x}".format(*means)


def test_large_pictures() -> None:
    """Pictures of many blocks have the values of small ones."""
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    large = np.tile(tile, (60, 60, 1))
    for name in ("saturation", "colourfulness", "dominant_colour"):
        kernel = getattr(quality, name)
        small = kernel(tile)
        assert kernel(large) == (small if isinstance(small, str) else pytest.approx(small))
