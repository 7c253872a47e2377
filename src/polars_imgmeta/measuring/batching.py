"""Small pictures, measured in batches.

On a picture of 32 x 32 pixels, the calls that compute a property take longer than the
property itself. So small pictures wait until there are enough of them, and those of one size
are measured together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import numpy as np

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.decoding import pictures
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.exceptions import FAILURES, ImageError, from_failure, is_of_decoder
from polars_imgmeta.measuring.computing import compute

SMALL_PIXELS = 1 << 16
SMALL_BYTES = 1 << 18
# The smallest are decoded at once, which takes no longer than to release the gate.
_SMALLEST_PIXELS = 1 << 12
_MAX_WAITING_COST = 1 << 19  # in pixels and bytes
_MAX_WAITING = 512
# Properties of the caller's own may take any time, and are not interrupted: eight pictures wait.
_OWN_COST = _MAX_WAITING_COST // 8

COMPUTATION = "the computation of properties"
"""What works on a picture once it is decoded, for messages."""

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


@dataclass(slots=True)
class Job:
    """One image that is being measured.

    Attributes:
        number: The number of its request.
        wanted: The properties to compute.
        values: The values so far.
        error: Why the image could not be measured any further.
        failures: What custom properties did wrong.
        size: The number of bytes of the encoded image, where it could be opened.
        decoder: What works on its content now, for messages; a header stands for the decoder of
            its pixels. None before it is opened.
    """

    number: int
    wanted: PropertySet
    values: dict[str, Any] = field(default_factory=dict)
    error: ImageError | None = None
    failures: Sequence[ImageError] = ()
    size: int | None = None
    decoder: str | Header | None = None
    _header: Header | None = None
    _data: bytes = b""
    _picture: Picture | None = None

    def attempt(
        self,
        step: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result | None:
        """Do a step of the measurement; its failure becomes the error of this image.

        This is the last net under the decoders, which raise almost anything. Before one
        runs, only `FAILURES` are the image's: any other exception is a defect of this package.

        Returns:
            What the step returns, or None if it failed.
        """
        try:
            return step(*args, **kwargs)
        except BaseException as failure:
            if not isinstance(failure, FAILURES) and not (self.decoder and is_of_decoder(failure)):
                raise
            self.error = from_failure(failure, self.decoder_name)
            return None

    @property
    def decoder_name(self) -> str | None:
        """What works on its content now, as the subject of a message."""
        return self.decoder.codec if isinstance(self.decoder, Header) else self.decoder

    def compute(self, properties: Iterable[Property], value: Any) -> None:  # noqa: ANN401 - as needed
        """Compute properties that need the same."""
        if self.wanted.built_in:  # tens of thousands of times a second
            for one in properties:
                self.values[one.name] = one.kernel(value)
        else:
            self.failures = (*self.failures, *compute(properties, value, self.values))

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
        cost = self._header.width * self._header.height + len(self._data)
        return cost if self.wanted.built_in else max(cost, _OWN_COST)


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
            picture = job.attempt(job.picture)
            if picture is None:
                yield job
            else:
                batches.setdefault((job.wanted, picture.shape), []).append(job)
        for (wanted, _), batch in batches.items():
            try:
                _measure_batch(wanted, batch)
            except BaseException as failure:
                if not is_of_decoder(failure):
                    raise
                for job in batch:  # together they may be too large, or one of them is wrong
                    job.attempt(_measure_batch, wanted, [job])
            yield from batch


def _measure_batch(wanted: PropertySet, batch: Sequence[Job]) -> None:
    """Measure the pixels of pictures of one size."""
    colours = np.stack([job.picture() for job in batch])
    for job in batch:
        job.decoder = COMPUTATION
    intensities = pictures.intensity_of(colours)
    for one in wanted.of_pixels:
        pixels = intensities if one.needs == "intensity" else colours
        if one.built_in:
            for job, value in zip(batch, one.measure_batch(pixels), strict=True):
                job.values[one.name] = value
        else:
            for job, picture in zip(batch, pixels, strict=True):
                job.compute((one,), picture)
