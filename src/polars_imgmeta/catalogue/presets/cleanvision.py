"""The scores of CleanVision 0.3.7, 0 to 1.

Source:
    https://github.com/cleanlab/cleanvision
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageStat

from polars_imgmeta.catalogue.kernels import Colours, Shape
from polars_imgmeta.decoding.opencv import cv2

# Weights of the squares of blue, green and red, in thousandths.
_WEIGHTS = (68, 691, 241)
_BLOCK_PIXELS = 1 << 16
_ENTROPY_FACTOR = 0.1
_BLUR_SIDE, _BLUR_FACTOR, _SPREAD_THRESHOLD = 64, 0.01, 0.18


def cleanvision_dark(colours: Colours) -> float:
    """Return the 99th percentile of the brightness of pixels; an issue below 0.32.

    Examples:
        >>> cleanvision_dark(np.full((2, 2, 3), 51, np.uint8))
        0.2
    """
    return _percentile(colours, 99)


def cleanvision_light(colours: Colours) -> float:
    """Return 1 minus the 5th percentile of the brightness of pixels; an issue below 0.05.

    Examples:
        >>> cleanvision_light(np.full((2, 2, 3), 204, np.uint8))
        0.19999999999999996
    """
    return 1 - _percentile(colours, 5)


def cleanvision_odd_aspect_ratio(shape: Shape) -> float:
    """Return the shorter side over the longer one; an issue below 0.35.

    Examples:
        >>> cleanvision_odd_aspect_ratio((480, 640))
        0.75
    """
    return min(shape) / max(shape)


def cleanvision_size(shape: Shape) -> float:
    """Return the root of the number of pixels, of which odd sizes are outliers in a data set.

    Examples:
        >>> cleanvision_size((400, 900))
        600.0
    """
    return math.sqrt(shape[1]) * math.sqrt(shape[0])


def cleanvision_low_information(colours: Colours) -> float:
    """Return a tenth of the entropy of all samples by channel, at most 1; an issue below 0.3.

    Examples:
        >>> round(cleanvision_low_information(np.full((2, 2, 3), 9, np.uint8)), 4)
        0.1585
    """
    return min(1.0, _ENTROPY_FACTOR * _pillow_image(colours).entropy())


def cleanvision_blurry(colours: Colours) -> float:
    """Return the score of blur of the picture scaled to 64 pixels; an issue below 0.29.

    It adds what the deviation of an edge filter and that of the histogram contribute.

    Examples:
        >>> board = np.indices((64, 64)).sum(0, dtype=np.uint8)[..., np.newaxis] % 2 * 255
        >>> cleanvision_blurry(np.repeat(board, 3, axis=2)) > 0.9
        True
    """
    image = _pillow_image(colours)
    ratio = max(image.size) / _BLUR_SIDE
    if ratio > 1:
        width, height = (max(int(side // ratio), 1) for side in image.size)
        image = image.resize((width, height))
    grey = image.convert("L")
    edges = math.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0])
    spread = 1 - math.exp(-_BLUR_FACTOR * float(np.std(grey.histogram())))
    blur = 1 - math.exp(-_BLUR_FACTOR * edges)
    return min(1.0, blur + (spread if spread > _SPREAD_THRESHOLD else 0))


def _pillow_image(colours: Colours) -> Image.Image:
    return Image.fromarray(np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), np.uint8))


def _percentile(colours: Colours, percent: int) -> float:
    """Return a percentile of the root of the weighted mean square of channels, over 255.

    Between two pixels it is interpolated, as by NumPy.
    """
    pixels = colours.reshape(-1, 3)
    squares = np.empty(len(pixels), np.int32)
    for start in range(0, len(pixels), _BLOCK_PIXELS):  # in blocks, to save memory
        block = pixels[start : start + _BLOCK_PIXELS].astype(np.int32)
        squares[start : start + _BLOCK_PIXELS] = (block * block) @ np.array(_WEIGHTS, np.int32)
    rank, part = divmod(percent * (len(pixels) - 1), 100)
    ranks = [rank, min(rank + 1, len(pixels) - 1)]
    squares.partition(ranks)
    low, high = (_brightness(squares, at) for at in ranks)
    return low + (high - low) * part / 100


def _brightness(squares: NDArray[np.int32], at: int) -> float:
    return math.sqrt(int(squares[at]) / sum(_WEIGHTS)) / 255
