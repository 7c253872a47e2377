"""The measure of blur of scikit-image 0.26.

Its `shannon_entropy` of the intensity is `grey_entropy`.

Source:
    F. Crete et al., "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric", Human Vision and Electronic Imaging XII, 2007.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue.kernels import Colours
from polars_imgmeta.decoding.opencv import cv2

# Weights of blue, green and red in the luminance, in ten thousandths: with them all numbers are
# integers, which float64 holds exactly.
_WEIGHTS = np.array([721, 7154, 2125], np.float64)
_BLOCK_PIXELS = 1 << 16
_WINDOW = 11
_DIFFERENCE, _SMOOTHING = np.array([-1.0, 0, 1]), np.array([1.0, 2, 1])
# Differences of the sums over the window.
_BLURRED_DIFFERENCE = np.convolve(np.ones(_WINDOW), _DIFFERENCE)
_REACH = len(_BLURRED_DIFFERENCE) // 2
# The outermost rows and columns do not count: two before, and one after.
_FIRST, _LAST = 2, 1


def skimage_blur_effect(colours: Colours) -> float | None:
    """Return the blur effect, 0 for sharp to 1 for blurred; None of fewer than 4 rows or columns.

    It is the part of the gradient that a mean over 11 pixels leaves, in the direction in which
    that is more. 1 for a picture of one colour.

    Examples:
        >>> board = np.indices((32, 32)).sum(0, dtype=np.uint8)[..., np.newaxis] // 4 % 2 * 255
        >>> round(skimage_blur_effect(np.repeat(board, 3, axis=2)), 3)
        0.208
    """
    if min(colours.shape[:2]) <= _FIRST + _LAST:
        return None
    gradients, losses = [0, 0], [0, 0]
    for block in _blocks(colours):
        for axis in (0, 1):
            sharp = _WINDOW * _gradient(block, axis, _DIFFERENCE)
            blurred = _gradient(block, axis, _BLURRED_DIFFERENCE)
            gradients[axis] += int(sharp.sum())
            losses[axis] += int(np.maximum(0, sharp - blurred).sum())
    return max(
        (gradient - loss) / gradient if gradient else 1.0
        for gradient, loss in zip(gradients, losses, strict=True)
    )


def _blocks(colours: Colours) -> Iterator[NDArray[np.float64]]:
    """Yield the luminance in blocks of rows, with the pixels that filters reach around them."""
    reach = _REACH
    padded = cv2.copyMakeBorder(colours, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    rows, columns = colours.shape[:2]
    step = 1 + _BLOCK_PIXELS // columns
    for row in range(_FIRST, rows - _LAST, step):
        end = min(row + step, rows - _LAST) + 2 * _REACH
        yield np.asarray(padded[row:end, _FIRST : columns - _LAST + 2 * _REACH] @ _WEIGHTS)


def _gradient(block: NDArray[np.float64], axis: int, kernel: NDArray[np.float64]) -> NDArray[Any]:
    kernels = (_SMOOTHING, kernel) if axis == 0 else (kernel, _SMOOTHING)
    found = np.abs(cv2.sepFilter2D(block, cv2.CV_64F, *kernels))
    return found[_REACH:-_REACH, _REACH:-_REACH]
