"""Small pictures, measured in batches.

On a picture of 32 x 32 pixels, the calls that compute a property take longer than the
property itself. So small pictures wait until there are enough of them, and those of one size
are measured together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.decoding import pictures
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.exceptions import FAILURES, ImageError, from_failure
from polars_imgmeta.measuring.computing import compute

SMALL_PIXELS = 1 << 16
SMALL_BYTES = 1 << 18
# The smallest are decoded at once, which takes no longer than to release the gate.
_SMALLEST_PIXELS = 1 << 12
_MAX_WAITING_COST = 1 << 18  # in pixels and bytes
_MAX_WAITING = 256


@dataclass(slots=True)
class Job:
    """One image that is being measured.

    Attributes:
        number: The number of its request.
        wanted: The properties to compute.
        values: The values so far.
        error: Why some are missing.
        size: The number of bytes of the encoded image, where it could be opened.
    """

    number: int
    wanted: PropertySet
    values: dict[str, Any] = field(default_factory=dict)
    error: ImageError | None = None
    size: int | None = None
    _header: Header | None = None
    _data: bytes = b""
    _picture: Picture | None = None

    def compute(self, properties: Iterable[Property], value: Any) -> None:  # noqa: ANN401 - as needed
        """Compute properties that need the same."""
        if self.wanted.built_in:  # tens of thousands of times a second
            for one in properties:
                self.values[one.name] = one.kernel(value)
        else:
            failure = compute(properties, value, self.values)
            self.error = self.error or failure

    def take(self, header: Header, data: bytes) -> None:
        """Keep a small image until it is measured; decode it now if it is tiny."""
        self._header, self._data = header, data
        if header.width * header.height <= _SMALLEST_PIXELS:
            self.picture()

    def picture(self) -> Picture:
        """Return the picture of the image that was taken."""
        if self._picture is None:
            assert self._header is not None  # noqa: S101 - `take` came first
            self._picture = pictures.read_picture(self._data, self._header)
            self._data = b""
        return self._picture

    @property
    def cost(self) -> int:
        """What it costs to let the image wait, in pixels and bytes."""
        assert self._header is not None  # noqa: S101 - `take` came first
        return self._header.width * self._header.height + len(self._data)


class SmallPictures:
    """Small pictures that wait for others of their size."""

    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self._cost = 0

    @property
    def full(self) -> bool:
        """Whether it is time to measure them."""
        return self._cost >= _MAX_WAITING_COST or len(self._waiting) >= _MAX_WAITING

    def add(self, job: Job) -> None:
        """Let a picture wait."""
        self._waiting.append(job)
        self._cost += job.cost

    def measure(self) -> Iterator[Job]:
        """Measure them all."""
        waiting, self._waiting, self._cost = self._waiting, [], 0
        batches: dict[tuple[PropertySet, tuple[int, ...]], list[Job]] = {}
        for job in waiting:
            try:
                shape = job.picture().shape
            except FAILURES as failure:
                job.error = from_failure(failure)
                yield job
            else:
                batches.setdefault((job.wanted, shape), []).append(job)
        for (wanted, _), batch in batches.items():
            try:
                _measure_batch(wanted, batch)
            except MemoryError:  # together they are too large
                for job in batch:
                    try:
                        _measure_batch(wanted, [job])
                    except MemoryError as failure:
                        job.error = from_failure(failure)
            yield from batch


def _measure_batch(wanted: PropertySet, batch: Sequence[Job]) -> None:
    """Measure the pixels of pictures of one size."""
    colours = np.stack([job.picture() for job in batch])
    intensities = pictures.intensity_of(colours)
    for one in wanted.of_pixels:
        pixels = intensities if one.needs == "intensity" else colours
        if one.built_in:
            for job, value in zip(batch, one.measure_batch(pixels), strict=True):
                job.values[one.name] = value
        else:
            for job, picture in zip(batch, pixels, strict=True):
                job.compute((one,), picture)
