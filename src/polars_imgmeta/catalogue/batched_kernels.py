"""The formulas for many small pictures of one size at once.

Each function has the name of a property and its value, to the last bit, for
every picture of a stack: `uint8` of shape (n, rows, columns), or (n, rows,
columns, 3) of colours. On a picture of 32 x 32 pixels, the calls that compute one
property take longer than the property.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue import kernels
from polars_imgmeta.catalogue.kernels import Colours, Intensity
from polars_imgmeta.decoding.opencv import cv2

# Of larger pictures, a call for each is no loss; and these sums fit into 31 bits.
_MOST_SUMMED = 1 << 16
_MOST_SQUARED = 1 << 12


def brightness(intensities: Intensity) -> list[float]:
    """Return the brightness of each picture.

    Examples:
        >>> brightness(np.full((2, 3, 3), 51, np.uint8))
        [0.2, 0.2]
    """
    count = intensities[0].size
    return [kernels.brightness_of(total, count) for total in _sums(intensities)]


def contrast(intensities: Intensity) -> list[float]:
    """Return the contrast of each picture.

    Examples:
        >>> contrast(np.array([[[0, 255]], [[7, 7]]], np.uint8))
        [0.6375, 0.0]
    """
    count = intensities[0].size
    sums = zip(_sums(intensities), _sums_of_squares(intensities), strict=True)
    return [kernels.contrast_of(total, squares, count) for total, squares in sums]


def sharpness(intensities: Intensity) -> list[float]:
    """Return the sharpness of each picture.

    Examples:
        >>> step = np.repeat(np.array([[0, 255]], np.uint8), 4, axis=1)
        >>> sharpness(np.array([[*step, *step], [*step, *step]]))
        [0.125, 0.125]
    """
    # One picture beside the other. Between them, as beyond the edges of a single one,
    # the slope is that of the nearest column, and no pixel can be part of an edge.
    pictures, rows, columns = intensities.shape
    spaced = np.empty((rows, pictures, columns + 2), np.uint8)
    spaced[:, :, 1:-1] = intensities.swapaxes(0, 1)
    spaced[:, :, 0] = spaced[:, :, 1]
    spaced[:, :, -1] = spaced[:, :, -2]
    row = spaced.reshape(rows, -1)
    slopes = cv2.spatialGradient(row, ksize=3, borderType=cv2.BORDER_REPLICATE)
    for slope in slopes:
        between = slope.reshape(spaced.shape)
        between[:, :, 0] = between[:, :, -1] = 0
    edges = cv2.Canny(*slopes, *kernels.CANNY_THRESHOLDS, L2gradient=False)
    marked = np.count_nonzero(edges.reshape(spaced.shape), axis=(0, 2))
    return [number / (rows * columns) for number in marked.tolist()]


def pixel_entropy(colours: Colours) -> list[float]:
    """Return the pixel entropy of each picture.

    Examples:
        >>> red_and_blue = np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8)
        >>> pixel_entropy(np.array([red_and_blue, red_and_blue[:, ::-1]]))
        [1.0, 1.0]
    """
    return kernels.entropies(colours)


def symmetry(intensities: Intensity) -> list[float]:
    """Return the symmetry of each picture.

    Examples:
        >>> symmetry(np.array([[[1, 2, 1]], [[0, 9, 100]]], np.uint8))
        [1.0, 0.33333333333333337]
    """
    pictures, rows, columns = intensities.shape
    half = columns // 2
    if half == 0:
        return [1.0] * pictures
    line = intensities.reshape(-1, columns)
    difference = cv2.absdiff(line[:, :half], cv2.flip(line[:, columns - half :], 1))
    errors = _sums_of_squares(difference.reshape(pictures, rows, half).astype(np.uint8, copy=False))
    return [kernels.symmetry_of(error, rows * half) for error in errors]


def _sums(stack: Intensity) -> list[int]:
    lines = stack.reshape(len(stack), -1)
    if lines.shape[1] > _MOST_SUMMED:
        return [kernels.sum_of(picture) for picture in stack]
    sums: list[int] = cv2.reduce(lines, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0].tolist()
    return sums


def _sums_of_squares(stack: NDArray[np.uint8]) -> list[int]:
    if stack[0].size > _MOST_SQUARED:
        return [kernels.sum_of_squares(picture) for picture in stack]
    lines = stack.reshape(len(stack), -1).astype(np.int32)
    sums: list[int] = np.einsum("ij,ij->i", lines, lines).tolist()
    return sums
