"""Kernels of picture quality: focus, exposure, colour, noise and traces of processing.

As in `kernels`, each takes the intensity or the colours of a picture, and all sums are
integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue import kernels
from polars_imgmeta.catalogue.areas import cell_sums, line_sums
from polars_imgmeta.catalogue.kernels import Colours, Intensity
from polars_imgmeta.decoding.opencv import cv2

# Pixels at a time, where the order of pixels does not matter: fast in the cache, little memory.
_BLOCK_PIXELS = 1 << 16

_GRID_SIDE = 128
_CELL_SCALE = 16  # means of cells have 4 bits of fraction

_NOISE_MASK = np.array([1, -2, 1])
_NOISE_SCALE = math.sqrt(math.pi / 2) / 6

# Lossy compression blurs black and white by as much.
_SHADOW, _HIGHLIGHT = 2, 253

_SATURATION_BITS = 40
_BINS = 8  # of each channel
_BIN_WIDTH = 256 // _BINS
_BORDER_RANGE = 8
_BLOCK_SIDE = 8
_CORNER_PART = 8


def blur(intensity: Intensity) -> float:
    """Return the variance of the Laplacian of the intensity: low where blurred.

    The mask is 4 neighbours minus 4 times the pixel; beyond the border the picture is mirrored.

    Source:
        J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
        comparative study", International Conference on Pattern Recognition, 2000.

    Examples:
        >>> blur(np.full((8, 8), 9, np.uint8))
        0.0
        >>> blur(np.indices((8, 8)).sum(0, dtype=np.uint8) % 2 * 255)
        1040400.0
    """
    return laplacian_variance(intensity)


def laplacian_variance(samples: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of one channel, or of all channels together."""
    laplacian = cv2.Laplacian(samples, cv2.CV_16S)
    total, squares = (
        round(sum(cv2.sumElems(laplacian))),
        round(cv2.norm(laplacian, cv2.NORM_L2SQR)),
    )
    count = samples.size
    return float((count * squares - total**2) / count**2)


def grid_blur(intensity: Intensity) -> float:
    """Return `blur` of the picture averaged to 128 x 128 cells, or fewer where it has fewer pixels.

    It hardly depends on the resolution of a picture of several times as many pixels a side.

    Examples:
        >>> board = np.indices((128, 128)).sum(0, dtype=np.uint8) % 2 * 255
        >>> grid_blur(board), grid_blur(board.repeat(2, axis=0).repeat(2, axis=1))
        (1040400.0, 1040400.0)
    """
    rows, columns = (min(_GRID_SIDE, side) for side in intensity.shape)
    means = cell_sums(intensity, rows, columns) * _CELL_SCALE // intensity.size
    padded = cv2.copyMakeBorder(means.astype(np.int32), 1, 1, 1, 1, cv2.BORDER_REFLECT_101)
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    laplacian = neighbours - 4 * means
    total, squares = (int(terms.sum(dtype=np.int64)) for terms in (laplacian, laplacian**2))
    count = rows * columns
    return float((count * squares - total**2) / (count * _CELL_SCALE) ** 2)


def noise(intensity: Intensity) -> float:
    """Return the standard deviation of the noise, estimated in grey levels.

    0 where a picture has fewer than 3 rows or columns.

    Source:
        J. Immerkaer, "Fast Noise Variance Estimation", Computer Vision and Image
        Understanding 64(2), 1996.

    Examples:
        >>> noise(np.add.outer(np.arange(9), 3 * np.arange(9)).astype(np.uint8))
        0.0
    """
    rows, columns = intensity.shape
    count = (rows - 2) * (columns - 2)
    if min(rows, columns) < len(_NOISE_MASK):
        return 0.0
    differences = cv2.sepFilter2D(intensity, cv2.CV_16S, _NOISE_MASK, _NOISE_MASK)[1:-1, 1:-1]
    return _NOISE_SCALE * int(cv2.norm(differences, cv2.NORM_L1)) / int(count)


def blockiness(intensity: Intensity) -> float:
    """Return how much neighbours differ more across the blocks of JPEG than within, 0 to 1.

    With the mean absolute difference b of neighbours across the boundaries of 8 x 8 blocks and
    the mean m of all others, it is (b - m) / (b + m), and 0 where that is negative.

    Examples:
        >>> blocks = np.random.default_rng(0).integers(0, 256, (4, 4), np.uint8)
        >>> blockiness(blocks.repeat(8, axis=0).repeat(8, axis=1))
        1.0
        >>> blockiness(np.tile(np.arange(32, dtype=np.uint8), (32, 1)))
        0.0
    """
    total = boundaries = count = boundary_count = 0
    for axis in (0, 1):
        if intensity.shape[axis] == 1:
            continue
        before, after = (
            (intensity[:-1], intensity[1:]) if axis == 0 else (intensity[:, :-1], intensity[:, 1:])
        )
        sums = line_sums(cv2.absdiff(before, after).reshape(before.shape), 1 - axis)
        across = sums[_BLOCK_SIDE - 1 :: _BLOCK_SIDE]
        total += int(sums.sum(dtype=np.int64))
        boundaries += int(across.sum(dtype=np.int64))
        count += before.size
        boundary_count += len(across) * intensity.shape[1 - axis]
    inner = (total - boundaries) * boundary_count
    outer = boundaries * (count - boundary_count)
    return max(0, outer - inner) / (outer + inner) if outer else 0.0


def shadow_clipping(intensity: Intensity) -> float:
    """Return the fraction of pixels that are black: of intensity 2 or less.

    Examples:
        >>> shadow_clipping(np.array([[0, 2, 3, 255]], np.uint8))
        0.5
    """
    return int(np.count_nonzero(intensity <= _SHADOW)) / intensity.size


def highlight_clipping(intensity: Intensity) -> float:
    """Return the fraction of pixels that are white: of intensity 253 or more.

    Examples:
        >>> highlight_clipping(np.array([[0, 252, 253, 255]], np.uint8))
        0.5
    """
    return int(np.count_nonzero(intensity >= _HIGHLIGHT)) / intensity.size


def grey_entropy(intensity: Intensity) -> float:
    """Return the Shannon entropy of the distribution of intensities, in bits.

    Source:
        C. E. Shannon, "A Mathematical Theory of Communication", Bell System
        Technical Journal 27, 1948.

    Examples:
        >>> grey_entropy(np.array([[0, 1], [2, 3]], np.uint8))
        2.0
    """
    counts = np.zeros(256, np.int64)
    flat = intensity.reshape(1, -1)
    for start in range(0, flat.shape[1], 1 << 22):  # calcHist counts in float32
        block = flat[:, start : start + (1 << 22)]
        counts += cv2.calcHist([block], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return kernels.entropy_of(counts, intensity.size)


def vignetting(intensity: Intensity) -> float:
    """Return how much darker the corners are than the centre, -1 to 1.

    With the mean k of the four corners, each an eighth of the height and width, and the mean c
    of the centre, a quarter of them, it is (c - k) / max(c, k): 0 for none, 1 for black corners.

    Examples:
        >>> picture = np.full((8, 8), 200, np.uint8)
        >>> picture[::7, ::7] = 150
        >>> vignetting(picture)
        0.25
    """
    rows, columns = intensity.shape
    high, wide = -(-rows // _CORNER_PART), -(-columns // _CORNER_PART)
    corners = (
        intensity[vertical, horizontal]
        for vertical in (slice(high), slice(rows - high, rows))
        for horizontal in (slice(wide), slice(columns - wide, columns))
    )
    dark = sum(kernels.sum_of(corner) for corner in corners)
    top, left = max(0, rows // 2 - high), max(0, columns // 2 - wide)
    centre = intensity[top : top + 2 * high, left : left + 2 * wide]
    bright = kernels.sum_of(centre)
    bright, dark = bright * 4 * int(high * wide), dark * int(centre.size)
    return (bright - dark) / max(bright, dark, 1)


def border(intensity: Intensity) -> float:
    """Return the fraction of pixels in a uniform frame, such as the bars of a letterbox.

    A bar begins at a side and is as deep as intensities in it span at most 8 grey levels; those
    at the left and right are judged between those at the top and the bottom.

    Examples:
        >>> film = np.zeros((10, 4), np.uint8)
        >>> film[2:8] = np.indices((6, 4)).sum(0) % 2 * 255
        >>> border(film)
        0.4
    """
    rows, columns = intensity.shape
    top, bottom = _bars(intensity, 1)
    if top + bottom >= rows:
        return 1.0
    left, right = _bars(intensity[top : rows - bottom], 0)
    inside = (rows - top - bottom) * max(0, columns - left - right)
    return float(1 - inside / intensity.size)


def saturation(colours: Colours) -> float:
    """Return the mean saturation, 0 for grey to 1 for pure colours.

    That of the colour space HSV: the largest minus the smallest channel, over the largest; 0
    for black.

    Source:
        A. R. Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978.

    Examples:
        >>> saturation(np.array([[[0, 0, 255], [9, 9, 9], [50, 75, 100], [0, 0, 0]]], np.uint8))
        0.375
    """
    total = 0
    for block in _blocks(colours):
        blue, green, red = cv2.split(block)
        largest = cv2.max(cv2.max(blue, green), red)
        smallest = cv2.min(cv2.min(blue, green), red)
        codes = np.asarray(largest, np.uint16) << 8 | np.asarray(smallest, np.uint16)
        total += int(_SATURATIONS.take(codes).sum())
    return math.ldexp(total, -_SATURATION_BITS) / (colours.size // 3)


def colourfulness(colours: Colours) -> float:
    """Return the colourfulness M of Hasler and Suesstrunk, 0 for grey.

    About 15 is slightly, 45 quite and 82 highly colourful, by the judgement of their subjects.

    Source:
        D. Hasler, S. Suesstrunk, "Measuring Colourfulness in Natural Images", Human Vision and
        Electronic Imaging VIII, 2003.

    Examples:
        >>> colourfulness(np.full((2, 2, 3), 9, np.uint8))
        0.0
        >>> red_and_cyan = np.array([[[0, 0, 255], [255, 255, 0]]], np.uint8)
        >>> round(colourfulness(red_and_cyan), 2)
        285.1
    """
    count = colours.size // 3
    sums, squares = [0, 0], [0, 0]
    for block in _blocks(colours):
        blue, green, red = cv2.split(block)
        # Twice the second, yellow minus blue, to stay with integers.
        opponents = (
            cv2.subtract(red, green, dtype=cv2.CV_16S),
            cv2.subtract(
                cv2.add(red, green, dtype=cv2.CV_16S), cv2.add(blue, blue, dtype=cv2.CV_16S)
            ),
        )
        for number, opponent in enumerate(opponents):
            sums[number] += round(cv2.sumElems(opponent)[0])
            squares[number] += round(cv2.norm(opponent, cv2.NORM_L2SQR))
    variances = [count * square - total**2 for square, total in zip(squares, sums, strict=True)]
    spread = math.sqrt(4 * variances[0] + variances[1])
    mean = math.sqrt(4 * sums[0] ** 2 + sums[1] ** 2)
    return (spread + 0.3 * mean) / (2 * count)


def is_greyscale(colours: Colours) -> bool:
    """Return whether every pixel is grey, whatever the colour mode of the file.

    Examples:
        >>> is_greyscale(np.full((2, 2, 3), 9, np.uint8))
        True
    """
    for block in _blocks(colours):
        blue, green, red = cv2.split(block)
        if not (np.array_equal(blue, green) and np.array_equal(green, red)):
            return False
    return True


def dominant_colour(colours: Colours) -> str:
    """Return the mean of the most frequent of 512 colours, as `#rrggbb`.

    Each channel is divided into 8 equal bins, which makes 8 x 8 x 8 cells. The value is the mean
    colour in the cell of the most pixels, or in the first one in the order of red, green, blue.

    Examples:
        >>> dominant_colour(np.array([[[0, 0, 255], [9, 9, 9], [11, 11, 11]]], np.uint8))
        '#0a0a0a'
    """
    counts = np.zeros((_BINS,) * 3, np.int64)
    for block in _blocks(colours):
        bins, ranges = [_BINS] * 3, [0, 256] * 3
        counts += (
            cv2.calcHist([block], [2, 1, 0], None, bins, ranges)
            .astype(np.int64)
            .reshape(counts.shape)
        )
    cell = np.unravel_index(int(counts.argmax()), counts.shape)[::-1]
    low = np.array(cell) * _BIN_WIDTH
    count = int(counts.max())
    totals = [0, 0, 0]
    for block in _blocks(colours):
        mask = cv2.inRange(block, low, low + _BIN_WIDTH - 1)
        found = cv2.sumElems(cv2.bitwise_and(block, block, mask=mask))
        totals = [total + round(one) for total, one in zip(totals, found[:3], strict=True)]
    blue, green, red = ((2 * total + count) // (2 * count) for total in totals)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _blocks(colours: Colours) -> Iterator[Colours]:
    """Yield the pixels in pieces of one row."""
    pixels = colours.reshape(1, -1, 3)
    for start in range(0, pixels.shape[1], _BLOCK_PIXELS):
        yield pixels[:, start : start + _BLOCK_PIXELS]


def _bars(intensity: Intensity, axis: int) -> tuple[int, int]:
    """Return the depth of the uniform bars at the beginning and the end of the other axis."""
    lowest, highest = intensity.min(axis=axis), intensity.max(axis=axis)
    return _depth(lowest, highest), _depth(lowest[::-1], highest[::-1])


def _depth(lowest: NDArray[np.uint8], highest: NDArray[np.uint8]) -> int:
    spans = np.maximum.accumulate(highest) - np.minimum.accumulate(lowest)
    return int(np.count_nonzero(spans <= _BORDER_RANGE))


def _tabulate_saturations() -> NDArray[np.int64]:
    """Return the saturation by 256 times the largest plus the smallest channel, in fixed point."""
    largest, smallest = np.indices((256, 256), np.int64)
    differences = (largest - smallest).clip(0) << _SATURATION_BITS
    return np.asarray((2 * differences + largest) // (2 * largest.clip(1))).ravel()


_SATURATIONS = _tabulate_saturations()
