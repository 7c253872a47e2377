"""The image properties of Deepchecks 0.19.1.

Deepchecks computes those of pixels on 10,000 pixels drawn at random where a picture has more;
here all count.

Source:
    https://github.com/deepchecks/deepchecks
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue.kernels import Colours, Shape
from polars_imgmeta.decoding.opencv import cv2

# Weights of blue, green and red in the luminance of scikit-image, in ten thousandths.
_WEIGHTS, _WEIGHT_SUM = (721, 7154, 2125), 10_000
_BLOCK_PIXELS = 1 << 16
_BLUE, _GREEN, _RED = range(3)
_MAX_CHANNEL_SUM = 3 * 255


def deepchecks_aspect_ratio(shape: Shape) -> float:
    """Return height divided by width: above 1 for portrait.

    Examples:
        >>> deepchecks_aspect_ratio((480, 640))
        0.75
    """
    return shape[0] / shape[1]


def deepchecks_brightness(colours: Colours) -> float:
    """Return the mean luminance, 0 to 255, with the weights of scikit-image.

    Examples:
        >>> deepchecks_brightness(np.full((2, 2, 3), 51, np.uint8))
        51.0
    """
    sums, _ = _moments(colours)
    return _weighted(sums) / _WEIGHT_SUM / (colours.size // 3)


def deepchecks_rms_contrast(colours: Colours) -> float:
    """Return the population standard deviation of the same luminance.

    Examples:
        >>> deepchecks_rms_contrast(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
        127.5
    """
    sums, products = _moments(colours)
    count = colours.size // 3
    squares = sum(weight * _weighted(row) for weight, row in zip(_WEIGHTS, products, strict=True))
    return math.sqrt(count * squares - _weighted(sums) ** 2) / _WEIGHT_SUM / count


def deepchecks_mean_red_relative_intensity(colours: Colours) -> float:
    """Return the mean of red over the sum of the channels; 0 for black pixels.

    Examples:
        >>> deepchecks_mean_red_relative_intensity(np.array([[[2, 2, 4], [0, 0, 0]]], np.uint8))
        0.25
    """
    return _relative_intensity(colours, _RED)


def deepchecks_mean_green_relative_intensity(colours: Colours) -> float:
    """Return the mean of green over the sum of the channels; 0 for black pixels.

    Examples:
        >>> deepchecks_mean_green_relative_intensity(np.array([[[0, 9, 0]]], np.uint8))
        1.0
    """
    return _relative_intensity(colours, _GREEN)


def deepchecks_mean_blue_relative_intensity(colours: Colours) -> float:
    """Return the mean of blue over the sum of the channels; 0 for black pixels.

    Examples:
        >>> deepchecks_mean_blue_relative_intensity(np.array([[[1, 0, 3]]], np.uint8))
        0.25
    """
    return _relative_intensity(colours, _BLUE)


def _moments(colours: Colours) -> tuple[list[int], list[list[int]]]:
    """Return the sum of each channel, and the sum of the product of each two."""
    sums, products = np.zeros(3, np.int64), np.zeros((3, 3), np.int64)
    for block in _blocks(colours):
        # Sums of integers, which float64 holds exactly.
        sums += np.array(cv2.sumElems(block)[:3], np.int64)
        products += cv2.mulTransposed(block[0], aTa=True, dtype=cv2.CV_64F).astype(np.int64)
    return sums.tolist(), products.tolist()


def _weighted(channels: list[int]) -> int:
    return sum(weight * channel for weight, channel in zip(_WEIGHTS, channels, strict=True))


def _relative_intensity(colours: Colours, channel: int) -> float:
    # By the sum of the channels, the sum of one of them: integers, whatever the order of pixels.
    totals: NDArray[np.float64] = np.zeros(_MAX_CHANNEL_SUM + 1)
    for block in _blocks(colours):
        channels = cv2.split(block)
        two = cv2.add(channels[_BLUE], channels[_GREEN], dtype=cv2.CV_16S)
        sums = cv2.add(two, channels[_RED], dtype=cv2.CV_16S)
        totals += np.bincount(sums.ravel(), channels[channel].ravel(), len(totals))
    parts = totals[1:] / np.arange(1, len(totals))
    return math.fsum(parts.tolist()) / (colours.size // 3)


def _blocks(colours: Colours) -> Iterator[Colours]:
    """Yield the pixels in pieces of one row."""
    pixels = colours.reshape(1, -1, 3)
    for start in range(0, pixels.shape[1], _BLOCK_PIXELS):
        yield pixels[:, start : start + _BLOCK_PIXELS]
