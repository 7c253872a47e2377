"""Averages of a picture over the cells of a grid, weighted by area, in integers.

The sides of cells need not be whole pixels: a pixel on the boundary of two cells counts for
each by the part of it that lies there. Results are exact, so that they are the same for ever,
on every machine.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue.kernels import Intensity
from polars_imgmeta.decoding.opencv import cv2

# The sum of as many samples fits into int32.
_MAX_SUMMED = 1 << 23
# Width over height.
_THIN = 4


def cell_sums(intensity: Intensity, rows: int, columns: int) -> NDArray[np.int64]:
    """Return the sum of intensities in each cell, times `rows` x `columns`.

    Divided by the number of pixels of the picture it is the mean of the cell.

    Examples:
        >>> cell_sums(np.array([[0, 6, 12]], np.uint8), 1, 2)
        array([[ 6, 30]])
    """
    counts = (rows, columns)
    height, width = intensity.shape
    # Rows are faster, but of a thin picture they would become a larger array than itself.
    first = 0 if _THIN * height >= width else 1
    sums = _sum_along(intensity, first, counts[first])
    return _sum_along(sums, 1 - first, counts[1 - first])


def batched_cell_sums(intensities: Intensity, rows: int, columns: int) -> NDArray[np.float64]:
    """Return the cell sums of each picture of a batch; sums of small pictures are exact floats."""
    height, width = intensities.shape[1:]
    down, across = _weights(height, rows), _weights(width, columns)
    return np.asarray(down @ intensities.astype(np.float64) @ across.T)


def line_sums(samples: NDArray[Any], axis: int) -> NDArray[np.int32 | np.int64]:
    """Return the sums along an axis."""
    if samples.shape[axis] > _MAX_SUMMED:
        return np.asarray(samples.sum(axis=axis, dtype=np.int64))
    return np.asarray(cv2.reduce(samples, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1))


def _sum_along(samples: NDArray[np.integer], axis: int, cells: int) -> NDArray[np.int64]:
    """Reduce one axis to a number of cells, whose sums are multiplied by it."""
    length = samples.shape[axis]
    whole, part = np.divmod(length * np.arange(cells + 1), cells)
    # The sums up to each bound: of whole lines, and of the part of the next one.
    up_to = _sums_up_to(samples, axis, whole)
    up_to *= cells
    following = np.take(samples, np.minimum(whole, length - 1), axis)
    up_to += following * (part if axis else part[:, np.newaxis])
    return np.diff(up_to, axis=axis)


def _sums_up_to(
    samples: NDArray[np.integer], axis: int, bounds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the sums of the lines before each bound, of which the first is 0."""
    if samples.dtype != np.uint8:
        sums = np.insert(samples.cumsum(axis), 0, 0, axis)
        return np.take(sums, bounds, axis)
    shape = list(samples.shape)
    shape[axis] = len(bounds)
    between = np.zeros(shape, np.int64)
    for number, (begin, end) in enumerate(pairwise(bounds.tolist()), start=1):
        if begin < end and axis:
            between[:, number] = line_sums(samples[:, begin:end], 1)
        elif begin < end:
            between[number] = line_sums(samples[begin:end], 0)
    return between.cumsum(axis, out=between)


@cache
def _weights(length: int, cells: int) -> NDArray[np.float64]:
    """Return how much of each of `length` lines lies in each cell, times the number of cells."""
    line, cell = cells * np.arange(length), length * np.arange(cells)[:, np.newaxis]
    overlap = np.minimum(line + cells, cell + length) - np.maximum(line, cell)
    return overlap.clip(0).astype(np.float64)
