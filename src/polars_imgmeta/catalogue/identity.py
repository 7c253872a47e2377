"""Whether two images are the same: digests and a perceptual hash."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.catalogue.areas import batched_cell_sums, cell_sums
from polars_imgmeta.catalogue.kernels import Colours, Intensity
from polars_imgmeta.decoding.opencv import cv2

_BLOCK_PIXELS = 1 << 16

_SIDE, _FREQUENCIES = 32, 8
# Means have 8 bits of fraction, cosines 12: products and their sums are exact in float64.
_MEAN_SCALE, _COSINE_SCALE = 1 << 8, 1 << 12
_COSINES = np.array(
    [
        [
            round(_COSINE_SCALE * math.cos(math.pi * frequency * (2 * cell + 1) / (2 * _SIDE)))
            for cell in range(_SIDE)
        ]
        for frequency in range(_FREQUENCIES)
    ],
    np.float64,
)


def file_digest(data: bytes) -> str:
    """Return the SHA-256 of the encoded image, in hexadecimal.

    Examples:
        >>> file_digest(b"")[:16]
        'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()


def pixel_digest(colours: Colours) -> str:
    r"""Return the SHA-256 of the picture, in hexadecimal, as if it was written as binary PPM.

    Examples:
        >>> red = np.array([[[0, 0, 255]]], np.uint8)
        >>> pixel_digest(red) == hashlib.sha256(b"P6\n1 1\n255\n\xff\0\0").hexdigest()
        True
    """
    rows, columns = colours.shape[:2]
    digest = hashlib.sha256(b"P6\n%d %d\n255\n" % (columns, rows))
    pixels = colours.reshape(1, -1, 3)
    for start in range(0, pixels.shape[1], _BLOCK_PIXELS):  # in blocks, to save memory
        block = pixels[:, start : start + _BLOCK_PIXELS]
        digest.update(cv2.cvtColor(block, cv2.COLOR_BGR2RGB).data)
    return digest.hexdigest()


def perceptual_hash(intensity: Intensity) -> int:
    """Return 64 bits, as a signed integer, that are similar for pictures that look similar.

    The picture is averaged to 32 x 32 cells, and transformed by the cosine transform. Each of
    its 63 lowest frequencies above zero, 8 x 8 with the mean left out, is a bit: whether it is
    above their median. Bit 8 u + v is the frequency u from top to bottom and v from left to
    right; bit 0 is never set.

    Source:
        C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
        thesis, Hagenberg, 2010.

    Examples:
        >>> ramp = np.tile(np.arange(64, dtype=np.uint8)[::-1], (64, 1))
        >>> perceptual_hash(ramp), perceptual_hash(ramp[::2, ::2])
        (170, 170)
    """
    return _hashes(cell_sums(intensity, _SIDE, _SIDE)[np.newaxis], intensity.size)[0]


def perceptual_hashes(intensities: Intensity) -> list[int]:
    """Return the perceptual hash of each picture of a batch."""
    sums = batched_cell_sums(intensities, _SIDE, _SIDE)
    return _hashes(sums.astype(np.int64), intensities[0].size)


def _hashes(sums: NDArray[np.int64], pixels: int) -> list[int]:
    means = sums * _MEAN_SCALE // pixels
    spectra = (_COSINES @ means.astype(np.float64) @ _COSINES.T).reshape(len(sums), -1)
    medians = np.sort(spectra[:, 1:], axis=1)[:, (_FREQUENCIES**2 - 1) // 2]
    bits = spectra > medians[:, np.newaxis]
    bits[:, 0] = False
    hashes: list[int] = np.packbits(bits, axis=1, bitorder="little").view("<i8")[:, 0].tolist()
    return hashes
