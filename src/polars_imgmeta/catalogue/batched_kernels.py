"""Kernels for batches of small pictures of one size.

Each function has the name of a property and returns, for every picture of a batch,
the value of its kernel to the last bit. A batch is `uint8` of shape (n, rows, columns),
or (n, rows, columns, 3) of colours. On a picture of 32 x 32 pixels, the overhead of
the calls exceeds the computation of a property.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue import kernels
from polars_imgmeta.catalogue.kernels import Colours, Intensity
from polars_imgmeta.decoding.opencv import cv2

_EDGE = 255  # what `Canny` writes

# Pixels of a picture. Up to these, sums fit into int32; beyond, batching gains nothing.
_MAX_SUM_PIXELS = 1 << 16
_MAX_SQUARES_PIXELS = 1 << 12


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
    # All pictures side by side, each padded by a column on either side: pixels are
    # replicated and gradients zero there, as `Canny` has them beyond its borders.
    pictures, rows, columns = intensities.shape
    padded = np.empty((rows, pictures, columns + 2), np.uint8)
    padded[:, :, 1:-1] = intensities.swapaxes(0, 1)
    padded[:, :, 0] = padded[:, :, 1]
    padded[:, :, -1] = padded[:, :, -2]
    joined = padded.reshape(rows, -1)
    gradients = cv2.spatialGradient(joined, ksize=3, borderType=cv2.BORDER_REPLICATE)
    for gradient in gradients:
        separate = gradient.reshape(padded.shape)
        separate[:, :, 0] = separate[:, :, -1] = 0
    edges = cv2.Canny(*gradients, *kernels.CANNY_THRESHOLDS, L2gradient=False)
    counts = cv2.reduce(edges, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S) // _EDGE
    totals = counts.reshape(pictures, -1).sum(axis=1).tolist()
    return [total / (rows * columns) for total in totals]


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
    stacked = intensities.reshape(-1, columns)
    difference = cv2.absdiff(stacked[:, :half], cv2.flip(stacked[:, columns - half :], 1))
    errors = _sums_of_squares(difference.reshape(pictures, rows, half).astype(np.uint8, copy=False))
    return [kernels.symmetry_of(error, rows * half) for error in errors]


def _sums(batch: Intensity) -> list[int]:
    flat = batch.reshape(len(batch), -1)
    if flat.shape[1] > _MAX_SUM_PIXELS:
        return [kernels.sum_of(picture) for picture in batch]
    sums: list[int] = cv2.reduce(flat, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0].tolist()
    return sums


def _sums_of_squares(batch: NDArray[np.uint8]) -> list[int]:
    if batch[0].size > _MAX_SQUARES_PIXELS:
        return [kernels.sum_of_squares(picture) for picture in batch]
    flat = batch.reshape(len(batch), -1).astype(np.int32)
    sums: list[int] = np.einsum("ij,ij->i", flat, flat).tolist()
    return sums
