"""Every kernel against its definition, implemented again in plain Python and NumPy."""

from __future__ import annotations

import copy
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import grey_pictures, pictures

import polars_imgmeta as im
from polars_imgmeta.catalogue import kernels
from polars_imgmeta.catalogue.registry import CATALOGUE, Property
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.opencv import cv2
from polars_imgmeta.decoding.pictures import intensity_of
from polars_imgmeta.typing import PropertyName

Grey = NDArray[np.uint8]
Edges = NDArray[np.bool_]

TOLERANCE = 1e-9

ROWS = pytest.mark.parametrize(
    "row",
    [row for row in CATALOGUE.values() if row.needs not in {"source", "details"}],
    ids=lambda row: row.name,
)
ROWS_OF_PIXELS = pytest.mark.parametrize(
    "row",
    [row for row in CATALOGUE.values() if row.needs in {"intensity", "picture"}],
    ids=lambda row: row.name,
)


def intensity_by_definition(picture: Grey) -> Grey:
    """Return the luma of ITU-R BT.601 in OpenCV's fixed point of 15 bits."""
    blue, green, red = np.moveaxis(picture.astype(np.int64), 2, 0)
    luma: NDArray[np.int64] = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15
    return luma.astype(np.uint8)


def brightness_by_definition(intensity: Grey) -> float:
    """Return the mean, over 255, as an exact fraction."""
    return float(Fraction(sum(intensity.ravel().tolist()), intensity.size * 255))


def contrast_by_definition(intensity: Grey) -> float:
    """Return the root of the mean squared distance from the mean, over 200."""
    values = Counter(intensity.ravel().tolist())
    mean = Fraction(sum(value * count for value, count in values.items()), intensity.size)
    distances = sum((value - mean) ** 2 * count for value, count in values.items())
    return min(1.0, math.sqrt(distances / intensity.size) / 200)


def entropy_by_definition(picture: Grey) -> float:
    """Return the mean information of a colour, from counts of colour tuples."""
    counts = Counter(tuple(colour) for line in picture.tolist() for colour in line)
    total = picture.shape[0] * picture.shape[1]
    return math.fsum(count / total * math.log2(total / count) for count in counts.values())


def symmetry_by_definition(intensity: Grey) -> float:
    """Return 1 minus the mean squared difference of mirrored pixels over 15,000."""
    half = intensity.shape[1] // 2
    squares = [
        (line[column] - line[-1 - column]) ** 2
        for line in intensity.tolist()
        for column in range(half)
    ]
    return float(max(Fraction(0), 1 - Fraction(sum(squares), 15_000 * len(squares)))) if half else 1


def edges_by_definition(intensity: Grey) -> Edges:
    """Return the pixels on an edge: Canny 100/200, Sobel 3, L1 norm.

    Beyond the border pixels are replicated and the gradient is zero. Of equal
    neighbours across an edge the left or upper one is kept; diagonally, neither.
    """
    rows, columns = intensity.shape
    continued = np.pad(intensity.astype(np.int64), 1, mode="edge")

    def neighbour(padded: NDArray[np.int64], down: int, right: int) -> NDArray[np.int64]:
        return padded[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]

    across, down = (
        sum(
            weight * (neighbour(continued, *ahead) - neighbour(continued, *behind))
            for weight, ahead, behind in differences
        )
        for differences in (
            [(1, (-1, 1), (-1, -1)), (2, (0, 1), (0, -1)), (1, (1, 1), (1, -1))],
            [(1, (1, -1), (-1, -1)), (2, (1, 0), (-1, 0)), (1, (1, 1), (-1, 1))],
        )
    )
    norm = np.abs(across) + np.abs(down)
    around = np.pad(norm, 1)
    # The tangents of 22.5 and 67.5 degrees, in fixed point of 15 bits.
    steepness = np.abs(down) << 15
    flat_limit = np.abs(across) * 13573
    steep_limit = flat_limit + (np.abs(across) << 16)
    is_ridge = np.select(
        [steepness < flat_limit, steepness > steep_limit, (across < 0) != (down < 0)],
        [
            (norm > neighbour(around, 0, -1)) & (norm >= neighbour(around, 0, 1)),
            (norm > neighbour(around, -1, 0)) & (norm >= neighbour(around, 1, 0)),
            (norm > neighbour(around, -1, 1)) & (norm > neighbour(around, 1, -1)),
        ],
        (norm > neighbour(around, -1, -1)) & (norm > neighbour(around, 1, 1)),
    )
    may_continue = is_ridge & (norm > 100)
    pending = [(int(row), int(column)) for row, column in np.argwhere(is_ridge & (norm > 200))]
    edges = np.zeros((rows, columns), np.bool_)
    while pending:
        row, column = pending.pop()
        if not edges[row, column]:
            edges[row, column] = True
            near = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            top, left = near[0].start, near[1].start
            found = np.argwhere(may_continue[near] & ~edges[near])
            pending += [(top + int(below), left + int(right)) for below, right in found]
    return edges


def argument(row: Property, picture: Grey) -> Any:  # noqa: ANN401 - each kernel takes its own
    """Return the argument of a property's kernel for a picture."""
    if row.needs == "header":
        rows, columns = picture.shape[:2]
        return Header("PNG", columns, rows, 1, "opencv")
    if row.needs == "bytes":
        return picture.tobytes()
    return picture if row.needs == "picture" else intensity_by_definition(picture)


def grey(values: object) -> Grey:
    """Return an intensity from nested lists."""
    return np.array(values, np.uint8)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set OpenCV's number of threads, and restore it after the test."""
    before = cv2.getNumThreads()
    yield cv2.setNumThreads
    cv2.setNumThreads(before)


# The definitions


def test_intensity_of_every_colour() -> None:
    """The intensity of each of the 2^24 colours is the documented fixed-point value."""
    second, third = np.indices((256, 256), np.uint8)
    for first in range(256):
        colours = np.dstack([np.full_like(second, first), second, third])
        np.testing.assert_array_equal(intensity_of(colours), intensity_by_definition(colours))


@given(pictures())
def test_intensity(picture: Grey) -> None:
    """The intensity of a picture is that of each pixel."""
    intensity = intensity_of(picture)
    assert intensity.dtype == np.uint8
    np.testing.assert_array_equal(intensity, intensity_by_definition(picture))


@given(pictures())
def test_geometry(picture: Grey) -> None:
    """Geometry counts rows and columns."""
    shape = picture.shape[:2]
    columns, rows = len(picture[0]), len(picture)
    assert kernels.width(shape) == columns
    assert kernels.height(shape) == rows
    assert kernels.size(shape) == picture[..., 0].size
    assert kernels.aspect_ratio(shape) == float(Fraction(columns, rows))


@given(grey_pictures())
def test_brightness(intensity: Grey) -> None:
    """Brightness is the mean intensity over 255."""
    expected = brightness_by_definition(intensity)
    assert kernels.brightness(intensity) == pytest.approx(expected, rel=0, abs=TOLERANCE)


@given(grey_pictures())
def test_contrast(intensity: Grey) -> None:
    """Contrast is the population standard deviation of the intensity over 200."""
    expected = contrast_by_definition(intensity)
    assert kernels.contrast(intensity) == pytest.approx(expected, rel=0, abs=TOLERANCE)


@given(grey_pictures())
def test_sharpness(intensity: Grey) -> None:
    """Sharpness counts exactly the pixels that an independent Canny marks."""
    marked = int(edges_by_definition(intensity).sum())
    assert kernels.sharpness(intensity) == marked / intensity.size


@pytest.mark.parametrize("levels", [2, 3, 5, 40, 80, 256])
def test_sharpness_of_noise(levels: int) -> None:
    """Both Canny implementations agree on noise, with many ties and diagonals."""
    rng = np.random.default_rng(levels)
    few = rng.integers(0, levels, (97, 131))
    intensity = grey(few * (255 // (levels - 1)) if levels <= 5 else few)
    marked = edges_by_definition(intensity)
    assert marked.any()
    np.testing.assert_array_equal(cv2.Canny(intensity, 100, 200) > 0, marked)
    assert kernels.sharpness(intensity) == int(marked.sum()) / intensity.size


@given(pictures())
def test_pixel_entropy(picture: Grey) -> None:
    """Pixel entropy is the Shannon entropy of colour tuples."""
    expected = entropy_by_definition(picture)
    assert kernels.pixel_entropy(picture) == pytest.approx(expected, rel=0, abs=TOLERANCE)


@given(grey_pictures())
def test_symmetry(intensity: Grey) -> None:
    """Symmetry compares each pixel of the left half with its mirror image."""
    expected = symmetry_by_definition(intensity)
    assert kernels.symmetry(intensity) == pytest.approx(expected, rel=0, abs=TOLERANCE)


# Cases with values known by hand


@given(st.integers(0, 255), st.integers(1, 40), st.integers(1, 40))
def test_uniform_picture(value: int, rows: int, columns: int) -> None:
    """A picture of one colour has no contrast, edges or entropy, exactly."""
    picture = np.full((rows, columns, 3), value, np.uint8)
    intensity = picture[..., 0].copy()
    assert kernels.brightness(intensity) == pytest.approx(value / 255, rel=0, abs=TOLERANCE)
    assert kernels.contrast(intensity) == 0
    assert kernels.sharpness(intensity) == 0
    assert kernels.symmetry(intensity) == 1
    entropy = kernels.pixel_entropy(picture)
    assert (entropy, math.copysign(1, entropy)) == (0, 1)


@pytest.mark.parametrize("columns", [2, 3, 10, 33, 64])
def test_black_and_white_halves(columns: int) -> None:
    """Half black and half white has the maximum contrast and the minimum symmetry."""
    intensity = np.zeros((4, columns * 2), np.uint8)
    intensity[:, columns:] = 255
    assert kernels.brightness(intensity) == 0.5
    assert kernels.contrast(intensity) == 0.6375
    assert kernels.symmetry(intensity) == 0
    assert kernels.sharpness(intensity) == 1 / (2 * columns)
    assert kernels.pixel_entropy(np.dstack([intensity] * 3)) == 1


def test_checkerboard() -> None:
    """A checkerboard of odd width is symmetric; one of even width is the opposite."""
    rows, columns = np.indices((8, 9))
    board = grey((rows + columns) % 2 * 255)
    assert kernels.symmetry(board) == 1
    assert kernels.symmetry(board[:, :8]) == 0
    assert kernels.contrast(board[:, :8]) == 0.6375
    assert kernels.brightness(board[:, :8]) == 0.5
    # Inside the board, every Sobel window has a gradient of zero.
    assert kernels.sharpness(board) == edges_by_definition(board).sum() / 72


@given(grey_pictures(longest=20), st.booleans())
def test_mirror_image(half: Grey, with_middle: bool) -> None:  # noqa: FBT001 - drawn
    """A picture beside its mirror image is symmetric, with or without a middle column."""
    middle = half[:, :1] ^ 85 if with_middle else half[:, :0]
    assert kernels.symmetry(np.hstack([half, middle, half[:, ::-1]])) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([7], 1),
        ([0, 100], 1 - 10_000 / 15_000),
        ([0, 250, 100], 1 - 10_000 / 15_000),
        ([0, 122], 1 - 122**2 / 15_000),
        ([0, 123], 0),
        ([10, 20, 50, 0], 1 - (10**2 + 30**2) / 2 / 15_000),
    ],
)
def test_symmetry_of_a_line(line: list[int], expected: float) -> None:
    """The outer columns are compared, the middle one is not, and the minimum is 0."""
    assert kernels.symmetry(grey([line])) == pytest.approx(expected, rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_single_pixel_row_or_column(shape: tuple[int, int]) -> None:
    """A picture of one row or column has every property, as defined."""
    picture = np.arange(shape[0] * shape[1] * 3, dtype=np.uint8).reshape(*shape, 3) * 12
    intensity = intensity_by_definition(picture)
    assert kernels.brightness(intensity) == pytest.approx(brightness_by_definition(intensity))
    assert kernels.contrast(intensity) == pytest.approx(contrast_by_definition(intensity))
    assert kernels.sharpness(intensity) == edges_by_definition(intensity).mean()
    assert kernels.symmetry(intensity) == pytest.approx(symmetry_by_definition(intensity))
    assert kernels.pixel_entropy(picture) == pytest.approx(math.log2(picture.size / 3))


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (3, 5), (256, 256)])
def test_entropy_of_distinct_colours(rows: int, columns: int) -> None:
    """The entropy of n distinct colours is log2 n, whichever channel differs."""
    count = rows * columns
    codes = np.random.default_rng(0).permutation(1 << 24)[:count]
    picture = np.dstack([codes >> 16, codes >> 8 & 255, codes & 255]).astype(np.uint8)
    entropy = kernels.pixel_entropy(picture.reshape(rows, columns, 3))
    assert entropy == pytest.approx(math.log2(count), rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_entropy_sees_every_channel(channel: int) -> None:
    """Colours that differ in one channel only are distinct."""
    picture = np.full((2, 2, 3), 9, np.uint8)
    picture[0, :, channel] = 10
    assert kernels.pixel_entropy(picture) == 1


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (50, 50, 0),  # 4 x 50 is not above 200: no edge starts
        (51, 51, 16),
        (51, 26, 16),  # 4 x 26 is above 100: the edge continues
        (26, 26, 0),  # which does not start one
        (51, 25, 12),  # 4 x 25 is not above 100: the edge follows the seam instead
    ],
)
def test_thresholds_of_sharpness(upper: int, lower: int, expected: int) -> None:
    """An edge starts above a gradient of 200 and continues above 100."""
    intensity = np.zeros((16, 8), np.uint8)
    intensity[:8, 4:] = upper
    intensity[8:, 4:] = lower
    assert kernels.sharpness(intensity) == expected / intensity.size
    assert edges_by_definition(intensity).sum() == expected


def test_large_picture() -> None:
    """Sums beyond 32 bits are exact."""
    side = 4_100
    white = np.full((side, side), 255, np.uint8)
    assert kernels.brightness(white) == 1
    assert kernels.contrast(white) == 0
    white[:, : side // 2] = 0
    assert kernels.brightness(white) == 0.5
    assert kernels.contrast(white) == 0.6375
    assert kernels.symmetry(white) == 0


# Properties of all kernels


@ROWS
@given(picture=pictures())
def test_range(row: Property, picture: Grey) -> None:
    """Every value has the type and the range declared in the catalogue."""
    value = row.kernel(argument(row, picture))
    if value is None:
        assert row.nullable
        return
    assert type(value) is row.dtype.to_python()
    if isinstance(value, int | float):
        lowest = -math.inf if row.minimum is None else row.minimum
        assert lowest <= value <= (math.inf if row.maximum is None else row.maximum)


@ROWS
@given(picture=pictures(longest=16))
def test_input_is_not_modified(row: Property, picture: Grey) -> None:
    """A kernel does not modify its argument, and returns the same value again."""
    given_argument = argument(row, picture)
    before = copy.copy(given_argument)
    value = row.kernel(given_argument)
    np.testing.assert_array_equal(given_argument, before)
    assert row.kernel(given_argument) == value


@ROWS_OF_PIXELS
@given(picture=pictures(longest=16), inset=st.integers(0, 2), turned=st.booleans())
def test_views(row: Property, picture: Grey, inset: int, turned: bool) -> None:  # noqa: FBT001 - drawn
    """A slice or transposition of an array has the value of its contiguous copy."""
    whole = argument(row, np.pad(picture, ((inset, inset), (inset, inset), (0, 0)), mode="wrap"))
    view = whole[inset : whole.shape[0] - inset, inset : whole.shape[1] - inset]
    view = view.swapaxes(0, 1) if turned else view
    assert row.kernel(view) == row.kernel(np.ascontiguousarray(view))


@ROWS
def test_number_of_threads(row: Property, threads: Callable[[int], None]) -> None:
    """A value does not depend on the number of threads of OpenCV."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (601, 803, 3), dtype=np.uint8)
    picture = (noise // 4 + np.indices((601, 803)).sum(0)[..., np.newaxis] // 8).astype(np.uint8)
    values = set()
    for count in (1, 2, 3, 8):
        threads(count)
        values.add(row.kernel(argument(row, picture)))
    assert len(values) == 1


@pytest.mark.parametrize("name", [*im.GROUPS["identity"][1:], *im.GROUPS["quality"]])
@pytest.mark.parametrize("shape", [(1000, 1000), (1, 1_000_000), (1_000_000, 1), (3, 400_000)])
def test_memory(name: PropertyName, shape: tuple[int, int]) -> None:
    """Beside the picture a kernel takes few bytes for each pixel, also of thin pictures."""
    row = CATALOGUE[name]
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels = noise if row.needs == "picture" else intensity_of(noise)
    row.kernel(pixels[:9, :9].copy())  # tables that are made once
    tracemalloc.start()
    try:
        row.kernel(pixels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 8 * shape[0] * shape[1]
