"""Small pictures, measured in batches.

On a picture of 32 x 32 pixels, the calls that compute a property take longer than the
property itself. So small pictures wait until there are enough of them, and those of one size
are measured together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from polars_imgmeta.catalogue.registry import PropertySet
from polars_imgmeta.decoding import pictures
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.exceptions import FAILURES, ImageError, from_failure
from polars_imgmeta.typing import PropertyName

SMALL_PIXELS = 1 << 16
SMALL_BYTES = 1 << 18
# The smallest are decoded at once, which takes no longer than to release the gate.
_SMALLEST_PIXELS = 1 << 12
_MAX_WAITING_COST = 1 << 18  # in pixels and bytes
_MAX_WAITING = 256


@dataclass(slots=True)
class Small:
    """A small picture whose pixels are still to be measured.

    Attributes:
        number: The number of its request.
        values: The values that are known, to be completed.
        wanted: The properties to compute.
        header: Its header.
        data: The encoded image; empty once it is decoded.
    """

    number: int
    values: dict[PropertyName, float]
    wanted: PropertySet
    header: Header
    data: bytes
    _picture: Picture | None = None

    def __post_init__(self) -> None:
        """Decode it if it is tiny."""
        if self.header.width * self.header.height <= _SMALLEST_PIXELS:
            self.decode()

    def decode(self) -> Picture:
        """Return its picture."""
        if self._picture is None:
            self._picture = pictures.read_picture(self.data, self.header)
            self.data = b""
        return self._picture


@dataclass(slots=True)
class SmallPictures:
    """Small pictures that wait for others of their size."""

    _waiting: list[Small] = field(default_factory=list)
    _cost: int = 0

    @property
    def full(self) -> bool:
        """Whether it is time to measure them."""
        return self._cost >= _MAX_WAITING_COST or len(self._waiting) >= _MAX_WAITING

    def add(self, small: Small) -> None:
        """Let a picture wait."""
        self._waiting.append(small)
        self._cost += small.header.width * small.header.height + len(small.data)

    def measure(self) -> Iterator[tuple[Small, ImageError | None]]:
        """Measure them all, and yield each with its failure, if there is one."""
        waiting, self._waiting, self._cost = self._waiting, [], 0
        batches: dict[tuple[PropertySet, tuple[int, ...]], list[tuple[Small, Picture]]] = {}
        for small in waiting:
            try:
                picture = small.decode()
            except FAILURES as failure:
                yield small, from_failure(failure)
            else:
                batches.setdefault((small.wanted, picture.shape), []).append((small, picture))
        for (wanted, _), batch in batches.items():
            try:
                _measure_batch(wanted, batch)
            except MemoryError:
                yield from _measure_singly(wanted, batch)
            else:
                yield from ((small, None) for small, _ in batch)


def _measure_batch(wanted: PropertySet, batch: Sequence[tuple[Small, Picture]]) -> None:
    """Measure the pixels of pictures of one size."""
    colours = np.stack([picture for _, picture in batch])
    intensities = pictures.intensity_of(colours)
    for row in wanted.of_pixels:
        pixels = intensities if row.need == "intensity" else colours
        for (small, _), value in zip(batch, row.measure_batch(pixels), strict=True):
            small.values[row.name] = value


def _measure_singly(
    wanted: PropertySet, batch: Sequence[tuple[Small, Picture]]
) -> Iterator[tuple[Small, ImageError | None]]:
    """Measure pictures for which there is too little memory together."""
    for small, picture in batch:
        error = None
        try:
            _measure_batch(wanted, [(small, picture)])
        except MemoryError as failure:
            error = from_failure(failure)
        yield small, error
