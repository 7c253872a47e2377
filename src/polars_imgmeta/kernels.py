"""The formulas: a picture in, a number out.

A kernel has the name of its property. It takes what the catalogue says that it
needs, and knows neither Polars nor files:

- `shape`: rows and columns of the picture;
- `intensity`: the grey picture Y, `uint8` of shape (rows, columns);
- `colours`: the picture itself, `uint8` of shape (rows, columns, 3).

Sums are taken in whole numbers, so that a result depends neither on the number
of threads nor on the order of summation.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.opencv import cv2

Shape: TypeAlias = tuple[int, int]
Intensity: TypeAlias = NDArray[np.uint8]
Colours: TypeAlias = NDArray[np.uint8]

# Where the published definitions put the value 1.
_FULL_INTENSITY = 255
_FULL_CONTRAST = 200
_FULL_ASYMMETRY = 15_000

# The customary thresholds of Canny for 8-bit pictures: an edge starts above the
# second and continues above the first.
_CANNY_THRESHOLDS = (100, 200)


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
    return _sum(intensity) / (_FULL_INTENSITY * intensity.size)


def contrast(intensity: Intensity) -> float:
    """Return the population standard deviation of the intensity, over 200.

    0 for a uniform picture; at most 0.6375, for half black and half white.

    Examples:
        >>> contrast(np.array([[0, 255]], np.uint8))
        0.6375
    """
    count = intensity.size
    # n * sum(y^2) - sum(y)^2, exactly: no cancellation on uniform pictures.
    scaled_variance = count * _sum_of_squares(intensity) - _sum(intensity) ** 2
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
    edges = cv2.Canny(intensity, *_CANNY_THRESHOLDS, apertureSize=3, L2gradient=False)
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
    # One integer for each colour; sorted, equal colours are neighbours.
    packed = cv2.cvtColor(colours, cv2.COLOR_BGR2BGRA).view(np.uint32).ravel()
    packed.sort()
    last_of_run = np.flatnonzero(packed[1:] != packed[:-1])
    counts = np.diff(last_of_run, prepend=-1, append=packed.size - 1)
    shares = counts / packed.size
    # Adding 0.0 turns the -0.0 of a single colour into 0.0.
    return float(-(shares * np.log2(shares)).sum()) + 0.0


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
    squared_error = _whole(cv2.norm(left, mirrored_right, cv2.NORM_L2SQR))
    return float(max(0.0, 1.0 - squared_error / (rows * half) / _FULL_ASYMMETRY))


def _sum(intensity: Intensity) -> int:
    return _whole(cv2.sumElems(intensity)[0])


def _sum_of_squares(intensity: Intensity) -> int:
    return _whole(cv2.norm(intensity, cv2.NORM_L2SQR))


def _whole(total: float) -> int:
    """Undo what OpenCV loses of a whole number when it squares a square root."""
    return round(total)
