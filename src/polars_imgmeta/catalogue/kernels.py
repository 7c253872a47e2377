"""The formulas: a picture in, a number out.

A kernel has the name of its property. It takes what the catalogue says that it
needs, and knows neither Polars nor files:

- `shape`: rows and columns of the picture;
- `intensity`: the grey picture Y, `uint8` of shape (rows, columns);
- `colours`: the picture itself, `uint8` of shape (rows, columns, 3).

Sums are taken in whole numbers, so that a result depends neither on the number
of threads nor on the order of summation. The steps from these sums to the value
are functions of their own (`..._of`), which `stacks` shares.
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

# Where the published definitions put the value 1.
_FULL_INTENSITY = 255
_FULL_CONTRAST = 200
_FULL_ASYMMETRY = 15_000

# The customary thresholds of Canny for 8-bit pictures: an edge starts above the
# second and continues above the first.
CANNY_THRESHOLDS = (100, 200)

# Whole numbers of 63 bits, to hold sums of n log2 n.
_LARGEST_WHOLE = 62
# Runs of as many pixels of one colour are looked up; the few longer ones are computed.
_TABLED = 4096


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
    """Return the brightness, from the sum and number of intensities."""
    return total / (_FULL_INTENSITY * count)


def contrast(intensity: Intensity) -> float:
    """Return the population standard deviation of the intensity, over 200.

    0 for a uniform picture; at most 0.6375, for half black and half white.

    Examples:
        >>> contrast(np.array([[0, 255]], np.uint8))
        0.6375
    """
    return contrast_of(sum_of(intensity), sum_of_squares(intensity), intensity.size)


def contrast_of(total: int, squares: int, count: int) -> float:
    """Return the contrast, from the sum of intensities, of their squares, and their number."""
    # n * sum(y^2) - sum(y)^2, exactly: no cancellation on uniform pictures.
    scaled_variance = count * squares - total**2
    return min(1.0, math.sqrt(scaled_variance) / count / _FULL_CONTRAST)


def sharpness(intensity: Intensity) -> float:
    """Return the share of pixels that the Canny detector marks as edge, 0 to 1.

    Thresholds 100 and 200, a Sobel aperture of 3, the L1 norm of the gradient.

    Source:
        J. Canny, "A Computational Approach to Edge Detection", IEEE
        Transactions on Pattern Analysis and Machine Intelligence 8(6), 1986.

    Examples:
        >>> step = np.zeros((8, 8), np.uint8)
        >>> step[:, 4:] = 255
        >>> sharpness(step)
        0.125
    """
    edges = cv2.Canny(intensity, *CANNY_THRESHOLDS, apertureSize=3, L2gradient=False)
    return int(cv2.countNonZero(edges)) / intensity.size


def pixel_entropy(colours: Colours) -> float:
    """Return the Shannon entropy of the distribution of distinct colours, in bits.

    0 for a picture of one colour; the logarithm to base 2 of the number of
    pixels where each has a colour of its own, hence at most 24.

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
    """Return the pixel entropy of each picture of a stack, (n, rows, columns, 3).

    Of counts c of each colour among n pixels it is (n log2 n - sum(c log2 c)) / n,
    with n log2 n and c log2 c in fixed point.
    """
    pictures, rows, columns = colours.shape[:3]
    count = rows * columns
    # One integer for each colour; sorted, equal colours are neighbours.
    samples = colours.reshape(pictures * rows, columns, 3)
    packed = cv2.cvtColor(samples, cv2.COLOR_BGR2BGRA).view(np.uint32).reshape(pictures, count)
    packed.sort(axis=1)
    line = packed.reshape(-1)
    begins = np.empty(line.size + 1, np.bool_)
    np.not_equal(line[1:], line[:-1], out=begins[1:-1])
    begins[::count] = True
    bounds = np.flatnonzero(begins)
    runs = bounds[1:] - bounds[:-1]
    point = _LARGEST_WHOLE - math.ceil(math.log2(1 + count * math.log2(count)))
    terms = _weights(point).take(runs, mode="clip")
    if count >= _TABLED:
        for long in np.flatnonzero(runs >= _TABLED):
            terms[long] = _weight(int(runs[long]), point)
    if pictures == 1:
        sums = [int(terms.sum())]
    else:
        sums = np.add.reduceat(terms, np.searchsorted(bounds, count * np.arange(pictures))).tolist()
    whole = _weight(count, point)
    return [math.ldexp(whole - total, -point) / count for total in sums]


@cache
def _weights(point: int) -> NDArray[np.int64]:
    """Return n log2 n of small n, in fixed point; cut off where no picture needs it."""
    most = 2**_LARGEST_WHOLE
    return np.array([0, *(min(_weight(n, point), most) for n in range(1, _TABLED))], np.int64)


def _weight(n: int, point: int) -> int:
    """Return n log2 n in fixed point, with so many binary places."""
    # Apart from the odd factor it is a whole number, so that halves stay exact.
    twos = (n & -n).bit_length() - 1
    return (n * twos << point) + round(math.ldexp(n * math.log2(n >> twos), point))


def symmetry(intensity: Intensity) -> float:
    """Return how alike the left half and the mirrored right half are, 0 to 1.

    1 minus the mean squared error between the outer `floor(width / 2)` columns
    on either side, over 15,000; 0 where that is negative. A picture one pixel
    wide mirrors itself.

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
    return symmetry_of(_whole(cv2.norm(left, mirrored_right, cv2.NORM_L2SQR)), rows * half)


def symmetry_of(squared_error: int, count: int) -> float:
    """Return the symmetry, from the sum of squared differences and their number."""
    return max(0.0, 1.0 - squared_error / count / _FULL_ASYMMETRY)


def sum_of(intensity: Intensity) -> int:
    """Return the sum of intensities."""
    return _whole(cv2.sumElems(intensity)[0])


def sum_of_squares(intensity: Intensity) -> int:
    """Return the sum of squared intensities."""
    return _whole(cv2.norm(intensity, cv2.NORM_L2SQR))


def _whole(total: float) -> int:
    """Undo what OpenCV loses of a whole number when it squares a square root."""
    return round(total)
