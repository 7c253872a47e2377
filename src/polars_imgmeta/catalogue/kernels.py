"""The kernels: functions that compute a property of one picture.

A kernel has the name of its property, and one argument, named in the catalogue:

- `shape`: rows and columns of the picture;
- `intensity`: the luma Y, `uint8` of shape (rows, columns);
- `colours`: the picture itself, `uint8` of shape (rows, columns, 3), BGR.

Sums are integers, so that values depend neither on the number of threads nor on
the order of summation. The functions `..._of` turn sums into values, here and in
`batched_kernels`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.decoding.opencv import cv2

Shape: TypeAlias = tuple[int, int]
Intensity: TypeAlias = NDArray[np.uint8]
Colours: TypeAlias = NDArray[np.uint8]

# The divisors of the published definitions.
_MAX_INTENSITY = 255
_CONTRAST_SCALE = 200
_ASYMMETRY_SCALE = 15_000

# Customary hysteresis thresholds for 8-bit pictures: an edge starts above the second
# and continues above the first.
CANNY_THRESHOLDS = (100, 200)

_SOBEL_SUM = 4  # of the weights across the gradient
_BLOCK_PIXELS = 1 << 20

# Sums of n log2 n, in fixed point, stay below 2^62, and so within int64.
_SUM_BITS = 62
# n log2 n is tabulated below this n; few runs of equal pixels are as long.
_TABLE_SIZE = 4096


def width(shape: Shape) -> int:
    """Return the number of columns, in pixels.

    Examples:
        >>> width((480, 640))
        640
    """
    return shape[1]


def height(shape: Shape) -> int:
    """Return the number of rows, in pixels.

    Examples:
        >>> height((480, 640))
        480
    """
    return shape[0]


def size(shape: Shape) -> int:
    """Return the number of pixels: width times height.

    Examples:
        >>> size((480, 640))
        307200
    """
    return shape[0] * shape[1]


def aspect_ratio(shape: Shape) -> float:
    """Return width divided by height: above 1 for landscape, below for portrait.

    Examples:
        >>> aspect_ratio((480, 640))
        1.3333333333333333
    """
    return shape[1] / shape[0]


def brightness(intensity: Intensity) -> float:
    """Return the mean intensity, 0 for black to 1 for white.

    Examples:
        >>> brightness(np.full((2, 2), 51, np.uint8))
        0.2
    """
    return brightness_of(sum_of(intensity), intensity.size)


def brightness_of(total: int, count: int) -> float:
    """Return the brightness, from the sum of `count` intensities."""
    return total / (_MAX_INTENSITY * count)


def contrast(intensity: Intensity) -> float:
    """Return the population standard deviation of the intensity, over 200.

    0 for a uniform picture; at most 0.6375, for half black and half white.

    Examples:
        >>> contrast(np.array([[0, 255]], np.uint8))
        0.6375
    """
    return contrast_of(sum_of(intensity), sum_of_squares(intensity), intensity.size)


def contrast_of(total: int, squares: int, count: int) -> float:
    """Return the contrast, from the sum of `count` intensities and the sum of their squares."""
    # n * sum(y^2) - sum(y)^2 in integers: no cancellation on uniform pictures.
    scaled_variance = count * squares - total**2
    return min(1.0, math.sqrt(scaled_variance) / count / _CONTRAST_SCALE)


def sharpness(intensity: Intensity) -> float:
    """Return the fraction of pixels that the Canny detector marks as edge, 0 to 1.

    Thresholds 100 and 200, Sobel aperture 3, L1 norm of the gradient.

    Source:
        J. Canny, "A Computational Approach to Edge Detection", IEEE
        Transactions on Pattern Analysis and Machine Intelligence 8(6), 1986.

    Examples:
        >>> step = np.zeros((8, 8), np.uint8)
        >>> step[:, 4:] = 255
        >>> sharpness(step)
        0.125
    """
    if 1 in intensity.shape:
        return _count_edges_of_line(intensity.reshape(-1)) / intensity.size
    edges = cv2.Canny(intensity, *CANNY_THRESHOLDS, apertureSize=3, L2gradient=False)
    return int(cv2.countNonZero(edges)) / intensity.size


def _count_edges_of_line(line: Intensity) -> int:
    """Return how many pixels of a single row or column the Canny detector marks as edge.

    The detector takes 40 bytes a pixel there. Neighbours along the line cannot both be maxima
    of the gradient, so that no edge is continued, and those above the second threshold remain.
    """
    count = 0
    for start in range(0, line.size, _BLOCK_PIXELS):
        # Two pixels before and after a block, replicated beyond the ends of the line.
        first, last = max(0, start - 2), min(line.size, start + _BLOCK_PIXELS + 2)
        before, after = start - first, last - min(line.size, start + _BLOCK_PIXELS)
        padded = np.pad(line[first:last].astype(np.int16), 1, "edge")
        gradient = np.pad(_SOBEL_SUM * np.abs(padded[2:] - padded[:-2]), 1)  # none beyond the ends
        inside = slice(1 + before, gradient.size - 1 - after)
        middle = gradient[inside]
        previous, following = (
            gradient[inside.start + step : inside.stop + step] for step in (-1, 1)
        )
        edges = (middle > CANNY_THRESHOLDS[1]) & (middle > previous) & (middle >= following)
        count += int(np.count_nonzero(edges))
    return count


def pixel_entropy(colours: Colours) -> float:
    """Return the Shannon entropy of the distribution of distinct colours, in bits.

    0 for a picture of one colour; log2 of the number of pixels where no two have
    the same colour, hence at most 24.

    Source:
        C. E. Shannon, "A Mathematical Theory of Communication", Bell System
        Technical Journal 27, 1948.

    Examples:
        >>> red_and_blue = np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8)
        >>> pixel_entropy(red_and_blue)
        1.0
    """
    return entropies(colours[np.newaxis])[0]


def entropies(colours: Colours) -> list[float]:
    """Return the pixel entropy of each picture of a batch, of shape (n, rows, columns, 3).

    With counts c of each colour among n pixels it is (n log2 n - sum(c log2 c)) / n,
    with n log2 n and c log2 c in fixed point.
    """
    pictures, rows, columns = colours.shape[:3]
    count = rows * columns
    # One integer per pixel; sorting makes equal colours adjacent.
    samples = colours.reshape(pictures * rows, columns, 3)
    packed = cv2.cvtColor(samples, cv2.COLOR_BGR2BGRA).view(np.uint32).reshape(pictures, count)
    packed.sort(axis=1)
    fraction_bits = _fraction_bits(count)
    if pictures == 1:
        sums = [_sum_of_runs(packed[0], fraction_bits)]
    else:
        sums = _sums_of_runs(packed, fraction_bits)
    maximum = _n_log_n(count, fraction_bits)
    return [math.ldexp(maximum - total, -fraction_bits) / count for total in sums]


def _sums_of_runs(sorted_colours: NDArray[np.uint32], fraction_bits: int) -> list[int]:
    """Return the sum of c log2 c over the runs of equal colours of each picture of a batch.

    A colour that occurs once adds nothing, and in a small picture most do: so only runs of two
    pixels or more are looked at.
    """
    pictures, count = sorted_colours.shape
    flat = sorted_colours.reshape(-1)
    is_start = np.empty(flat.size + 1, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=is_start[1:-1])
    is_start[::count] = True
    # The first pixels of these runs, and their last ones, by turns.
    ends = np.flatnonzero(is_start[1:] != is_start[:-1])
    firsts, lasts = ends[::2], ends[1::2]
    terms = np.zeros(firsts.size + 1, np.int64)
    _terms_of(lasts - firsts + 1, fraction_bits, count).cumsum(out=terms[1:])
    bounds = terms[np.searchsorted(firsts, count * np.arange(pictures + 1))]
    sums: list[int] = (bounds[1:] - bounds[:-1]).tolist()
    return sums


def _sum_of_runs(sorted_colours: NDArray[np.uint32], fraction_bits: int) -> int:
    """Return the sum of c log2 c over the runs of equal colours, in blocks to save memory."""
    total = start = 0
    for position in range(0, sorted_colours.size, _BLOCK_PIXELS):
        block = sorted_colours[position : position + _BLOCK_PIXELS + 1]
        ends = np.flatnonzero(block[1:] != block[:-1])
        if ends.size:
            first = position + 1 + int(ends[0]) - start
            runs = ends[1:] - ends[:-1]
            total += _n_log_n(first, fraction_bits)
            total += int(_terms_of(runs, fraction_bits, sorted_colours.size).sum())
            start = position + 1 + int(ends[-1])
    return total + _n_log_n(sorted_colours.size - start, fraction_bits)


def entropy_of(counts: NDArray[np.int64], count: int) -> float:
    """Return the Shannon entropy in bits, from how often each value occurs in all `count`."""
    fraction_bits = _fraction_bits(count)
    total = int(_terms_of(counts, fraction_bits, count).sum())
    return math.ldexp(_n_log_n(count, fraction_bits) - total, -fraction_bits) / count


def _fraction_bits(count: int) -> int:
    """Return with how many bits of fraction n log2 n of `count` fits into an integer."""
    return _SUM_BITS - math.ceil(math.log2(1 + count * math.log2(count)))


def _terms_of(runs: NDArray[np.intp], fraction_bits: int, count: int) -> NDArray[np.int64]:
    """Return c log2 c of each run; none is longer than `count`."""
    terms = _tabulate_n_log_n(fraction_bits).take(runs, mode="clip")
    if count >= _TABLE_SIZE:
        for long in np.flatnonzero(runs >= _TABLE_SIZE):
            terms[long] = _n_log_n(int(runs[long]), fraction_bits)
    return terms


@cache
def _tabulate_n_log_n(fraction_bits: int) -> NDArray[np.int64]:
    """Return n log2 n for n below the table size, clipped above what any run can reach."""
    limit = 2**_SUM_BITS
    terms = (min(_n_log_n(n, fraction_bits), limit) for n in range(1, _TABLE_SIZE))
    return np.array([0, *terms], np.int64)


def _n_log_n(n: int, fraction_bits: int) -> int:
    """Return n log2 n in fixed point."""
    # The part of a power of two is an integer, so that fractions 1/2, 1/4... are exact.
    twos = (n & -n).bit_length() - 1
    odd_part = round(math.ldexp(n * math.log2(n >> twos), fraction_bits))
    return (n * twos << fraction_bits) + odd_part


def symmetry(intensity: Intensity) -> float:
    """Return the similarity of the left half and the mirrored right half, 0 to 1.

    1 minus the mean squared error between the outer `floor(width / 2)` columns
    on either side, over 15,000; 0 where that is negative, and 1 for a picture of
    one column.

    Examples:
        >>> symmetry(np.array([[1, 2, 3, 2, 1]], np.uint8))
        1.0
        >>> symmetry(np.array([[0, 100]], np.uint8))
        0.33333333333333337
    """
    rows, columns = intensity.shape
    half = columns // 2
    if half == 0:
        return 1.0
    left = intensity[:, :half]
    mirrored_right = cv2.flip(intensity[:, columns - half :], 1)
    return symmetry_of(_round(cv2.norm(left, mirrored_right, cv2.NORM_L2SQR)), rows * half)


def symmetry_of(squared_error: int, count: int) -> float:
    """Return the symmetry, from the sum of `count` squared differences."""
    return max(0.0, 1.0 - squared_error / count / _ASYMMETRY_SCALE)


def sum_of(intensity: Intensity) -> int:
    """Return the sum of intensities."""
    return _round(cv2.sumElems(intensity)[0])


def sum_of_squares(intensity: Intensity) -> int:
    """Return the sum of squared intensities."""
    return _round(cv2.norm(intensity, cv2.NORM_L2SQR))


def _round(total: float) -> int:
    """Round a sum that OpenCV computed as the square of a square root."""
    return round(total)
