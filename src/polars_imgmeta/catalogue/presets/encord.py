"""The data quality metrics of Encord Active, as its documentation defines them.

Encord's blur is 1 minus its sharpness, and its area and aspect ratio are `size` and
`aspect_ratio`.

Source:
    https://github.com/encord-team/encord-active, module `img_features`
"""

from __future__ import annotations

import math

from polars_imgmeta.catalogue.kernels import Colours, sum_of_squares
from polars_imgmeta.catalogue.quality import laplacian_variance
from polars_imgmeta.decoding.opencv import cv2

_MAX_SAMPLE = 255


def encord_brightness(colours: Colours) -> float:
    """Return the mean of the samples of all channels, over 255.

    Examples:
        >>> encord_brightness(np.array([[[0, 0, 153]]], np.uint8))
        0.2
    """
    return _total(colours) / (_MAX_SAMPLE * colours.size)


def encord_contrast(colours: Colours) -> float:
    """Return the population standard deviation of the samples of all channels, over 255.

    Examples:
        >>> encord_contrast(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
        0.5
    """
    count = colours.size
    scaled_variance = count * sum_of_squares(colours) - _total(colours) ** 2
    return math.sqrt(scaled_variance) / count / _MAX_SAMPLE


def encord_sharpness(colours: Colours) -> float:
    """Return the variance of the Laplacian of all channels together.

    Examples:
        >>> board = np.indices((8, 8)).sum(0, dtype=np.uint8)[..., np.newaxis] % 2 * 255
        >>> encord_sharpness(np.repeat(board, 3, axis=2))
        1040400.0
    """
    return laplacian_variance(colours)


def _total(colours: Colours) -> int:
    return round(sum(cv2.sumElems(colours)))
