"""The image statistics of fastdup 2.54.

A picture of more than 224 columns or rows is measured on 224 x 224 of its pixels.

Source:
    https://github.com/visual-layer/fastdup, a compiled package; the definitions are those of its
    values.
"""

from __future__ import annotations

import math

import numpy as np

from polars_imgmeta.catalogue.kernels import Colours, sum_of, sum_of_squares
from polars_imgmeta.catalogue.quality import laplacian_variance
from polars_imgmeta.decoding.opencv import cv2

_SIDE = 224


def fastdup_mean(colours: Colours) -> float:
    """Return the mean of the samples of all channels, 0 to 255.

    Examples:
        >>> fastdup_mean(np.array([[[0, 0, 153]]], np.uint8))
        51.0
    """
    sampled = _sample(colours)
    return round(sum(cv2.sumElems(sampled))) / sampled.size


def fastdup_stdv(colours: Colours) -> float:
    """Return the mean of the population standard deviations of the three channels.

    Examples:
        >>> fastdup_stdv(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
        127.5
    """
    sampled = _sample(colours)
    count = sampled.size // 3
    channels = (np.ascontiguousarray(sampled[..., channel]) for channel in range(3))
    variances = (count * sum_of_squares(one) - sum_of(one) ** 2 for one in channels)
    return math.fsum(map(math.sqrt, variances)) / count / 3


def fastdup_min(colours: Colours) -> int:
    """Return the smallest sample of all channels.

    Examples:
        >>> fastdup_min(np.array([[[7, 3, 9]]], np.uint8))
        3
    """
    return int(_sample(colours).min())


def fastdup_max(colours: Colours) -> int:
    """Return the largest sample of all channels.

    Examples:
        >>> fastdup_max(np.array([[[7, 3, 9]]], np.uint8))
        9
    """
    return int(_sample(colours).max())


def fastdup_contrast(colours: Colours) -> float:
    """Return the difference of the largest and the smallest sample, over their sum; 0 for black.

    Examples:
        >>> fastdup_contrast(np.array([[[7, 3, 9]]], np.uint8))
        0.5
    """
    sampled = _sample(colours)
    low, high = int(sampled.min()), int(sampled.max())
    return (high - low) / (high + low) if high else 0.0


def fastdup_unique(colours: Colours) -> int:
    """Return the number of different samples of all channels together, at most 256.

    Examples:
        >>> fastdup_unique(np.array([[[7, 3, 7]]], np.uint8))
        2
    """
    return int(np.count_nonzero(np.bincount(_sample(colours).ravel(), minlength=256)))


def fastdup_blur(colours: Colours) -> float:
    """Return the variance of the Laplacian of the blue channel.

    Examples:
        >>> board = np.indices((8, 8)).sum(0, dtype=np.uint8)[..., np.newaxis] % 2 * 255
        >>> fastdup_blur(np.repeat(board, 3, axis=2))
        1040400.0
    """
    return laplacian_variance(np.ascontiguousarray(_sample(colours)[..., 0]))


def _sample(colours: Colours) -> Colours:
    """Return the pixels that count: of a larger picture those at the centres of cells of a grid.

    OpenCV's `INTER_NEAREST_EXACT` takes others in version 5 where a centre is between two pixels.
    """
    if max(colours.shape[:2]) <= _SIDE:
        return colours
    centres = 2 * np.arange(_SIDE) + 1
    rows, columns = (centres * side // (2 * _SIDE) for side in colours.shape[:2])
    return np.asarray(colours[rows[:, np.newaxis], columns])
